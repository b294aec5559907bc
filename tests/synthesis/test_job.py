"""`synthesize`: the store it leaves, whatever happened on the way."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import PIL.Image
import pytest
from synthesis_runs import files_of
from tiny_run import IMAGES, RunCommand, finish_process, signal_at, start_process

from dgaug.data.prepare import read_data
from dgaug.errors import DgaugError, Interrupted
from dgaug.models.checkpoints import load_generator
from dgaug.runs import Run
from dgaug.store.codes import open_codes
from dgaug.store.micro_batch import ON_CPU
from dgaug.store.read import open_store
from dgaug.store.verify import verify
from dgaug.synthesis.decoding import PairDecoder
from dgaug.synthesis.encoding import make_codes
from dgaug.synthesis.job import synthesize


def test_all_is_every_appearance_on_every_structure(tiny_run: Run) -> None:
    store = open_store(tiny_run.store)
    assert len(store) == IMAGES**2
    assert store.pairs().tolist() == [[i, j] for i in range(IMAGES) for j in range(IMAGES)]
    assert store.sources.path == sorted(store.sources.path)
    assert all((tiny_run.data_root() / path).is_file() for path in store.sources.path)
    assert verify(tiny_run.store).ok


def test_five_lines_of_h5py_read_it(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_run.folder)
    k = 5 * IMAGES + 3
    store = h5py.File("store/dataset.h5")
    start, stop = store["image/offset"][k : k + 2]
    image = PIL.Image.open(io.BytesIO(store["image/bytes"][start:stop].tobytes()))
    i, j = store["pair/appearance"][k], store["pair/structure"][k]
    assert (i, j) == (5, 3)
    assert image.size == (32, 64)
    assert np.array_equal(np.asarray(image), open_store("store")[k].image)
    assert store["source/path"].asstr()[i].startswith("bounding_box_train/0002_")
    store.close()


def test_labels_are_a_whole_probability_each(tiny_run: Run) -> None:
    with h5py.File(tiny_run.store / "dataset.h5") as store:
        probability = store["label/probability"][:].astype(np.float64)
        total = probability.sum(axis=1) + store["label/rest"][:]
        assert store["label/class"].dtype == np.uint16
        assert probability.shape == (IMAGES**2, 6)
        assert (np.diff(probability, axis=1) <= 0).all()
    assert np.abs(total - 1).max() < 2e-3


def test_a_store_says_what_made_it_and_nothing_about_when_and_where(tiny_run: Run) -> None:
    with h5py.File(tiny_run.store / "dataset.h5") as store:
        attributes = dict(store.attrs)
    assert attributes["complete"]
    assert attributes["count"] == IMAGES**2
    assert attributes["pairs"] == "all"
    assert attributes["codec"] == "jpeg"
    assert attributes["generator_sha256"] == load_generator(tiny_run.checkpoint).sha256
    assert attributes["image_size"].tolist() == [64, 32]
    for content in files_of(tiny_run.store).values():
        assert str(tiny_run.folder).encode() not in content
    assert not (tiny_run.store / "codes").exists()


@pytest.mark.parametrize(("codec", "tolerance"), [("png", 0), ("raw", 0), ("jpeg", 6)])
def test_images_are_those_that_the_networks_draw(tiny_run: Run, tmp_path: Path, codec: str, tolerance: float) -> None:
    store = tmp_path / "store"
    synthesize(tiny_run.folder, pairs="random:40", codec=codec, teacher="none", out=store)
    assert not (store / "codes").exists()
    expected = drawn_directly(tiny_run, tmp_path, open_store(store).pairs())
    result = np.stack([item.image for item in open_store(store)])
    assert np.abs(result.astype(int) - expected).mean() <= tolerance


def drawn_directly(run: Run, folder: Path, pairs: np.ndarray) -> np.ndarray:
    model = load_generator(run.checkpoint)
    data = read_data(run.data_root(), model.settings.data)
    paths = [data.image_path(record) for record in data.splits["train"]]
    make_codes(folder / "000000.h5", np.arange(len(paths)), paths, model, micro_batch=ON_CPU)
    codes = open_codes([folder / "000000.h5"])
    decoder = PairDecoder(codes, model.generator.decoder, None, ON_CPU)
    rows = pairs.astype(np.int32)
    # Backwards and in other batches than the job's: an image depends on its pair alone.
    drawn = [decoder.generate(rows[k : k + 1, 0], rows[k : k + 1, 1])[0] for k in reversed(range(len(rows)))]
    return np.concatenate(drawn[::-1])


def test_a_killed_synthesis_resumes_to_the_same_bytes(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    command = ("synthesize", "--run", tiny_run.folder, "--shard-size", "32", "--out")
    assert dgaug(*command, tmp_path / "undisturbed").code == 0
    store = tmp_path / "killed"
    assert signal_at(store / "shards" / "000002.h5", signal.SIGKILL, *command, store).code == -signal.SIGKILL
    with pytest.raises(DgaugError, match="unfinished"):
        open_store(store)
    kept = {path.name: path.stat().st_mtime_ns for path in (store / "shards").glob("00000[012].h5")}
    assert dgaug(*command, store).code == 0
    assert {name: (store / "shards" / name).stat().st_mtime_ns for name in kept} == kept
    assert files_of(store) == files_of(tmp_path / "undisturbed")


def test_a_bf16_store_says_so_and_its_codes_are_read_in_bf16(tiny_run: Run, tmp_path: Path) -> None:
    for codec in ("raw", "codes"):
        synthesize(
            tiny_run.folder, pairs="grid:4x4", codec=codec, precision="bf16", teacher="none", out=tmp_path / codec
        )
    synthesize(tiny_run.folder, pairs="grid:4x4", codec="raw", teacher="none", out=tmp_path / "fp32")
    raw, drawn, exact = (
        np.stack([item.image for item in open_store(tmp_path / name)]).astype(int) for name in ("raw", "codes", "fp32")
    )
    assert open_store(tmp_path / "raw").spec.precision == "bf16"
    assert np.abs(raw - drawn).max() <= 1
    assert 0 < np.abs(raw - exact).mean() < 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_whole_shards_and_its_exit_code(
    tiny_run: Run, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    store = tmp_path / "store"
    command = ("synthesize", "--run", tiny_run.folder, "--shard-size", "32", "--out", store)
    ended = signal_at(store / "shards" / "000001.h5", number, *command)
    assert ended.code == code
    assert "Traceback" not in ended.err
    assert "run the same command again" in ended.err
    assert 2 <= len(list((store / "shards").glob("*.h5"))) < 18


def test_an_interrupted_synthesis_resumes_to_the_same_bytes(tiny_run: Run, tmp_path: Path) -> None:
    def ctrl_c(title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        if title == "synthesis" and done >= 128:
            os.kill(os.getpid(), signal.SIGINT)

    store = tmp_path / "store"
    with pytest.raises(Interrupted):
        synthesize(tiny_run.folder, shard_size=96, out=store, progress=ctrl_c)
    synthesize(tiny_run.folder, shard_size=96, out=store)
    assert files_of(store) == files_of(tiny_run.store)


def test_a_complete_store_is_left_alone_and_says_so(tiny_run: Run, dgaug: RunCommand) -> None:
    before = files_of(tiny_run.store)
    ended = dgaug("synthesize", "--run", tiny_run.folder, "--shard-size", "96")
    assert ended.code == 0
    assert "already complete: 576 images" in ended.err
    assert files_of(tiny_run.store) == before


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"pairs": "random:7"}, "pairs: all -> random:7"),
        ({"codec": "png"}, "codec: jpeg -> png"),
        ({"seed": 3}, "seed: 0 -> 3"),
        ({"precision": "bf16"}, "precision: fp32 -> bf16"),
        ({"teacher": "none"}, "labels: top -> none"),
    ],
)
def test_other_settings_are_refused_by_name(tiny_run: Run, changed: dict[str, str], named: str) -> None:
    before = files_of(tiny_run.store)
    with pytest.raises(DgaugError, match=named):
        synthesize(tiny_run.folder, **{"shard_size": 96} | changed)
    assert files_of(tiny_run.store) == before


def test_a_store_of_another_checkpoint_is_left_alone(tiny_run: Run, tmp_path: Path) -> None:
    store, run = tmp_path / "store", tmp_path / "run"
    synthesize(tiny_run.folder, pairs="random:5", out=store)
    before = files_of(store)
    shutil.copytree(tiny_run.folder, run, ignore=shutil.ignore_patterns("store"))
    shutil.copyfile(min((run / "checkpoints").glob("0*.pt")), run / "checkpoints" / "last.pt")
    for add in (False, True):
        with pytest.raises(DgaugError, match=r"generator_sha256: .* -> "):
            synthesize(run, pairs="random:9", add=add, out=store)
    assert files_of(store) == before


def test_a_second_writer_is_refused_while_the_first_resumes(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    refused = []

    def another(title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        if title == "synthesis" and not refused:
            process = start_process("synthesize", "--run", tiny_run.folder, "--shard-size", "96", "--out", tmp_path)
            refused.append(finish_process(process))

    synthesize(tiny_run.folder, shard_size=96, out=tmp_path, progress=another)
    assert "another process" in refused[0].error()
    assert files_of(tmp_path) == files_of(tiny_run.store)


def test_a_source_that_cannot_be_read_is_named(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny_run.data_root(), data)
    image = sorted((data / "bounding_box_train").iterdir())[7]
    image.write_bytes(image.read_bytes()[:200])
    arguments = ("--run", tiny_run.folder, "--data", data, "--out", tmp_path / "store", "--pairs", "random:9")
    assert image.name in dgaug("synthesize", *arguments).error()
    assert not (tmp_path / "store").exists()


def test_force_starts_a_store_over_and_nothing_else(tiny_run: Run, tmp_path: Path) -> None:
    store = tmp_path / "store"
    for pairs in ("random:5", "random:6"):
        synthesize(tiny_run.folder, pairs=pairs, out=store, force=True)
    assert len(open_store(store)) == 6
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years", encoding="utf-8")
    with pytest.raises(DgaugError, match="which is no part of a store"):
        synthesize(tiny_run.folder, pairs="random:5", out=tmp_path / "thesis", force=True)
    assert (tmp_path / "thesis" / "chapter.tex").exists()


def test_a_dry_run_estimates_and_writes_nothing(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    command = ("synthesize", "--run", tiny_run.folder, "--dry-run", "--out", tmp_path / "store", "--pairs")
    ended = dgaug(*command, "cross-identity", "--json")
    plan = json.loads(ended.out)
    assert plan["pairs"] == IMAGES * (IMAGES - 4)
    assert plan["bytes_estimated"] > 1000
    assert plan["seconds_estimated"] > 0
    assert plan["count"] == 0
    assert list(tmp_path.iterdir()) == []
    assert "480" in dgaug(*command, "cross-identity").out


def test_the_size_estimate_is_of_the_right_order(tiny_run: Run) -> None:
    plan = synthesize(tiny_run.folder, dry_run=True).plan
    size = sum(len(content) for content in files_of(tiny_run.store).values())
    assert 0.6 < plan.bytes / size < 1.6


def test_without_a_teacher_there_is_no_label_group(tiny_run: Run, tmp_path: Path) -> None:
    synthesize(tiny_run.folder, pairs="random:5", teacher="none", out=tmp_path)
    with h5py.File(tmp_path / "dataset.h5") as store:
        assert "label" not in store
        assert store.attrs["teacher_sha256"] == ""
        assert store["pair/appearance"].shape == (5,)


def test_dense_labels_hold_every_class(tiny_run: Run, tmp_path: Path) -> None:
    synthesize(tiny_run.folder, pairs="random:5", labels_dense=True, out=tmp_path)
    with h5py.File(tmp_path / "dataset.h5") as store:
        assert store["label/dense"].shape == (5, 6)
        assert np.abs(store["label/dense"][:].astype(float).sum(axis=1) - 1).max() < 2e-3


def test_pairs_come_from_a_csv_by_path_or_by_row(tiny_run: Run, tmp_path: Path) -> None:
    paths = open_store(tiny_run.store).sources.path
    file = tmp_path / "pairs.csv"
    file.write_text(f"appearance,structure\n{paths[3]},{paths[0]}\n7,2\n0,23\n", encoding="utf-8")
    synthesize(tiny_run.folder, pairs=f"csv:{file}", out=tmp_path / "store")
    assert open_store(tmp_path / "store").pairs().tolist() == [[3, 0], [7, 2], [0, 23]]


def test_only_images_that_the_teacher_is_sure_of_are_kept(tiny_run: Run, tmp_path: Path) -> None:
    everything = open_store(tiny_run.store)
    with h5py.File(tiny_run.store / "dataset.h5") as store:
        top = store["label/probability"][:, 0].astype(float)
    least = float(np.quantile(top, 0.9))
    made = synthesize(tiny_run.folder, min_confidence=least, shard_size=96, out=tmp_path)
    kept = open_store(tmp_path)
    assert made.count == len(kept)
    assert made.count == pytest.approx((top >= least).sum(), abs=5)  # stored probabilities are rounded
    assert verify(tmp_path).ok
    confident = {tuple(pair) for pair in everything.pairs()[top > least + 1e-3].tolist()}
    assert confident <= {tuple(pair) for pair in kept.pairs().tolist()}


def test_confidence_without_a_teacher_makes_no_sense(tiny_run: Run, tmp_path: Path) -> None:
    with pytest.raises(DgaugError, match="--min-confidence needs a teacher"):
        synthesize(tiny_run.folder, teacher="none", min_confidence=0.5, out=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_checkpoint_and_a_data_set_do_without_a_run(tiny_run: Run, tmp_path: Path) -> None:
    parts = {"checkpoint": tiny_run.checkpoint, "data": tiny_run.data_root(), "teacher": tiny_run.teacher}
    synthesize(**parts, shard_size=96, out=tmp_path)
    assert files_of(tmp_path) == files_of(tiny_run.store)
    with pytest.raises(DgaugError, match="--checkpoint needs --data"):
        synthesize(checkpoint=tiny_run.checkpoint, out=tmp_path)
    with pytest.raises(DgaugError, match="--checkpoint needs --out"):
        synthesize(checkpoint=tiny_run.checkpoint, data=tiny_run.data_root())


def test_a_moved_run_makes_the_same_store(tiny_run: Run, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(tiny_run.folder, moved, ignore=shutil.ignore_patterns("store", "reid", "scores"))
    synthesize(moved, shard_size=96)
    assert files_of(moved / "store") == files_of(tiny_run.store)


def test_a_missing_shard_is_made_again(tiny_run: Run, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(tiny_run.store, store)
    (store / "shards" / "000002.h5").unlink()
    made = synthesize(tiny_run.folder, shard_size=96, out=store)
    assert not made.already_complete
    assert files_of(store) == files_of(tiny_run.store)


def test_a_store_resumes_with_the_micro_batch_of_the_gpu_that_began_it(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {"pairs": "random:20", "shard_size": 10, "codec": "png"}
    with monkeypatch.context() as gpu:
        gpu.setattr("dgaug.synthesis.job.default_micro_batch", lambda *_: 256)
        synthesize(tiny_run.folder, **job, out=tmp_path / "begun")
    before = files_of(tmp_path / "begun")
    (tmp_path / "begun" / "shards" / "000001.h5").unlink()
    synthesize(tiny_run.folder, **job, out=tmp_path / "begun")
    assert files_of(tmp_path / "begun") == before
    synthesize(tiny_run.folder, **job, out=tmp_path / "here")
    begun, here = open_store(tmp_path / "begun"), open_store(tmp_path / "here")
    assert (begun.spec.micro_batch, here.spec.micro_batch) == (256, 8)
    # A CPU has no memory for 256 at a time: it took 8.
    assert all(np.array_equal(one.image, other.image) for one, other in zip(begun, here, strict=True))
