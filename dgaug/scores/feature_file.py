"""Features in a file that plain h5py or NumPy reads."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dgaug.errors import DgaugError
from dgaug.files import whole
from dgaug.scores.features import Split

KINDS = (".h5", ".hdf5", ".npz")


def require_feature_file(path: Path) -> None:
    """Refuse a name that says no known kind of file.

    Raises:
        DgaugError: names the kinds.
    """
    if path.suffix.lower() not in KINDS:
        raise DgaugError(f"{path}: expected a file of features to end in {', '.join(KINDS)}")


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
