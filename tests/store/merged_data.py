"""Real images in a small data set, a store made of them, and the rules by which tools read a merged export."""

from __future__ import annotations

import re
from collections.abc import Mapping
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from small_store import image_of, write_store

from dgaug.data.layouts import open_data
from dgaug.store.merge import Merged, export_merged
from dgaug.store.read import StoreDataset
from dgaug.store.sources import Sources

TRAIN = ("0002_c1s1_000451_03", "0002_c2s1_000452_01", "0002_c3s1_000453_01", "0007_c1s1_000010_01")
TRAIN += ("0007_c2s1_000011_01", "0010_c1s1_000012_01", "0010_c3s1_000013_01")
QUERY = ("0101_c1s1_000001_00", "0102_c2s1_000002_00")
GALLERY = ("0101_c2s1_000003_00", "0102_c1s1_000004_00", "-1_c1s1_000005_00", "0000_c2s1_000006_00")
FOLDERS = {"bounding_box_train": TRAIN, "query": QUERY, "bounding_box_test": GALLERY}


def write_data(root: Path, folders: Mapping[str, tuple[str, ...]] = FOLDERS, *, ending: str = ".jpg") -> Path:
    """A data set in Market-1501's layout; every image has other bytes."""
    for number, (folder, name) in enumerate((folder, name) for folder, names in folders.items() for name in names):
        path = root / folder / f"{name}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image_of(number)).save(path)
    return root


def store_of(data: Path, path: Path, **settings: object) -> Path:
    """A store of all pairs of a data set's training images."""
    sources = Sources.of(open_data(data).splits["train"])
    return write_store(path, sources=sources, planned=len(sources) ** 2, **settings)


def merged(store: Path, data: Path, out: Path, **options: Any) -> Merged:
    """An export that must be whole: its name, and nothing beside it."""
    made = export_merged(store, data, out=out, **options)
    assert not out.with_name(out.name + ".part").exists()
    return made


def market_split(folder: Path) -> list[tuple[Path, int, int]]:
    """Market-1501 as torchreid, fast-reid, TransReID, CLIP-ReID and boxmot read it: file, identity, camera from 0."""
    result = []
    for path in map(Path, sorted(glob(f"{folder}/*.jpg"))):
        # All but boxmot look for it in the whole path.
        match = re.search(r"([-\d]+)_c(\d)", str(path))
        assert match is not None
        identity, camera = int(match[1]), int(match[2])
        if identity != -1:
            assert 0 <= identity <= 1501
            assert 1 <= camera <= 6
            # The layumi baseline: a folder of the text before the first underscore; in its test, places in the name.
            assert path.name.split("_")[0] == match[1]
            assert (int(path.name[:4]), path.name.split("c")[1][0]) == (identity, match[2])
            result.append((path, identity, camera - 1))
    return result


def assert_donors(
    out: Path, store: StoreDataset, data: Path, rows: list[dict[str, str]], *, of: str = "appearance"
) -> None:
    """Every generated image has the identity of its donor, the camera of its structure donor, and the store's bytes."""
    generated = [row for row in rows if row["generated"] == "1"]
    assert generated
    for row in generated:
        k = int(re.findall(r"\d{7,}", row["path"])[-1])
        item = store[k]
        assert row["identity"] == store.sources.identity_name[getattr(item, of)]
        assert row["camera"] == str(store.sources.camera[item.structure])
        for donor in ("appearance", "structure"):
            real = (out / row[donor]).read_bytes()
            assert real == (data / store.sources.path[getattr(item, donor)]).read_bytes()
        with Image.open(out / row["path"]) as image:
            assert np.abs(np.asarray(image).astype(int) - image_of(k)).mean() < 4
