"""Re-id features of the images of a data set, with what the ranking protocol needs to know of each; a file of them."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgaug.data.images import open_image, to_pixels
from dgaug.data.loading import loaded
from dgaug.data.normalisation import normalise
from dgaug.data.records import IdentityData, Record, Role
from dgaug.errors import DgaugError
from dgaug.files import whole
from dgaug.models.reid import AnyReidNetwork, ReidNetwork
from dgaug.progress import Progress, silent
from dgaug.scores.retrieval.copies import equal_files
from dgaug.scores.retrieval.ranking import DISTRACTOR_IDENTITY, JUNK_IDENTITY, Retrieval, read_retrieval
from dgaug.transfer import Arriving, Downloads, upload

BATCH = 64
READERS = 4
FILE_KINDS = (".h5", ".hdf5", ".npz")


@dataclass(frozen=True)
class Split:
    """Images with their features float32 [N, D], identity numbers [N], cameras [N] and digests of their files [N].

    Without digests (none known) only equal features tell that two files show the same image.
    """

    records: list[Record]
    features: Tensor
    identities: NDArray[np.int64]
    cameras: NDArray[np.int64]
    contents: Sequence[bytes] = ()


def features_of(
    network: AnyReidNetwork,
    paths: Sequence[Path],
    image_size: tuple[int, int],
    *,
    title: str,
    flip: bool = True,
    unit: bool = True,
    progress: Progress = silent,
) -> Tensor:
    """Re-id features float32 [N, D] of image files, on CPU; `flip` and `unit` as in `ReidNetwork.features`."""
    network.eval()
    device = next(network.parameters()).device
    downloads, result, done = Downloads(device), [], 0
    before: Arriving | None = None

    def read(start: int) -> NDArray[np.uint8]:
        return np.stack([to_pixels(open_image(path), image_size) for path in paths[start : start + BATCH]])

    with closing(loaded(read, range(0, len(paths), BATCH), threads=READERS)) as batches:
        for pixels in batches:
            coming = downloads.start([network.features(normalise(upload(pixels, device)), flip=flip, unit=unit)])
            if before is not None:
                result += before.wait()
            before = coming
            done += len(pixels)
            progress(title, done, len(paths))
    if before is not None:
        result += before.wait()
    return torch.from_numpy(np.concatenate(result))


@dataclass(frozen=True)
class Extraction:
    """How a network's features are taken.

    Attributes:
        network: the network.
        image_size: (H, W) of the images it sees.
        flip: average over the image and its mirror.
        unit: parts of unit length, see `ReidNetwork.features`.
    """

    network: AnyReidNetwork
    image_size: tuple[int, int]
    flip: bool = True
    unit: bool = True

    @property
    def parts(self) -> int:
        """Into how many parts, each with a weight of its own, a feature is cut: prim and fine, or one."""
        return 2 if isinstance(self.network, ReidNetwork) and len(self.network.heads) == 2 else 1


def split_features(
    extraction: Extraction, data: IdentityData, name: str, numbers: dict[str, int], *, progress: Progress = silent
) -> Split:
    """The features of a split; `numbers` as `identity_numbers` gives them."""
    records = data.splits[name]
    features = features_of(
        extraction.network,
        [data.image_path(record) for record in records],
        extraction.image_size,
        title=f"features of {name}",
        flip=extraction.flip,
        unit=extraction.unit,
        progress=progress,
    )
    identities = np.array([_number(record, numbers) for record in records])
    contents = [data.contents.get(record.path, b"") for record in records]
    return Split(records, features, identities, np.array([record.camera for record in records]), contents)


def retrieval_of(query: Split, gallery: Split) -> Retrieval:
    """Query and gallery, with the files that are in both known.

    Raises:
        DgaugError: NaN in the features, or features of two models.
    """
    sides = (values for side in (query, gallery) for values in (side.features, side.identities, side.cameras))
    return read_retrieval(*sides, same_files=equal_files(query.contents, gallery.contents))


def identity_numbers(records: Iterable[Record]) -> dict[str, int]:
    """A number from 1 on for each identity, in the order of their names."""
    return {name: number for number, name in enumerate(sorted({record.identity for record in records}), start=1)}


def _number(record: Record, numbers: dict[str, int]) -> int:
    special = {Role.JUNK: JUNK_IDENTITY, Role.DISTRACTOR: DISTRACTOR_IDENTITY}
    return special.get(record.role, numbers[record.identity])


def require_feature_file(path: Path) -> None:
    """Refuse a name that says no known kind of file.

    Raises:
        DgaugError: names the kinds.
    """
    if path.suffix.lower() not in FILE_KINDS:
        raise DgaugError(f"{path}: expected a file of features to end in {', '.join(FILE_KINDS)}")


def write_features(path: Path, splits: Mapping[str, Split], protocol: Mapping[str, object], *, parts: int) -> None:
    """Write the features of some splits whole.

    Each split has `feature` float32 [N, D], `path` and `identity` (as the data set writes them), `camera` int64 (-1
    unknown) and `role` (`identity`, `junk`, `distractor`), all [N]. HDF5 has a group a split and the attributes
    `parts` (prim, then fine), `protocol` (JSON) and `dgaug_version`; npz has the same names with a slash.
    """
    columns: dict[str, Any] = {
        f"{name}/{column}": values for name, split in splits.items() for column, values in _columns(split)
    }
    attributes: dict[str, Any] = {
        "parts": parts,
        "protocol": json.dumps(protocol),
        "dgaug_version": importlib.metadata.version("dgaug"),
    }
    with whole(path) as aside:
        if path.suffix.lower() == ".npz":
            np.savez(aside, **columns, **attributes)
            return
        with h5py.File(aside, "w") as hdf5:
            hdf5.attrs.update(attributes)
            for name, values in columns.items():
                text = h5py.string_dtype() if values.dtype.kind == "U" else None
                hdf5.create_dataset(name, data=values.astype(text or values.dtype), dtype=text)


def _columns(split: Split) -> list[tuple[str, np.ndarray[Any, Any]]]:
    return [
        ("feature", split.features.numpy()),
        ("path", np.array([record.path for record in split.records])),
        ("identity", np.array([record.identity for record in split.records])),
        ("camera", split.cameras),
        ("role", np.array([record.role.value for record in split.records])),
    ]
