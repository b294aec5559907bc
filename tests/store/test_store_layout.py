"""The layout of a store, read by nothing but h5py."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pytest
from forged import forged
from small_store import SIZE, SPEC, files_of, image_of, probabilities_of, sources_of, write_store

from dgaug.store.read import open_store

FIVE_LINES = """
import h5py, io, PIL.Image
store = h5py.File("store/dataset.h5")
start, stop = store["image/offset"][k:k + 2]
image = PIL.Image.open(io.BytesIO(store["image/bytes"][start:stop].tobytes()))
i, j = store["pair/appearance"][k], store["pair/structure"][k]      # rows of store["source/path"]
"""


@pytest.mark.parametrize(("codec", "tolerance"), [("jpeg", 4), ("png", 0)])
def test_five_lines_of_h5py_read_an_image_and_its_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, tolerance: int
) -> None:
    write_store(tmp_path / "store", codec=codec)
    monkeypatch.chdir(tmp_path)
    for k in (0, 19, 20, 48):
        result: dict[str, object] = {"k": k}
        exec(FIVE_LINES, result)
        assert (result["i"], result["j"]) == divmod(k, SIZE)
        assert np.abs(np.array(result["image"], np.int64) - image_of(k)).max() <= tolerance


def test_the_five_lines_work_after_the_store_was_moved(tmp_path: Path) -> None:
    elsewhere = tmp_path / "other disk" / "deep"
    elsewhere.mkdir(parents=True)
    shutil.move(write_store(tmp_path / "store"), elsewhere / "store")
    reader = f"k = 33\n{FIVE_LINES}\nprint(i, j, image.size, len(image.tobytes()), store['source/path'].asstr()[i])"
    shown = subprocess.run([sys.executable, "-c", reader], cwd=elsewhere, capture_output=True, text=True, check=True)
    assert shown.stdout == "4 5 (6, 12) 216 train/0004_é.jpg\n"


def test_a_store_of_version_1_0_is_read_as_one_of_fp32(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    with forged(store) as hdf5:
        del hdf5.attrs["precision"]
        hdf5.attrs["version"] = "1.0"
    assert open_store(store).spec == SPEC
    assert np.abs(open_store(store)[7].image.astype(int) - image_of(7)).max() <= 4
    settings = asdict(SPEC)
    settings |= settings.pop("parts")[0]
    assert settings.pop("precision") == "fp32"
    digest = hashlib.sha256(json.dumps([settings, sources_of().digest()], sort_keys=True).encode()).hexdigest()
    with h5py.File(store / "shards/000000.h5") as shard:
        assert shard.attrs["settings"] == digest


def test_raw_pixels_labels_and_attributes_are_where_the_schema_says(tmp_path: Path) -> None:
    with h5py.File(write_store(tmp_path / "store", codec="raw", quality=0) / "dataset.h5") as store:
        assert set(store["image"]) == {"crc32", "pixels"}
        assert store["image/pixels"].dtype == np.uint8
        assert (store["image/pixels"][:] == np.stack([image_of(k) for k in range(SIZE * SIZE)])).all()
        assert store["pair/appearance"].dtype == store["pair/structure"].dtype == np.int32
        assert store["label/class"].dtype == np.uint16
        assert store["label/probability"].dtype == store["label/rest"].dtype == np.float16
        assert store["label/class"].shape == store["label/probability"].shape == (49, 3)
        assert store["image/crc32"].shape == store["label/rest"].shape == (49,)
        assert store["shard/path"].asstr()[:].tolist() == [f"shards/00000{number}.h5" for number in range(3)]
        assert store["shard/start"][:].tolist() == [0, 20, 40]
        assert store["class_name"].asstr()[:].tolist() == ["0000", "0001", "0002"]
        assert store["source/identity_name"].asstr()[3] == "0001"
        assert store["source/camera"][:].tolist() == [-1, 1, 2, -1, 1, 2, -1]
        attributes = dict(store.attrs)
    assert attributes["image_size"].tolist() == [12, 6]
    assert bool(attributes["complete"]) is True
    expected = {"schema": 1, "count": 49, "pairs": "all", "seed": 0, "codec": "raw", "teacher_sha256": "cd" * 32}
    assert {name: attributes[name] for name in expected} == expected
    assert {"version", "quality", "generator_sha256", "dgaug_version"} <= set(attributes)


def test_only_bytes_pixels_pairs_and_labels_are_virtual(tmp_path: Path) -> None:
    virtual: set[str] = set()
    with h5py.File(write_store(tmp_path / "store") / "dataset.h5") as store:
        store.visititems(
            lambda name, found: virtual.add(name) if isinstance(found, h5py.Dataset) and found.is_virtual else None
        )
        assert store["image/offset"].dtype == np.int64
        assert store["image/offset"].shape == (50,)
    labels = {"label/class", "label/probability", "label/rest"}
    assert virtual == {"image/bytes", "pair/appearance", "pair/structure", *labels}


def test_dense_labels_stand_in_place_of_top_labels(tmp_path: Path) -> None:
    with h5py.File(write_store(tmp_path / "store", labels="dense") / "dataset.h5") as store:
        assert set(store["label"]) == {"dense"}
        assert store["label/dense"].dtype == np.float16
        assert (store["label/dense"][30] == probabilities_of(30, 3).astype(np.float16)).all()


@pytest.mark.parametrize("codec", ["jpeg", "png", "raw"])
def test_a_store_is_the_same_bytes_however_its_images_arrived(tmp_path: Path, codec: str) -> None:
    settings = {"sources": sources_of(30), "planned": 900, "shard_size": 800, "codec": codec}
    one = write_store(tmp_path / "one", size=3, **settings)
    assert files_of(one) == files_of(write_store(tmp_path / "two", size=500, **settings))


def test_a_store_is_the_same_bytes_in_another_second_process_and_folder(tmp_path: Path) -> None:
    script = "import time, small_store, pathlib; time.sleep(1.1); small_store.write_store(pathlib.Path('again'))"
    environment = {"PYTHONPATH": ":".join([str(Path(__file__).parent), *filter(None, sys.path)])}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    assert files_of(write_store(tmp_path / "store")) == files_of(tmp_path / "again")
