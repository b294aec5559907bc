"""Generated images for another re-id toolbox, and the proof that its reader takes them for what they are.

For whoever trains with Torchreid, fast-reid or any code that reads Market-1501 by its file names. None of them needs to
be installed: `read_as_toolboxes_do` states their rules.

    python examples/feed_another_toolbox.py                       # trains a small run on the embedded data first
    python examples/feed_another_toolbox.py runs/00001-market1501

It writes a copy of the training images with the generated ones beside them: Market-1501-generated/bounding_box_train.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import dgaug
from dgaug.errors import DgaugError
from dgaug.runs import Run

NAME = re.compile(r"([-\d]+)_c(\d)")


class Read(NamedTuple):
    """An image as a toolbox has it: label from 0 without gaps, camera from 0."""

    path: Path
    identity: int
    label: int
    camera: int


def main(run: str = "") -> None:
    """Export a store, put it beside real images, and read both back."""
    # %% A store: each image's appearance on three other images' structures
    folder = Path(run) if run else dgaug.train(out="runs/examples", resume=True).folder
    made = dgaug.synthesize(folder, pairs="per-appearance:3", out=folder / "examples/three")

    # %% Export it: identity of the appearance donor, camera of the structure donor, a number that no real image has
    exported = dgaug.export_store(made.store, to="folders", out=folder / "examples/exported", unknown_camera=7)
    generated = exported.out / "bounding_box_train"

    # %% One training folder of real and generated images; query and gallery stay as they are
    mixed = Path("Market-1501-generated/bounding_box_train")
    shutil.copytree(Run(folder).data_root() / "bounding_box_train", mixed, dirs_exist_ok=True)
    shutil.copytree(generated, mixed, dirs_exist_ok=True)

    # %% What a toolbox makes of them
    for name, images in (("generated", read_as_toolboxes_do(generated)), ("mixed", read_as_toolboxes_do(mixed))):
        labels, cameras = {image.label for image in images}, {image.camera for image in images}
        print(f"{name}: {len(images)} images, {len(labels)} identities, {len(cameras)} cameras")

    # %% Each label is the one that the store means
    store = dgaug.open_store(made.store)
    for image in read_as_toolboxes_do(generated):
        item = store[int(image.path.stem.split("_")[2])]
        assert image.label == item.appearance_identity
        assert image.camera + 1 in (store.sources.camera[item.structure], 7)
    print("every label is that of the appearance donor, every camera that of the structure donor")


def read_as_toolboxes_do(folder: Path) -> list[Read]:
    """Market-1501 by the common rules: identity and one digit of camera by name, -1 is junk, labels counted anew."""
    result = []
    for path in sorted(folder.glob("*.jpg")):
        match = NAME.search(path.name)
        assert match, f"no identity and camera in {path.name}"
        identity, camera = int(match[1]), int(match[2])
        if identity != -1:
            result.append((path, identity, camera - 1))
    label = {identity: place for place, identity in enumerate(sorted({identity for _, identity, _ in result}))}
    return [Read(path, identity, label[identity], camera) for path, identity, camera in result]


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except DgaugError as error:
        sys.exit(f"error: {error}")
