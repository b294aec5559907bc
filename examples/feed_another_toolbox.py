"""Real and generated images for another re-id toolbox, and the proof that its reader takes them for what they are.

For whoever trains with Torchreid, fast-reid or any code that reads Market-1501 by its file names. None of them needs to
be installed: `read_as_toolboxes_do` states their rules.

    python examples/feed_another_toolbox.py                       # trains a small run on the embedded data first
    python examples/feed_another_toolbox.py runs/00001-market1501

It writes a data set with the real images and as many generated ones: Market-1501-generated/.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

import pandas

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
    """Export a store together with its real images, and read both back."""
    # %% A store: each image's appearance on three other images' structures
    folder = Path(run) if run else dgaug.train(out="runs/examples", resume=True).folder
    made = dgaug.synthesize(folder, pairs="per-appearance:3", out=folder / "examples/three")

    # %% One data set: generated images under the identity of their appearance donor, query and gallery as they are
    data, out = Run(folder).data_root(), Path("Market-1501-generated")
    exported = dgaug.export_merged(made.store, data, tool="market", out=out, ratio=3)
    print(*exported.notes, sep="\n")

    # %% What a toolbox makes of it: the identities that it had, and more images of them
    for name, images in (("real", read_as_toolboxes_do(data)), ("mixed", read_as_toolboxes_do(out))):
        labels, cameras = {image.label for image in images}, {image.camera for image in images}
        print(f"{name}: {len(images)} images, {len(labels)} identities, {len(cameras)} cameras")

    # %% Each label is the one that the store means
    store = dgaug.open_store(made.store)
    table = pandas.read_csv(out / "images.csv", dtype=str, keep_default_na=False)
    generated = set(table.path[table.generated == "1"])
    for image in read_as_toolboxes_do(out):
        if image.path.relative_to(out).as_posix() in generated:
            item = store[int(image.path.stem.split("_")[2])]
            assert image.label == item.appearance_identity
            assert image.camera + 1 == store.sources.camera[item.structure]
    print("every label is that of the appearance donor, every camera that of the structure donor")


def read_as_toolboxes_do(root: Path) -> list[Read]:
    """The training split by the common rules: identity and one digit of camera by name, -1 is junk, labels from 0."""
    result = []
    for path in sorted((root / "bounding_box_train").glob("*.jpg")):
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
