"""Reading a store through dgaug: every image as it was written, or an error."""

from __future__ import annotations

import pickle
import sys
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from forged import forged
from small_store import SIZE, SPEC, image_of, probabilities_of, sources_of, write_store
from torch.utils.data import DataLoader

from dgaug.data.loading import loaded
from dgaug.errors import DgaugError
from dgaug.store.index import begin_store
from dgaug.store.read import StoreDataset, open_store
from dgaug.store.verify import verify


@pytest.mark.parametrize(("codec", "tolerance"), [("jpeg", 4), ("png", 0), ("raw", 0)])
def test_images_pairs_and_labels_come_back(tmp_path: Path, codec: str, tolerance: int) -> None:
    store = open_store(write_store(tmp_path / "store", codec=codec))
    assert len(store) == SIZE * SIZE
    for k in (0, 7, 19, 20, 48, -1):
        item, row = store[k], k % len(store)
        assert item.image.dtype == np.uint8
        assert np.abs(item.image.astype(int) - image_of(row)).max() <= tolerance
        assert (item.appearance, item.structure) == divmod(row, SIZE)
        assert (item.appearance_identity, item.structure_identity) == (row // SIZE // 3, row % SIZE // 3)
        expected = probabilities_of(row, 3)
        assert item.label_class.tolist() == np.argsort(-expected).tolist()
        assert np.allclose(store.dense_label(k), expected, atol=1e-3)


def test_a_store_opens_by_its_folder_or_its_file(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    assert open_store(str(store)).sources.path == open_store(store / "dataset.h5").sources.path


def test_an_open_store_outlives_a_change_of_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_store(tmp_path / "store", codec="png")
    monkeypatch.chdir(tmp_path)
    store = open_store("store")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for result in (store, pickle.loads(pickle.dumps(store))):
        assert np.array_equal(result[7].image, image_of(7))
        assert len(result.pairs()) == SIZE * SIZE


@pytest.mark.parametrize("name", ["only-the-file.h5", "dataset.h5"])
def test_a_link_to_the_file_alone_is_followed(tmp_path: Path, name: str) -> None:
    store = write_store(tmp_path / "store", codec="png")
    link = tmp_path / "links" / name
    link.parent.mkdir()
    link.symlink_to(Path("../store/dataset.h5"))
    again = tmp_path / "again.h5"
    again.symlink_to(link)
    for path in (link, again, *([link.parent] if name == "dataset.h5" else [])):
        assert open_store(path).path == store
        assert np.array_equal(open_store(path)[7].image, image_of(7))
        assert verify(path).ok


def test_a_folder_of_links_to_every_file_keeps_its_names(tmp_path: Path) -> None:
    """As content-addressed caches lay them out: what a link points to has another name."""
    store, farm = write_store(tmp_path / "store", codec="png"), tmp_path / "farm"
    for number, file in enumerate(sorted(store.rglob("*.h5"))):
        blob = file.rename(tmp_path / f"blob{number}")
        (farm / file.relative_to(store)).parent.mkdir(parents=True, exist_ok=True)
        (farm / file.relative_to(store)).symlink_to(blob)
    assert np.array_equal(open_store(farm)[7].image, image_of(7))


@pytest.mark.parametrize("what", ["a loop of links", "a folder", "a very long name", "a file in the way"])
def test_what_is_no_store_is_told_in_one_line(tmp_path: Path, what: str) -> None:
    path = tmp_path / "store"
    if what == "a loop of links":
        path.symlink_to(path)
    elif what == "a folder":
        (path / "dataset.h5").mkdir(parents=True)
    elif what == "a very long name":
        path = tmp_path / ("x" * 5000)
    else:
        path.write_bytes(b"")
        path = path / "dataset.h5"
    for read in (open_store, verify):
        with pytest.raises(DgaugError, match=r"expected a store|cannot read .*name too long"):
            read(path)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(24, "Too many open files")])
@pytest.mark.parametrize("moment", ["opening", "reading"])
def test_what_the_system_refuses_is_told_as_that_and_not_as_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, moment: str
) -> None:
    folder = write_store(tmp_path / "store")
    store = open_store(folder) if moment == "reading" else None

    def refused(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("h5py.File", refused)
    with pytest.raises(DgaugError, match=f"cannot read {folder}.*: {error.strerror.lower()}"):
        open_store(folder) if store is None else store[0]


def test_all_pairs_are_read_at_once(tmp_path: Path) -> None:
    pairs = open_store(write_store(tmp_path / "store")).pairs()
    assert pairs.tolist() == [[i, j] for i in range(SIZE) for j in range(SIZE)]


@pytest.mark.parametrize("codec", ["jpeg", "raw"])
@pytest.mark.parametrize("labels", ["top", "dense"])
def test_a_batch_holds_what_the_items_hold(tmp_path: Path, codec: str, labels: str) -> None:
    store = open_store(write_store(tmp_path / "store", codec=codec, labels=labels), device="cpu")
    rows = [48, 3, -2, 20, 3]
    batch, items = store.batch(rows), store.__getitems__(rows)
    assert np.array_equal(batch.pixels, [item.image for item in items])
    assert batch.labels is not None
    assert np.array_equal(batch.labels, [store.dense_label(row) for row in rows])
    assert batch.appearance_identity.tolist() == [item.appearance_identity for item in items]
    assert batch.structure_identity.tolist() == [item.structure_identity for item in items]
    assert [item.structure for item in items] == [store[row].structure for row in rows]


def test_threads_that_share_a_store_read_what_one_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BLOCK_ROWS": 3, "KEPT_BLOCKS": 2, "OPEN_SHARDS": 1}.items():
        monkeypatch.setattr(f"dgaug.store.shard_reader.{name}", value)
    folder = write_store(tmp_path / "store", codec="png")
    rows = np.random.default_rng(0).integers(SIZE * SIZE, size=2000).tolist()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with closing(loaded(open_store(folder).__getitem__, rows, threads=4)) as items:
            for row, item in zip(rows, items, strict=True):
                assert np.array_equal(item.image, image_of(row))
                assert (item.appearance, item.structure) == divmod(row, SIZE)
    finally:
        sys.setswitchinterval(interval)


def test_rows_beyond_a_block_are_read_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dgaug.store.shard_reader.BLOCK_ROWS", 3)
    monkeypatch.setattr("dgaug.store.shard_reader.KEPT_BLOCKS", 2)
    store = open_store(write_store(tmp_path / "store", codec="png"))
    for k in [*range(49), *np.random.default_rng(0).permutation(49).tolist()]:
        item = store[k]
        assert (item.image == image_of(k)).all()
        assert (item.appearance, item.structure) == divmod(k, SIZE)
        assert np.allclose(store.dense_label(k), probabilities_of(k, 3), atol=1e-3)


def test_iteration_ends_at_the_last_image(tmp_path: Path) -> None:
    assert [item.structure for item in open_store(write_store(tmp_path / "store"))] == [*range(SIZE)] * SIZE


def test_dense_labels_read_as_top_labels_too(tmp_path: Path) -> None:
    store = open_store(write_store(tmp_path / "store", labels="dense"))
    assert store[5].label_class.tolist() == np.argsort(-probabilities_of(5, 3)).tolist()
    assert (store.dense_label(5) == probabilities_of(5, 3).astype(np.float16)).all()


def test_a_store_without_labels_has_images_and_no_soft_label(tmp_path: Path) -> None:
    store = open_store(write_store(tmp_path / "store", labels="none", teacher_sha256=""))
    assert store[3].label_class.shape == (0,)
    with pytest.raises(DgaugError, match="a store with labels"):
        store.dense_label(3)


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_loader_workers_read_the_store_however_they_start(tmp_path: Path, start: str) -> None:
    store = open_store(write_store(tmp_path / "store", codec="png"))
    assert store[0].appearance == 0  # this process has handles open that the workers must not share
    loader: DataLoader[StoreDataset] = DataLoader(store, batch_size=8, num_workers=2, multiprocessing_context=start)
    batches = list(loader)
    images = torch.cat([batch.image for batch in batches])
    assert (images.numpy() == np.stack([image_of(k) for k in range(SIZE * SIZE)])).all()
    assert torch.cat([batch.label_class for batch in batches]).shape == (SIZE * SIZE, 3)


def test_a_pickled_store_carries_no_handles_and_reads_on(tmp_path: Path) -> None:
    store = open_store(write_store(tmp_path / "store"))
    before = store[9]
    assert (pickle.loads(pickle.dumps(store))[9].image == before.image).all()


def test_many_shards_are_read_with_few_handles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dgaug.store.shard_reader.OPEN_SHARDS", 4)
    store = open_store(write_store(tmp_path / "store", shard_size=1, codec="raw", labels="none"))
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    assert [store[k].structure for k in range(49)] == [*range(SIZE)] * SIZE
    # The few shards, dataset.h5, and the list itself.
    assert len(list(Path("/proc/self/fd").iterdir())) - open_files <= 4 + 1
    assert store[0].structure == 0


def test_an_unfinished_store_is_refused(tmp_path: Path) -> None:
    begin_store(tmp_path / "store", SPEC, sources_of())
    with pytest.raises(DgaugError, match="unfinished"):
        open_store(tmp_path / "store")


def test_a_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DgaugError, match=r"dataset\.h5"):
        open_store(tmp_path)


def test_a_missing_shard_is_an_error_on_opening(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    (store / "shards/000001.h5").unlink()
    with pytest.raises(DgaugError, match=r"000001\.h5.*no file"):
        open_store(store)


def test_a_shard_cut_short_is_an_error_on_opening(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    shard = store / "shards/000002.h5"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DgaugError, match=r"000002\.h5"):
        open_store(store)


@pytest.mark.parametrize("codec", ["png", "raw"])
def test_one_flipped_bit_in_an_image_is_an_error_on_reading_it(tmp_path: Path, codec: str) -> None:
    store = open_store(write_store(tmp_path / "store", codec=codec))
    shard = store.path / "shards/000001.h5"
    with h5py.File(shard, "r+") as hdf5:
        if codec == "raw":
            hdf5["image/pixels"][3, 0, 0, 0] ^= 4
        else:
            hdf5["image/bytes"][hdf5["image/offset"][3] + 30] ^= 4
    assert (store[22].image == image_of(22)).all()
    with pytest.raises(DgaugError, match=r"image 3 of .*000001\.h5"):
        store[23]


def test_another_file_in_place_of_a_shard_is_an_error_on_reading_it(tmp_path: Path) -> None:
    store = open_store(write_store(tmp_path / "store"))
    shard = store.path / "shards/000000.h5"
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(DgaugError, match=r"000000\.h5"):
        store[0]


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    with forged(store) as hdf5:
        hdf5.attrs["schema"] = 2
    with pytest.raises(DgaugError, match="newer dgaug"):
        open_store(store)


def test_a_shard_outside_the_store_is_refused(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    with forged(store) as hdf5:
        hdf5["shard/path"][0] = "shards/../../secret.h5"
    with pytest.raises(DgaugError, match="refused"):
        open_store(store)


def test_a_virtual_data_set_over_a_file_outside_is_refused(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    with forged(store) as hdf5:
        del hdf5["pair/structure"]
        layout = h5py.VirtualLayout((49,), "i4")
        layout[:] = h5py.VirtualSource("/etc/secret.h5", "pair/structure", (49,))
        hdf5.create_virtual_dataset("pair/structure", layout)
    with pytest.raises(DgaugError, match="refused"):
        open_store(store)


def test_an_external_link_in_a_shard_is_refused(tmp_path: Path) -> None:
    store = open_store(write_store(tmp_path / "store"))
    with h5py.File(store.path / "shards/000000.h5", "r+") as hdf5:
        del hdf5["pair/structure"]
        hdf5["pair/structure"] = h5py.ExternalLink("/etc/secret.h5", "pair/structure")
    with pytest.raises(DgaugError, match="refused"):
        store[0]


def test_raw_data_in_another_file_is_refused(tmp_path: Path) -> None:
    store = open_store(write_store(tmp_path / "store"))
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(80))
    with h5py.File(store.path / "shards/000000.h5", "r+") as hdf5:
        del hdf5["pair/structure"]
        hdf5.create_dataset("pair/structure", (20,), "i4", external=[(str(secret), 0, 80)])
    with pytest.raises(DgaugError, match="refused"):
        store[0]


def test_plain_h5py_and_dgaug_read_a_store_side_by_side(tmp_path: Path) -> None:
    store = open_store(write_store(tmp_path / "store"))
    assert store[40].structure == 40 % SIZE
    with h5py.File(store.path / "dataset.h5") as hdf5:
        assert hdf5["pair/structure"][40] == store[40].structure
        assert (hdf5["pair/appearance"][:] == np.arange(49) // SIZE).all()
