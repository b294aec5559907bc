"""Real and generated features as two clouds of points in the plane that shows most of the real ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.pictures.figure_file import plain_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REAL_COLOUR, GENERATED_COLOUR = "#0072B2", "#D55E00"
"""Blue and vermilion of Okabe and Ito: told apart by the colour-blind and in grey print."""
INK = "#333333"
DPI = 150


@dataclass(frozen=True)
class Plane:
    """The plane of the two largest principal components of a set of features.

    Attributes:
        centre: their mean [D].
        axes: the components, of unit length [D, 2]; the largest number of each is positive.
        explained: share of their variance along each [2].
    """

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    explained: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[Any]) -> Plane:
        """The plane of features [N, D].

        Raises:
            DgaugError: fewer than 3 features or 2 numbers in each, NaN or infinity, or no variance.
        """
        values = _checked(features)
        if len(values) < 3 or values.shape[1] < 2:
            raise DgaugError(
                f"clouds: a plane takes at least 3 real features of 2 numbers, found {values.shape[0]} of "
                f"{values.shape[1]}"
            )
        variance, vectors = np.linalg.eigh(np.cov(values.T))
        if variance[-1] <= 0:
            raise DgaugError("clouds: all real features are the same; there is no plane to show them in")
        axes = vectors[:, :-3:-1]
        largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
        return cls(values.mean(axis=0), axes * np.sign(largest), variance[:-3:-1].clip(0) / variance.clip(0).sum())

    def project(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Coordinates [M, 2] of features [M, D]; DgaugError where D is another."""
        values = _checked(features)
        if values.shape[1] != len(self.centre):
            raise DgaugError(f"clouds: real features of {len(self.centre)} numbers, generated of {values.shape[1]}")
        return np.asarray((values - self.centre) @ self.axes)


def clouds(real: NDArray[Any], generated: NDArray[Any], *, encoder: str) -> Figure:
    """A figure of real [N, D] and generated features [M, D] of an encoder, in the plane of the real ones.

    The plane is fitted on the real features alone, so that generated pictures unlike them move away from the cloud
    instead of turning the axes. Both axes have one scale and say how much of the real variance they show.

    Raises:
        DgaugError: see `Plane`.
    """
    plane = Plane.of(real)
    with plain_style() as new_figure:
        figure = new_figure(figsize=(7.0, 5.5), dpi=DPI, facecolor="white", layout="constrained")
        axes = figure.add_subplot(facecolor="white")
        _scatter(axes, plane.project(real), "real", REAL_COLOUR, "o")
        _scatter(axes, plane.project(generated), "generated", GENERATED_COLOUR, "^")
        first, second = (f"{share:.1%} of the real variance" for share in plane.explained)
        axes.set_xlabel(f"principal component 1 ({first})", color=INK)
        axes.set_ylabel(f"principal component 2 ({second})", color=INK)
        axes.set_title(f"Features: {encoder}", color=INK)
        axes.set_aspect("equal", adjustable="datalim")
        axes.grid(color="#E5E5E5", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK)
        axes.legend(frameon=False, labelcolor=INK)
    return figure


def _scatter(axes: Axes, points: NDArray[np.float64], name: str, colour: str, marker: str) -> None:
    """One cloud [N, 2], its markers the smaller the more there are."""
    area = float(np.clip(4000 / len(points), 4, 36))
    x, y = points.T
    axes.scatter(x, y, s=area, c=colour, marker=marker, alpha=0.5, linewidths=0, rasterized=True)
    axes.scatter([], [], s=36, c=colour, marker=marker, linewidths=0, label=f"{name} ({len(points):,})")


def _checked(features: NDArray[Any]) -> NDArray[np.float64]:
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 2 or not len(values) or not np.isfinite(values).all():
        raise DgaugError(f"clouds: expected finite features [N, D], found {list(values.shape)} or NaN among them")
    return values
