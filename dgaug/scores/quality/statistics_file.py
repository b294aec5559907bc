"""Reading the npz files that statistics are kept in: ours, and pytorch-fid's."""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from dgaug.errors import DgaugError
from dgaug.files import ZIP_ERRORS

Array = npt.NDArray[Any]

_SHAPES = {
    "mu": "D",
    "sigma": "DD",
    "count": "",
    "sum": "D",
    "outer": "DD",
    "features": "KD",
    "key": "",
    "encoder_sha256": "",
}
"""Of every array that may be read; D is the same number in all of a file."""
_TEXTS = ("key", "encoder_sha256")


def read_npz(path: Path, names: tuple[str, ...], *, optional: tuple[str, ...] = ()) -> dict[str, Array]:
    """Arrays of an npz, by name; those that are optional, where the file has them.

    Raises:
        DgaugError: no such file, not an npz, damaged, an array is missing, or is not of the shape or kind that it has
            in every such file.
    """
    if not path.is_file():  # a pipe could be waited for without end
        raise DgaugError(f"{path}: no such statistics file")
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("one array alone")
            missing = [name for name in names if name not in file]
            if missing:
                raise DgaugError(
                    f"{path}: expected statistics with {', '.join(names)}, found {', '.join(file) or 'none'}"
                )
            arrays = {name: np.asarray(file[name]) for name in (*names, *optional) if name in file}
    except (*ZIP_ERRORS, TypeError, SyntaxError, TokenError) as error:  # the last three of a header that is no Python
        raise DgaugError(f"{path}: not a statistics file (npz): {error}; delete it and let it be made again") from None
    _require_shapes(path, arrays)
    return arrays


def _require_shapes(path: Path, arrays: dict[str, Array]) -> None:
    dimensions = {}
    for name, array in arrays.items():
        kinds = "U" if name in _TEXTS else "iuf"
        if array.ndim != len(_SHAPES[name]) or array.dtype.kind not in kinds:
            raise DgaugError(
                f"{path}: expected {'text' if name in _TEXTS else 'numbers'} of shape [{', '.join(_SHAPES[name])}] as "
                f"{name!r}, found {array.dtype} of shape {list(array.shape)}; delete it and let it be made again"
            )
        dimensions.update({f"{name} {at}": size for at, size in enumerate(array.shape) if _SHAPES[name][at] == "D"})
    if len(set(dimensions.values())) > 1 or 0 in dimensions.values():
        raise DgaugError(f"{path}: statistics of different lengths ({dimensions}); delete it and let it be made again")
