"""`dgaug import`: networks in the published DG-Net file format, made into a run folder (method: checkpoints)."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from dgaug.data.prepare import read_data
from dgaug.data.recorded import described, place_of, write_records
from dgaug.data.records import IdentityData, class_names
from dgaug.errors import DgaugError
from dgaug.files import read_json, write_json, write_text
from dgaug.models import checkpoints, published
from dgaug.models.architectures import teacher_architecture
from dgaug.models.discriminator import Discriminator
from dgaug.models.generator import Generator
from dgaug.models.reid import ReidNetwork
from dgaug.outputs import AFRESH, already_complete, put_in_place, require_only
from dgaug.progress import Progress, silent
from dgaug.runs import PARTS, Run, environment, locked
from dgaug.seeding import seed_torch
from dgaug.settings import Settings, load_settings
from dgaug.surroundings import as_found

PRESET = "dgnet-published"

_log = logging.getLogger("dgaug")
_Network = TypeVar("_Network", bound=nn.Module)


@as_found
def import_published(
    directory: str | Path,
    out: str | Path,
    *,
    teacher: str | Path | None = None,
    teacher_stride: int | None = None,
    data: str | Path | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> Run:
    """Make a run of checkpoints in the published DG-Net file format; returns it, complete.

    Args:
        directory: holds `gen_N.pt`, `id_N.pt` and perhaps `dis_N.pt`, itself or in `checkpoints/`; the highest N is
            taken. `teacher/net_last.pth` in it is the teacher.
        out: the run folder.
        teacher: a teacher's file elsewhere.
        teacher_stride: the teacher's last stride, 1 or 2; None: what `opts.yaml` beside it says, 1 without that.
        data: the data set the networks were trained on: gives the classes their names, and the run its data.
        force: replace the run that `out` holds.

    Raises:
        DgaugError: files missing, damaged or not fitting, or other data; nothing was created.
    """
    files = published.find_published(Path(directory), None if teacher is None else Path(teacher))
    final = Path(out).resolve()
    if final == Path.cwd():
        raise DgaugError("--out: expected the name of a folder to create, found the current folder")
    settings = _settings(files, teacher_stride, data)
    appearance = published.network_tensors(files.appearance)
    classes = published.class_count(files.appearance, appearance, "classifier1")
    content = None if data is None else _data_of(Path(data), settings, classes, progress)
    known = None if content is None else described(content)
    about = environment(settings.seed) | {"data": known, "imported": _origin(files, settings)}
    if not force and _already_there(Run(final), about):
        already_complete(Path(out))
        return Run(Path(out))
    require_only(final, PARTS, of="a run", hidden=True)
    if not force and final.exists() and {item.name for item in final.iterdir()} - {".lock"}:
        raise DgaugError(f"{final} exists, not from these files and data; {AFRESH}")

    names = None if content is None else class_names(content.splits["train"])
    if names is None:
        _log.info("%d identities, names unknown: class k is the k-th name in plain string order", classes)
    dgnet = _dgnet_content(files, appearance, settings, checkpoints.stated_classes(names, classes))
    judge = None if files.teacher is None else _teacher_content(files.teacher, settings, names, classes)
    aside = Run(final.with_name(f".{final.name}.part"))
    with locked(final, what="run") if final.exists() else nullcontext(), locked(aside.folder, what="run"):
        try:
            for left in (aside.checkpoint, aside.teacher):  # by an import that was killed
                shutil.rmtree(left.parent, ignore_errors=True)
            checkpoints.save(aside.checkpoint, dgnet)
            if judge is not None:
                checkpoints.save(aside.teacher, judge)
            if content is not None:
                write_records(aside, content)
            write_json(aside.folder / "environment.json", about)
            write_text(aside.config, f"# dgaug import, iteration {files.iteration}\n{settings.to_yaml()}")
            put_in_place(aside.folder, final)
        except BaseException:
            shutil.rmtree(aside.folder, ignore_errors=True)
            raise
    return Run(Path(out))


def _settings(files: published.PublishedFiles, teacher_stride: int | None, data: str | Path | None) -> Settings:
    preset = load_settings(PRESET)
    stride = None
    if files.teacher is None:
        _log.info("no teacher found: synthesize makes soft labels with --teacher FILE, or none with --teacher none")
    else:
        stride = _last_stride(files.teacher, teacher_stride, default=preset.teacher.last_stride)
    flags = {
        "schedule.iterations": max(files.iteration, preset.schedule.iterations),
        "teacher.last_stride": stride,
        "data.root": None if data is None else str(place_of(Path(data))),
    }
    return load_settings(PRESET, flags=flags)


def _last_stride(teacher: Path, asked: int | None, *, default: int) -> int:
    """No tensor shows the stride, so what was taken is said."""
    stated = published.options_stride(teacher) if asked is None else None
    if asked is not None:
        stride, reason = asked, "as asked for"
    elif stated is not None:
        stride, reason = stated, f"by its {published.OPTIONS}"
    else:
        stride = default
        reason = f"no {published.OPTIONS} beside it; --teacher-stride {3 - default} if it was trained so"
    _log.info("%s: last stride %d, %s", teacher.name, stride, reason)
    return stride


def _origin(files: published.PublishedFiles, settings: Settings) -> dict[str, object]:
    stride = None if files.teacher is None else settings.teacher.last_stride
    return {"iteration": files.iteration, "sha256": files.sha256(), "teacher_stride": stride}


def _data_of(root: Path, settings: Settings, classes: int, progress: Progress) -> IdentityData:
    data = read_data(root, settings.data, progress=progress)
    identities = len(class_names(data.splits["train"]))
    if identities != classes:
        raise DgaugError(
            f"the networks know {classes} identities, the training split of {root} has {identities}; "
            "give the data set they were trained on, or remove --data"
        )
    return data


def _already_there(run: Run, about: Mapping[str, Any]) -> bool:
    """Whether the run was imported from the same files, with the same data where some are given."""
    if not run.checkpoint.is_file() or not run.config.is_file():
        return False
    identities: dict[str, Any] = read_json(run.folder / "environment.json")
    if about["data"] is not None and (identities.get("data") or {}).get("fingerprint") != about["data"]["fingerprint"]:
        return False
    return bool(identities.get("imported") == about["imported"])


def _dgnet_content(
    files: published.PublishedFiles, appearance: published.Tensors, settings: Settings, stated: list[str] | int
) -> dict[str, Any]:
    size, width = settings.data.image_size, settings.model.width
    classes = published.class_count(files.appearance, appearance, "classifier1")
    encoder = checkpoints.appearance_network(settings, classes, weights="none")
    generator = Generator(size, encoder.code_length, width)
    seed_torch("import: discriminator", settings.seed)
    discriminator = Discriminator(size, width)
    _load(files.generator, published.load_generator, generator, published.network_tensors(files.generator))
    _load(files.appearance, published.load_reid, encoder, appearance)
    if files.discriminator is None:
        _log.info("no dis_N.pt beside %s: the discriminator is a fresh one", files.generator.name)
    else:
        tensors = published.network_tensors(files.discriminator)
        _load(files.discriminator, published.load_discriminator, discriminator, tensors)
    drawn = generator.state_dict()
    return {
        "format": checkpoints.DGNET,
        "version": checkpoints.VERSION,
        "iteration": files.iteration,
        "settings": settings.model_dump(mode="json"),
        "class_names": stated,
        "networks": {
            "generator": drawn,
            "averaged": drawn,  # the published training keeps no average
            "appearance": encoder.state_dict(),
            "discriminator": discriminator.state_dict(),
        },
        "optimizers": {},
    }


def _teacher_content(path: Path, settings: Settings, names: list[str] | None, classes: int) -> dict[str, Any]:
    tensors = published.teacher_tensors(path)
    known = published.class_count(path, tensors, "classifier")
    if known != classes:
        raise DgaugError(
            f"{path}: the teacher knows {known} identities, the appearance encoder {classes}; "
            "give the teacher of this training with --teacher"
        )
    architecture = teacher_architecture(settings, classes)
    network = ReidNetwork(**architecture)
    _load(path, published.load_reid, network, tensors)
    return checkpoints.reid_content(network, architecture, names, settings.data.image_size)


def _load(
    path: Path, load: Callable[[_Network, published.Tensors], list[str]], network: _Network, tensors: published.Tensors
) -> None:
    """Fill a network; says which tensors of the file were dropped."""
    try:
        kinds = published.unused_kinds(load(network, tensors))
    except DgaugError as error:
        raise DgaugError(f"{path}: {error}") from error
    if kinds:
        stated = [f"{len(names)} tensors {kind} (such as {names[0]})" for kind, names in kinds.items()]
        _log.info("%s: dropped %s", path.name, "; ".join(stated))
