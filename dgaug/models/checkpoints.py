"""Checkpoint files: plain dictionaries of tensors and values, written whole, read without unpickling."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dgaug.errors import DgaugError
from dgaug.files import file_sha256, whole
from dgaug.models.architectures import appearance_architecture
from dgaug.models.generator import Generator
from dgaug.models.reid import AnyReidNetwork, Ensemble, ReidNetwork
from dgaug.models.torchscript import TRACED, read_traced
from dgaug.models.weights import read_checkpoint
from dgaug.settings import LARGEST_EMBEDDING, Settings, parse_settings

VERSION = 1
DGNET = "dgaug.dgnet"
REID = "dgaug.reid"
_LEAST_WIDTH = 8
"""Numbers that a head keeps for a class, at least."""


@dataclass(frozen=True)
class ReidModel:
    """A trained re-id network with what is needed to use it; `class_names` None: only their number is known."""

    network: AnyReidNetwork
    class_names: list[str] | None
    image_size: tuple[int, int]
    sha256: str

    def knows(self, names: list[str]) -> bool:
        """Whether these are the identities it was trained for, as far as can be told."""
        return self.network.classes == len(names) and self.class_names in (None, names)

    def has_network_of(self, other: ReidModel) -> bool:
        """Whether the weights of one of its networks are those of the other, or of one that the other averages."""
        mine, theirs = ([dict(one.state_dict()) for one in _plain(model.network)] for model in (self, other))
        return any(_equal(left, right) for left in mine for right in theirs)

    def require(self, names: list[str], image_size: tuple[int, int], *, source: str) -> None:
        """Refuse a network that was trained for other identities or another image size.

        Raises:
            DgaugError: the identities differ in number or by name, or the sizes differ.
        """
        if self.image_size != image_size:
            raise DgaugError(
                f"the teacher sees images of {self.image_size[0]} x {self.image_size[1]} (height x width), "
                f"{source} has {image_size[0]} x {image_size[1]}; train a teacher at that size (remove --teacher)"
            )
        if self.network.classes != len(names):
            raise DgaugError(
                f"the teacher knows {self.network.classes} identities, {source} has {len(names)}; "
                "train a teacher on these data (remove --teacher) or use the data it was trained on"
            )
        if self.class_names is not None and self.class_names != names:
            ours, theirs = next((a, b) for a, b in zip(names, self.class_names, strict=True) if a != b)
            raise DgaugError(f"the teacher's identities are others than those of {source}: {theirs!r} against {ours!r}")


@dataclass(frozen=True)
class TrainedGenerator:
    """What synthesis needs of a DG-Net checkpoint; `class_names` None: only their number is known."""

    generator: Generator
    appearance: ReidNetwork
    settings: Settings
    class_names: list[str] | None
    iteration: int
    sha256: str

    def to(self, device: torch.device) -> TrainedGenerator:
        """The same, its networks moved to a device."""
        self.generator.to(device)
        self.appearance.to(device)
        return self


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint whole; OSError where the disk is full."""
    with whole(path) as aside, aside.open("wb") as stream:
        try:
            torch.save(dict(content), stream)
        except RuntimeError as error:
            # torch closes its archive after a failed or interrupted write, and raises what goes wrong then instead.
            cause = error.__context__
            if isinstance(cause, OSError) or (cause and not isinstance(cause, Exception)):
                raise cause from None
            raise
        stream.flush()
        os.fsync(stream.fileno())


def copy(source: Path, path: Path) -> None:
    """Copy a checkpoint whole, byte for byte."""
    with whole(path) as aside:
        shutil.copyfile(source, aside)


def keep(path: Path, numbered: Path) -> None:
    """Keep this state of a checkpoint under a name of its own: a second link to the same bytes where possible."""
    numbered.unlink(missing_ok=True)
    try:
        os.link(path, numbered)
    except OSError:  # a file system without hard links
        copy(path, numbered)


def load(path: Path, kind: str) -> dict[str, Any]:
    """Read a checkpoint of ours.

    Raises:
        DgaugError: missing, damaged, of another kind, or written by a newer dgaug.
    """
    content: dict[str, Any] = read_checkpoint(path)
    actual = content.get("format")
    if actual != kind:
        name = actual if isinstance(actual, str) else "something else"
        raise DgaugError(f"{path} holds {name}, expected {kind}")
    if not isinstance(content.get("version"), int) or content["version"] > VERSION:
        raise DgaugError(f"{path} was written by a newer dgaug (version {content.get('version')}); update dgaug")
    return content


def load_state(network: nn.Module, state: Mapping[str, Any], *, source: Path) -> None:
    """Load a network's tensors.

    Raises:
        DgaugError: they do not fit.
    """
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise DgaugError(f"{source}: the weights do not fit ({str(error).splitlines()[-1].strip()})") from error


def stated_classes(class_names: list[str] | None, count: int) -> list[str] | int:
    """What a checkpoint's `class_names` says: the names in class order or, where they are unknown, their number."""
    return count if class_names is None else class_names


def _read_classes(stated: Any) -> tuple[list[str] | None, int]:
    """Names and number of the classes, from what `stated_classes` gave."""
    if isinstance(stated, int):
        return None, stated
    names = [str(name) for name in stated]
    return names, len(names)


def reid_content(
    network: ReidNetwork, architecture: Mapping[str, Any], class_names: list[str] | None, image_size: tuple[int, int]
) -> dict[str, Any]:
    """The content of a re-id checkpoint; `architecture` are `ReidNetwork`'s arguments."""
    return {
        "format": REID,
        "version": VERSION,
        "architecture": dict(architecture),
        "class_names": stated_classes(class_names, network.classes),
        "image_size": list(image_size),
        "network": network.state_dict(),
    }


def load_reid(path: Path) -> ReidModel:
    """A re-id network from its checkpoint, in eval mode; of a DG-Net checkpoint, its appearance encoder."""
    content = _reid_form(path)
    try:
        network = _reid_network(content, path)
        names, count = _read_classes(content["class_names"])
        if count != network.classes:
            raise ValueError(f"{count} classes named, {network.classes} in the network")
        height, width = map(int, content["image_size"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DgaugError(f"{path}: not a whole re-id checkpoint ({error})") from error
    return ReidModel(network.eval().requires_grad_(False), names, (height, width), file_sha256(path))


def load_teachers(paths: Sequence[Path]) -> list[ReidModel]:
    """Re-id networks that may teach together.

    Raises:
        DgaugError: one of several came from elsewhere, as a program.
    """
    models = [load_reid(path) for path in paths]
    alone = [path for path, model in zip(paths, models, strict=True) if not _plain(model.network)]
    if alone and len(paths) > 1:
        raise DgaugError(
            f"{alone[0]} was imported from elsewhere and teaches alone; give one --teacher, or import a module that "
            "averages several networks"
        )
    return models


def copy_teachers(sources: Sequence[Path], path: Path) -> None:
    """One checkpoint of re-id networks of the same identities: a copy of one file, or several as an ensemble."""
    if len(sources) == 1:
        copy(sources[0], path)
        return
    contents = [_reid_form(source) for source in sources]
    members = [architecture for content in contents for architecture in _members(content["architecture"])]
    networks = [model.network for model in load_teachers(sources)]
    ensemble = Ensemble([one for network in networks for one in _plain(network)])
    named = [content["class_names"] for content in contents if not isinstance(content["class_names"], int)]
    save(
        path,
        contents[0]
        | {
            "architecture": {"members": members},
            "class_names": named[0] if named else ensemble.classes,
            "network": ensemble.state_dict(),
        },
    )


def _reid_form(path: Path) -> dict[str, Any]:
    """The content of a re-id checkpoint, or what that of a DG-Net checkpoint's appearance encoder would be."""
    if read_checkpoint(path).get("format") != DGNET:
        return load(path, REID)
    trained = load_generator(path)
    network, settings = trained.appearance, trained.settings
    architecture = appearance_architecture(settings, network.classes)
    return reid_content(network, architecture, trained.class_names, settings.data.image_size)


def _members(architecture: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(architecture["members"]) if "members" in architecture else [architecture]


def _equal(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def _plain(network: AnyReidNetwork) -> list[ReidNetwork]:
    """The networks of ours that it is made of; none where it came from elsewhere."""
    if isinstance(network, Ensemble):
        return network.members
    return [network] if isinstance(network, ReidNetwork) else []


def _reid_network(content: Mapping[str, Any], path: Path) -> AnyReidNetwork:
    architecture, state = content["architecture"], content["network"]
    if architecture.get("backbone") == TRACED:
        return read_traced(architecture, state, source=path)
    network = _build_reid(architecture, state)
    load_state(network, state, source=path)
    return network


def _build_reid(architecture: Mapping[str, Any], state: Mapping[str, Any]) -> ReidNetwork | Ensemble:
    described = _members(architecture)
    heads = sum(len(member["dropouts"]) for member in described)
    for member in described:
        _require_filled(member["classes"], member.get("embedding", 1), state, heads=heads)
        if member["pool"] not in ("max", "avg") or member.get("last_stride", 1) not in (1, 2):
            raise ValueError(f"pool {member['pool']!r} and last_stride {member.get('last_stride', 1)!r}")
    # Weights come out of this file, whatever it says of others.
    members = [
        ReidNetwork(**{**member, "dropouts": tuple(member["dropouts"]), "weights": "none"}) for member in described
    ]
    return Ensemble(members) if "members" in architecture else members[0]


def _require_filled(classes: int, embedding: int, state: Mapping[str, Any], *, heads: int) -> None:
    """ValueError for sizes that the tensors of a file cannot fill: it could ask for any amount of memory."""
    storages = [tensor.untyped_storage() for tensor in state.values() if isinstance(tensor, Tensor)]
    held = sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
    if not 0 < embedding <= LARGEST_EMBEDDING or not 0 < classes * heads * _LEAST_WIDTH <= held:
        raise ValueError(f"{heads} heads of {classes} classes and embeddings of {embedding} in {held} bytes of tensors")


def load_generator(path: Path) -> TrainedGenerator:
    """The EMA generator, computing as its run did, and the appearance encoder of a checkpoint, in eval mode."""
    content = load(path, DGNET)
    try:
        settings = parse_settings(content["settings"], source=str(path))
        (names, count), networks = _read_classes(content["class_names"]), content["networks"]
        _require_filled(count, settings.model.embedding, networks["appearance"], heads=2)
        appearance = appearance_network(settings, count, weights="none")
        generator = Generator(settings.data.image_size, appearance.code_length, settings.model.width)
        load_state(generator, networks["averaged"], source=path)
        load_state(appearance, networks["appearance"], source=path)
        generator.compute_as(settings.behaviour.arithmetic)
        iteration = int(content["iteration"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DgaugError(f"{path}: not a whole DG-Net checkpoint ({error})") from error
    return TrainedGenerator(
        generator.eval().requires_grad_(False),
        appearance.eval().requires_grad_(False),
        settings,
        names,
        iteration,
        file_sha256(path),
    )


def appearance_network(settings: Settings, classes: int, *, weights: str | None = None) -> ReidNetwork:
    """The two-head network that `settings.model` describes; `weights` replaces its setting."""
    return ReidNetwork(**appearance_architecture(settings, classes) | {"weights": weights or settings.model.weights})
