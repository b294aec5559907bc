"""What stays of a grey image: body, pose, viewpoint, scene and light."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from enum import Enum

from dgaug.data.toy.chance import chance, weighted


class Hair(str, Enum):
    """Shape of the hair; it belongs to the identity."""

    SHORT = "short"
    BOB = "bob"
    LONG = "long"
    BUN = "bun"
    PONYTAIL = "ponytail"
    BALD = "bald"
    CAP = "cap"


HAIRS = {Hair.SHORT: 9, Hair.BOB: 3, Hair.LONG: 4, Hair.BUN: 2, Hair.PONYTAIL: 3, Hair.BALD: 1, Hair.CAP: 2}
PLACES = 6
FACINGS = {0: 5, 45: 2, -45: 2, 90: 4, -90: 4, 135: 2, -135: 2, 180: 5}
"""Degrees; 0 looks at the viewer, 90 walks right."""


@dataclass(frozen=True, slots=True)
class Body:
    """Proportions, as factors around 1; the same over all images of an identity."""

    height: float
    build: float
    shoulders: float
    hips: float
    hair: Hair


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the person looks and where it is in its step; angles in radians."""

    facing: float
    phase: float
    stride: float
    swing: float
    lean: float
    bent_arm: float


@dataclass(frozen=True, slots=True)
class View:
    """How camera and detector frame the person; lengths in image heights."""

    scale: float
    tilt: float
    pitch: float
    shift_x: float
    shift_y: float


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands behind the person: one of six kinds of place, near-neutral, a camera's own, seen at `pan`."""

    kind: int
    camera_seed: int
    pan: float
    horizon: float


@dataclass(frozen=True, slots=True)
class Light:
    """Side of the light (-1 left .. 1 right), its strength, and a gain for each of R, G, B."""

    side: float
    contrast: float
    gain: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Structure:
    """Everything of an image that is not worn."""

    body: Body
    pose: Pose
    view: View
    scene: Scene
    light: Light

    @classmethod
    def of(cls, seed: int, identity: int, camera: int, index: int) -> Structure:
        """The structure of image `index` of `identity` seen by `camera`."""
        body = _body(chance(seed, "body", identity))
        fixed, draw = chance(seed, "camera", camera), chance(seed, "picture", identity, camera, index)
        tilt, pitch = fixed.uniform(-0.02, 0.02), fixed.uniform(0.06, 0.2)
        zoom, horizon = fixed.uniform(0.985, 1.015), fixed.uniform(0.30, 0.52)
        side, gain = fixed.choice((-1.0, 1.0)) * fixed.uniform(0.5, 1.0), fixed.uniform(0.86, 1.08)
        warmth, green = fixed.uniform(-0.045, 0.045), fixed.uniform(-0.015, 0.015)
        gain *= draw.uniform(0.975, 1.025)
        return cls(
            body=body,
            pose=_pose(draw),
            view=View(
                scale=0.89 * body.height * zoom * draw.uniform(0.95, 1.03),
                tilt=tilt + draw.uniform(-0.015, 0.015),
                pitch=pitch,
                shift_x=draw.uniform(-0.03, 0.03),
                shift_y=draw.uniform(-0.012, 0.012),
            ),
            scene=Scene(
                kind=(camera - 1) % PLACES,
                camera_seed=fixed.getrandbits(31),
                pan=draw.random(),
                horizon=horizon + draw.uniform(-0.02, 0.02),
            ),
            light=Light(
                side=side,
                contrast=draw.uniform(0.85, 1.1),
                gain=(gain * (1 + warmth), gain * (1 + green), gain * (1 - warmth)),
            ),
        )

    @classmethod
    def of_bad_crop(cls, seed: int, identity: int, camera: int, index: int) -> Structure:
        """The same image as a failing detector frames it: half a body, or hardly any."""
        structure = cls.of(seed, identity, camera, index)
        draw = chance(seed, "bad-crop", identity, camera, index)
        side = draw.choice((-1.0, 1.0))
        kind = draw.choice(("head", "legs", "side", "nothing"))
        zoom, across, down = {
            "head": (1.9, 0.06 * side, 0.82),
            "legs": (1.8, 0.05 * side, -0.05),
            "side": (1.1, 0.24 * side, 0.05),
            "nothing": (0.9, 0.62 * side, 0.0),
        }[kind]
        view = structure.view
        return replace(structure, view=replace(view, scale=view.scale * zoom, shift_x=across, shift_y=down))


def _body(draw: random.Random) -> Body:
    return Body(
        height=draw.uniform(0.97, 1.02),
        build=draw.choice((0.9, 0.96, 1.0, 1.06, 1.16)) * draw.uniform(0.98, 1.02),
        shoulders=draw.uniform(0.9, 1.1),
        hips=draw.uniform(0.92, 1.1),
        hair=weighted(draw, HAIRS),
    )


def _pose(draw: random.Random) -> Pose:
    facing = math.radians(weighted(draw, FACINGS) + draw.uniform(-12, 12))
    walking = draw.random() < 0.8
    return Pose(
        facing=facing,
        phase=draw.uniform(0, 2 * math.pi),
        stride=math.radians(draw.uniform(16, 27) if walking else draw.uniform(1, 5)),
        swing=math.radians(draw.uniform(12, 30) if walking else draw.uniform(0, 6)),
        lean=draw.uniform(-0.01, 0.05),
        bent_arm=math.radians(draw.uniform(80, 120)) if draw.random() < 0.15 else 0.0,
    )
