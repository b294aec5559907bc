"""The Fréchet distance between two sets of features, from running sums that can be kept as npz: ours, pytorch-fid's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dgaug.errors import DgaugError
from dgaug.files import ZIP_ERRORS

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


@dataclass(frozen=True)
class Gaussian:
    """Mean [D] and covariance [D, D] (divisor N - 1), float64 on the CPU."""

    mean: Tensor
    covariance: Tensor

    @classmethod
    def load(cls, path: Path) -> Gaussian:
        """Read `mu` and `sigma` from an npz that pytorch-fid or `score-fid` wrote.

        Raises:
            DgaugError: the file is not such an npz.
        """
        arrays = read_npz(path, ("mu", "sigma"))
        return cls(_float64(arrays["mu"]), _float64(arrays["sigma"]))


@dataclass
class Moments:
    """Running raw moments of features: count, sum [D] and sum of outer products [D, D], float64 on the CPU.

    Single precision is not enough here: it moves a Fréchet distance of 1,000 images by about 0.01.
    """

    count: int
    sum: Tensor
    outer: Tensor

    @classmethod
    def empty(cls, dimension: int) -> Moments:
        """Moments of no features yet, for features of `dimension` numbers."""
        outer = torch.zeros(dimension, dimension, dtype=torch.float64)
        return cls(0, torch.zeros(dimension, dtype=torch.float64), outer)

    @property
    def dimension(self) -> int:
        """How many numbers a feature has."""
        return len(self.sum)

    @property
    def mean(self) -> Tensor:
        """Mean [D]."""
        return self.sum / self._enough()

    @property
    def covariance(self) -> Tensor:
        """Covariance [D, D] with divisor count - 1, as numpy.cov and pytorch-fid have it."""
        count = self._enough()
        return (self.outer - torch.outer(self.sum, self.sum) / count) / (count - 1)

    def update(self, features: Tensor | npt.NDArray[Any]) -> None:
        """Add features [N, D].

        Raises:
            DgaugError: another D, or NaN or infinity among the features.
        """
        values = torch.as_tensor(features).detach().to("cpu", torch.float64)
        if values.ndim != 2 or values.shape[1] != self.dimension:
            raise DgaugError(f"moments: expected features [N, {self.dimension}], found {list(values.shape)}")
        if not torch.isfinite(values).all():
            raise DgaugError("moments: NaN or infinity among the features; the encoder or the images are damaged")
        self.count += len(values)
        self.sum += values.sum(dim=0)
        self.outer += values.T @ values

    def arrays(self) -> dict[str, Any]:
        """What they are made of: count, sum [D] and outer [D, D]."""
        return {"count": np.array(self.count), "sum": self.sum.numpy(), "outer": self.outer.numpy()}

    @classmethod
    def of(cls, arrays: dict[str, npt.NDArray[Any]]) -> Moments:
        """Moments from what `arrays` gave."""
        return cls(int(arrays["count"]), _float64(arrays["sum"]), _float64(arrays["outer"]))

    def _enough(self) -> int:
        if self.count < 2:
            raise DgaugError(f"moments: a covariance takes at least 2 images, found {self.count}")
        return self.count


def frechet_distance(first: Moments | Gaussian, second: Moments | Gaussian) -> float:
    """Squared Fréchet distance of two Gaussians, which is FID for FID Inception features (Heusel et al. 2017, eq. 6).

    With S1 = F F', the trace of the square root of S1 S2 is that of the symmetric F' S2 F, which has the same
    eigenvalues: real by construction. F is Cholesky's, or for a rank-deficient S1 (fewer images than numbers in a
    feature) from its eigenvectors.

    Raises:
        DgaugError: the features have different dimensions, or NaN or infinity among the statistics.
    """
    mean, covariance = first.mean, first.covariance
    other_mean, other_covariance = second.mean, second.covariance
    if mean.shape != other_mean.shape:
        raise DgaugError(
            f"Fréchet distance: features of {len(mean)} and {len(other_mean)} numbers; both must come from one encoder"
        )
    for which in (mean, covariance, other_mean, other_covariance):
        if not torch.isfinite(which).all():
            raise DgaugError("Fréchet distance: NaN or infinity in the statistics; make them anew")
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed:
        values, vectors = torch.linalg.eigh(covariance)
        factor = vectors * values.clamp_min(0).sqrt()
    trace_of_root = torch.linalg.eigvalsh(factor.T @ other_covariance @ factor).clamp_min(0).sqrt().sum()
    squared = (mean - other_mean).square().sum() + covariance.trace() + other_covariance.trace() - 2 * trace_of_root
    return max(0.0, float(squared))


def frechet_of_features(first: Tensor, second: Tensor) -> float:
    """The Fréchet distance between the Gaussians of features [N, D] and [M, D].

    The same as `frechet_distance` of their moments. With fewer images than numbers in a feature the root's trace is
    the sum of the singular values of an N x M matrix, which is far cheaper than of a D x D one.

    Raises:
        DgaugError: other shapes, fewer than two features on a side, or NaN or infinity.
    """
    sides = []
    for features in (first, second):
        moments = Moments.empty(features.shape[1])
        moments.update(features)
        sides.append(moments)
    one, other = sides
    if max(one.count, other.count) > one.dimension or one.dimension != other.dimension:
        return frechet_distance(one, other)
    factors = [
        (features.cpu().double() - moments.mean) / (moments.count - 1) ** 0.5
        for features, moments in zip((first, second), sides, strict=True)
    ]
    traces = sum(factor.square().sum() for factor in factors)
    trace_of_root = torch.linalg.svdvals(factors[0] @ factors[1].T).sum()
    return max(0.0, float((one.mean - other.mean).square().sum() + traces - 2 * trace_of_root))


def read_npz(path: Path, names: tuple[str, ...], *, optional: tuple[str, ...] = ()) -> dict[str, npt.NDArray[Any]]:
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


def _require_shapes(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
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


def _float64(array: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.astype(np.float64))
