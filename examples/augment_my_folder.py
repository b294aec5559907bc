"""Many more images from a folder of yours: check, train, synthesize, export, look.

For whoever has images of people, vehicles or animals, sorted by who is on them, and nothing else.

    python examples/augment_my_folder.py                                  # the embedded data, minutes on two CPU cores
    python examples/augment_my_folder.py photos market1501                # photos/anna/*.jpg, photos/ben/*.jpg, ...
    python examples/augment_my_folder.py photos market1501 '(?P<identity>[a-z]+)_cam(?P<camera>[0-9]+)'   # by file name

It writes runs/mine (the run), generated (the images), grid.png and, without arguments, the drawn people where it is
started; started again, it resumes.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import dgaug
from dgaug.data.check import check_data
from dgaug.data.layouts import open_data
from dgaug.data.toy import write_toy
from dgaug.errors import DgaugError


def main(folder: str = "", config: str = "toy", pattern: str = "") -> None:
    """From a folder to generated images; `config` is a preset or a YAML file."""
    # %% The images: yours, or drawn ones, sorted as yours may be
    data = Path(folder) if folder else drawn_people(Path("people"))

    # %% Check: single, damaged and camera-less images are named here, not in the middle of training
    content = open_data(data, pattern=pattern or None)
    report = check_data(content)
    for split, counts in report.splits.items():
        print(f"{split}: {counts.images} images of {counts.identities} identities, {counts.damaged} damaged")
    for problem in report.problems:
        print("note:", problem)

    # %% Train: first a teacher that knows the identities, then the generator
    overrides = [f"data.pattern='{pattern}'"] if pattern else []
    run = dgaug.train(data, config, overrides=overrides, out="runs/mine", resume=True)

    # %% Synthesize: each image's clothes on five other images' poses; pairs="all" is N x N
    made = dgaug.synthesize(run.folder, pairs="per-appearance:5")
    print(f"{made.count} images in {made.store}")
    assert not dgaug.verify(made.store).findings

    # %% Export: JPEG files named by identity and camera, and labels.csv with soft labels and both donors
    exported = dgaug.export_store(made.store, to="folders", out="generated")
    print(f"{exported.images} files in {exported.out / 'bounding_box_train'}")
    for note in exported.notes:
        print("note:", note)

    # %% Look: rows wear the clothes of the image at the left, columns stand as the image on top
    grid = dgaug.draw_grid(run.folder, out="grid.png", force=True)
    page = dgaug.report_run(run.folder)
    print(f"look at {grid} and {page}")


def drawn_people(folder: Path) -> Path:
    """A folder with one folder per identity, as you may have it: people/0001/*.jpg, people/0002/*.jpg, ..."""
    write_toy(Path("pedestrians"), identities=24)
    for image in sorted(Path("pedestrians/bounding_box_train").iterdir()):
        target = folder / image.name.partition("_")[0] / image.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, target)
    return folder


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except DgaugError as error:
        sys.exit(f"error: {error}")
