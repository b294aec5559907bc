"""The files of a published DG-Net training: which there are, and what they hold (method: checkpoints, teacher)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dgaug.errors import DgaugError
from dgaug.files import file_sha256
from dgaug.models.published import plain_names
from dgaug.models.weights import read_checkpoint, read_tensors
from dgaug.plain_yaml import read_yaml

TEACHER = Path("teacher") / "net_last.pth"
OPTIONS = "opts.yaml"
_PUBLISHED_STRIDE = 2
"""What the published code takes where the teacher's options leave the stride out."""
_NUMBERED = re.compile(r"gen_(\d+)\.pt")

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class PublishedFiles:
    """The files of one iteration; None where there is none."""

    iteration: int
    generator: Path
    appearance: Path
    discriminator: Path | None
    teacher: Path | None

    def sha256(self) -> dict[str, str]:
        """The sha256 of what each file holds, by its name."""
        files = (self.generator, self.appearance, self.discriminator, self.teacher)
        return {path.name: file_sha256(path) for path in files if path is not None}


def find_published(directory: Path, teacher: Path | None = None) -> PublishedFiles:
    """The files of the highest iteration that has a generator and an appearance encoder.

    Raises:
        DgaugError: there is none, or no such teacher.
    """
    if not directory.is_dir():
        raise DgaugError(f"{directory}: no such folder")
    if teacher is not None and not teacher.is_file():
        raise DgaugError(f"no such file: {teacher}; --teacher names a published teacher, such as {TEACHER.name}")
    if teacher is None and (directory / TEACHER).is_file():
        teacher = directory / TEACHER
    for folder in (directory, directory / "checkpoints"):
        matches = [_NUMBERED.fullmatch(path.name) for path in folder.glob("gen_*.pt")]
        for number in sorted((match[1] for match in matches if match), key=int, reverse=True):
            generator, appearance, discriminator = (folder / f"{part}_{number}.pt" for part in ("gen", "id", "dis"))
            if appearance.is_file():
                files = discriminator if discriminator.is_file() else None
                return PublishedFiles(int(number), generator, appearance, files, teacher)
    raise DgaugError(
        f"{directory} holds no gen_N.pt with an id_N.pt of the same number, neither itself nor in checkpoints/; "
        "give the folder that the published code wrote"
    )


def network_tensors(path: Path) -> Tensors:
    """What `gen_N.pt`, `id_N.pt` or `dis_N.pt` holds, under plain names.

    Raises:
        DgaugError: unreadable, or no such file.
    """
    return _tensors(path, read_checkpoint(path).get("a"))


def teacher_tensors(path: Path) -> Tensors:
    """What a teacher's file holds, under plain names.

    Raises:
        DgaugError: unreadable, or no such file.
    """
    return _tensors(path, read_tensors(path))


def _tensors(path: Path, content: object) -> Tensors:
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise DgaugError(
            f"{path}: not a published DG-Net file (expected tensors by name, those of gen, id and dis under 'a')"
        )
    return plain_names(content)


def class_count(path: Path, tensors: Mapping[str, Tensor], head: str) -> int:
    """The number of identities that a head tells apart.

    Raises:
        DgaugError: it has no such head.
    """
    name = f"{head}.classifier.0.bias"
    if name not in tensors or tensors[name].ndim != 1:
        raise DgaugError(
            f"{path}: tensor {name!r} is {'misshapen' if name in tensors else 'missing'}; readable are two-head "
            "appearance encoders (ID_style AB) as id_N.pt, and one-head ResNet-50 teachers"
        )
    return len(tensors[name])


def options_stride(teacher: Path) -> int | None:
    """The last stride that `opts.yaml` beside a teacher says, or as published leaves open; None without that file.

    Raises:
        DgaugError: it cannot be read, or says something else than 1 or 2.
    """
    path = teacher.with_name(OPTIONS)
    if not path.is_file():
        return None
    try:
        content: Any = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DgaugError(f"cannot read {path}: {reason}; --teacher-stride does without it") from error
    stride = content.get("stride", _PUBLISHED_STRIDE) if isinstance(content, dict) else None
    if stride not in (1, 2):
        raise DgaugError(f"{path}: expected stride: 1 or 2, found {stride!r}; --teacher-stride does without it")
    return int(stride)
