"""The embedded data set: procedural pedestrians whose every pair has a true image."""

from dgaug.data.toy.appearance import Appearance
from dgaug.data.toy.dataset import write_toy
from dgaug.data.toy.image import clothed_body, render
from dgaug.data.toy.structure import Structure
from dgaug.data.toy.world import ToyWorld, is_toy

__all__ = ["Appearance", "Structure", "ToyWorld", "clothed_body", "is_toy", "render", "write_toy"]
