"""The codec `codes`: the same images as any other store, though none is in it."""

from __future__ import annotations

import pickle
import signal
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from forged import forged
from safetensors.torch import load_file
from synthesis_runs import files_of
from tiny_run import IMAGES, RunCommand, signal_at
from torch.utils.data import DataLoader
from virtual_stores import write_tiny_virtual

from dgaug.errors import DgaugError
from dgaug.models.checkpoints import load_generator
from dgaug.runs import Run
from dgaug.store.index import read_state
from dgaug.store.read import StoreDataset, open_store
from dgaug.store.verify import verify
from dgaug.store.virtual import read_decoder
from dgaug.synthesis.job import synthesize


@pytest.fixture(scope="module")
def virtual(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pairs of the tiny run; only read."""
    return write_tiny_virtual(tiny_run, tmp_path_factory.mktemp("virtual") / "store")


@pytest.fixture(scope="module")
def raw(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> StoreDataset:
    """All pairs of the tiny run as stored pixels with labels."""
    store = tmp_path_factory.mktemp("raw") / "store"
    synthesize(tiny_run.folder, codec="raw", out=store)
    return open_store(store)


@pytest.fixture
def own_virtual(virtual: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    copied = tmp_path / "store"
    for path in virtual.rglob("*.*"):
        (copied / path.relative_to(virtual)).parent.mkdir(parents=True, exist_ok=True)
        (copied / path.relative_to(virtual)).write_bytes(path.read_bytes())
    return copied


def test_every_image_is_that_of_a_raw_store_within_a_grey_level(virtual: Path, raw: StoreDataset) -> None:
    store = open_store(virtual)
    assert len(store) == len(raw) == IMAGES**2
    for drawn, stored in zip(store, raw, strict=True):
        assert drawn.image.dtype == np.uint8
        assert np.abs(drawn.image.astype(int) - stored.image).max() <= 1
        assert drawn[1:5] == stored[1:5]


def test_an_image_is_the_same_alone_and_among_others(virtual: Path) -> None:
    store = open_store(virtual)
    rows = [300, 5, 5, 17, 575, 301, 44, 2, 9, 120, 121]
    for row, item in zip(rows, store.__getitems__(rows), strict=True):
        assert np.array_equal(item.image, store[row].image)
    assert np.array_equal(store[-1].image, store[575].image)
    assert np.array_equal(store.batch(rows).pixels[3], store[17].image)
    with pytest.raises(IndexError):
        store[576]


def test_h5py_shows_codes_and_pairs_and_nothing_of_when_and_where(tiny_run: Run, virtual: Path) -> None:
    with h5py.File(virtual / "dataset.h5") as store:
        assert store["code/structure"].shape == (IMAGES, 32, 16, 8)
        assert store["code/adain"].shape == (IMAGES, 4, 2, 2, 32)
        assert store["code/structure"].dtype == store["code/adain"].dtype == np.float16
        assert np.abs(store["code/structure"][:].astype(float)).max(axis=(1, 2, 3)).min() > 1
        assert store["code/source"][:].tolist() == [*range(IMAGES)]
        assert store["pair/appearance"].dtype == np.int32
        assert store["pair/appearance"][:].tolist() == [i for i in range(IMAGES) for _ in range(IMAGES)]
        assert store["pair/structure"][:].tolist() == [*range(IMAGES)] * IMAGES
        assert store["file/path"].asstr()[:].tolist() == ["codes/000000.h5", "generator.safetensors"]
        assert "image" not in store
        assert "label" not in store
        assert store.attrs["codec"] == "codes"
        assert store.attrs["generator_sha256"] == load_generator(tiny_run.checkpoint).sha256
    for content in files_of(virtual).values():
        assert str(tiny_run.folder).encode() not in content


def test_the_decoder_beside_the_codes_is_the_generators(tiny_run: Run, virtual: Path) -> None:
    decoder = load_generator(tiny_run.checkpoint).generator.decoder.state_dict()
    stored = load_file(virtual / "generator.safetensors")
    assert stored.keys() == decoder.keys()
    assert all(torch.equal(stored[name], decoder[name]) for name in stored)


def test_the_pairs_of_all_take_almost_no_room(virtual: Path) -> None:
    shards = sum(path.stat().st_size for path in (virtual / "shards").iterdir())
    with h5py.File(virtual / "shards/000000.h5") as shard:
        assert shard["pair/structure"].id.get_storage_size() < 400  # of 800
    assert shards < sum(path.stat().st_size for path in (virtual / "codes").iterdir())


def test_only_the_sources_that_pairs_name_have_codes(tiny_run: Run, raw: StoreDataset, tmp_path: Path) -> None:
    store = open_store(write_tiny_virtual(tiny_run, tmp_path / "store", pairs="grid:3x2"))
    pairs = store.pairs()
    with h5py.File(store.path / "dataset.h5") as hdf5:
        assert hdf5["code/source"][:].tolist() == sorted(set(pairs.flatten().tolist()))
    for (i, j), item in zip(pairs.tolist(), store, strict=True):
        assert np.abs(item.image.astype(int) - raw[IMAGES * i + j].image).max() <= 1
    assert verify(store.path).ok


def test_a_teacher_labels_on_demand_what_it_would_have_labelled_before(
    tiny_run: Run, virtual: Path, raw: StoreDataset
) -> None:
    assert not open_store(virtual).has_labels
    assert open_store(virtual)[3].label_class.shape == (0,)
    with pytest.raises(DgaugError, match="open it with a teacher"):
        open_store(virtual).dense_label(3)
    store = open_store(virtual, teacher=tiny_run.teacher)
    rows = [0, 70, 571]
    assert store.has_labels
    for row, item in zip(rows, store.__getitems__(rows), strict=True):
        assert np.allclose(store.dense_label(row), raw.dense_label(row), atol=0.02)  # of a grey level
        assert item.label_class.tolist()[0] == int(store.dense_label(row).argmax())
        assert item.label_probability.sum() + item.label_rest == pytest.approx(1, abs=2e-3)
    labels = store.batch(rows).labels
    assert labels is not None
    assert np.allclose(labels.numpy(), [store.dense_label(row) for row in rows], atol=1e-6)


def test_a_teacher_of_other_identities_is_refused(tiny_run: Run, virtual: Path, tmp_path: Path) -> None:
    content = torch.load(tiny_run.teacher, weights_only=True)
    content["class_names"] = [f"x{name}" for name in content["class_names"]]
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(DgaugError, match="the teacher's identities are others"):
        open_store(virtual, teacher=tmp_path / "other.pt")


@pytest.mark.parametrize("labels", ["top", "dense"])
def test_labels_are_stored_where_they_are_asked_for(
    tiny_run: Run, raw: StoreDataset, tmp_path: Path, labels: str
) -> None:
    store = open_store(write_tiny_virtual(tiny_run, tmp_path / "store", pairs="grid:5x4", labels=labels))
    assert store.has_labels
    for k, (i, j) in enumerate(store.pairs().tolist()):
        assert np.allclose(store.dense_label(k), raw.dense_label(IMAGES * i + j), atol=0.02)
    with h5py.File(store.path / "dataset.h5") as hdf5:
        assert ("label/dense" in hdf5) == (labels == "dense")
    assert verify(store.path).ok


def test_unsure_pairs_are_left_out_on_demand(tiny_run: Run, tmp_path: Path) -> None:
    everything = open_store(write_tiny_virtual(tiny_run, tmp_path / "all", labels="top"))
    top = np.array([item.label_probability[0] for item in everything])
    least = float(np.quantile(top, 0.8))
    kept = open_store(write_tiny_virtual(tiny_run, tmp_path / "sure", labels="top", least=least))
    assert len(kept) == pytest.approx(0.2 * len(everything), abs=6)
    assert all(item.label_probability[0] >= least - 1e-3 for item in kept)
    assert verify(kept.path).ok


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_loader_workers_draw_the_same_images_however_they_start(virtual: Path, start: str) -> None:
    store = open_store(virtual)
    expected = np.stack([item.image for item in store.__getitems__(range(64))])
    subset = torch.utils.data.Subset(store, range(64))
    loader = DataLoader(subset, batch_size=8, num_workers=2, multiprocessing_context=start)
    drawn = torch.cat([batch.image for batch in loader])
    assert np.array_equal(drawn.numpy(), expected)


def test_a_pickled_store_carries_no_codes_and_draws_on(virtual: Path) -> None:
    store = open_store(virtual)
    image = store[40].image
    content = pickle.dumps(store)
    assert len(content) < 20_000
    assert np.array_equal(pickle.loads(content)[40].image, image)


@pytest.mark.parametrize("file", ["codes/000000.h5", "shards/000003.h5"])
def test_a_killed_one_resumes_to_the_same_bytes(tiny_run: Run, tmp_path: Path, file: str) -> None:
    store = tmp_path / "killed"
    command = ("synthesize", "--run", tiny_run.folder, "--codec", "codes", "--teacher", "none", "--shard-size", "32")
    assert signal_at(store / file, signal.SIGKILL, *command, "--out", store).code == -signal.SIGKILL
    state = read_state(store)
    assert state is not None
    assert not state.complete
    with pytest.raises(DgaugError, match="unfinished"):
        open_store(store)
    kept = {path: path.stat().st_mtime_ns for path in (store / "codes").glob("*.h5")}
    write_tiny_virtual(tiny_run, store, shard_size=32)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(kept) == 1
    assert files_of(store) == files_of(write_tiny_virtual(tiny_run, tmp_path / "undisturbed", shard_size=32))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["codes/000000.h5", "generator.safetensors", "shards/000001.h5"])
@pytest.mark.parametrize("spoil", [Path.unlink, cut])
def test_a_missing_or_cut_file_is_refused_found_and_mended(
    tiny_run: Run, own_virtual: Path, file: str, spoil: Callable[[Path], None]
) -> None:
    before = files_of(own_virtual)
    spoil(own_virtual / file)
    with pytest.raises(DgaugError, match=rf"the file .*{file} of \d+ bytes, found"):
        open_store(own_virtual)
    assert [finding.where for finding in verify(own_virtual).findings] == [file]
    write_tiny_virtual(tiny_run, own_virtual)
    assert files_of(own_virtual) == before


@pytest.mark.parametrize("file", ["codes/000000.h5", "generator.safetensors", "shards/000001.h5", "dataset.h5"])
def test_a_flipped_bit_is_found(own_virtual: Path, file: str) -> None:
    assert verify(own_virtual).ok
    flip(own_virtual / file)
    assert [finding.where for finding in verify(own_virtual).findings] == [file]


def test_a_damaged_code_is_an_error_for_its_images_and_no_other(own_virtual: Path) -> None:
    with h5py.File(own_virtual / "codes/000000.h5", "r+") as codes:
        codes["code/structure"][5, 3, 2, 1] += 1
    store = open_store(own_virtual)
    assert store[6].structure == 6
    with pytest.raises(DgaugError, match=r"codes of source 5 .*crc32"):
        store[5]


def test_a_decoder_that_does_not_fit_is_refused(own_virtual: Path) -> None:
    path = own_virtual / "generator.safetensors"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(DgaugError, match=r"generator\.safetensors: not as it was written"):
        open_store(own_virtual)
    with pytest.raises(DgaugError, match=r"the decoder of the store in .*generator\.safetensors"):
        read_decoder(path, torch.device("cpu"))


def test_damage_under_right_hashes_is_found(own_virtual: Path) -> None:
    from dgaug.store.assemble import finish_store

    with h5py.File(own_virtual / "codes/000000.h5", "r+") as codes:
        codes["code/adain"][7, 0, 0, 0, 0] = np.nan
    state = read_state(own_virtual)
    assert state is not None
    (own_virtual / "dataset.h5").unlink()
    from dgaug.store.index import begin_store

    begin_store(own_virtual, state.spec, state.sources)
    finish_store(own_virtual)
    assert [finding.what for finding in verify(own_virtual).findings] == ["damaged code/adain at or after row 0"]


def test_a_code_outside_the_store_is_refused(own_virtual: Path) -> None:
    with forged(own_virtual) as hdf5:
        hdf5["file/path"][0] = "codes/../../secret.h5"
    with pytest.raises(DgaugError, match="refused"):
        open_store(own_virtual)


def test_the_command_writes_it_and_resumes(tiny_run: Run, raw: StoreDataset, tmp_path: Path, dgaug: RunCommand) -> None:
    command = ("synthesize", "--run", tiny_run.folder, "--codec", "codes", "--teacher", "none", "--out", tmp_path)
    assert dgaug(*command).code == 0
    store = open_store(tmp_path)
    for k in (0, 77, 575):
        assert np.abs(store[k].image.astype(int) - raw[k].image).max() <= 1
    assert dgaug("verify", tmp_path).code == 0
    before = files_of(tmp_path)
    (tmp_path / "shards/000000.h5").unlink()
    assert dgaug("verify", tmp_path).code == 1
    assert dgaug(*command).code == 0
    assert files_of(tmp_path) == before
    assert "already complete" in dgaug(*command).err
