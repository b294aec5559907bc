"""How an export resumes, is complete, is refused or starts over, and what stops it."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_store import content_of, files_of, stored_jpegs, write_store

import dgaug
from dgaug.errors import DgaugError, Interrupted
from dgaug.store import export_rows
from dgaug.store.export import export_store
from dgaug.store.export_folder import ABOUT, IMAGES
from dgaug.store.read import open_store

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 49 pairs of 7 sources, three shards, JPEG; a third of the cameras unknown."""
    return write_store(tmp_path_factory.mktemp("export") / "store")


@pytest.mark.parametrize("to", ["folders", "webdataset", "csv"])
def test_an_export_is_a_function_of_the_store_and_says_when_it_is_there(store: Path, tmp_path: Path, to: str) -> None:
    first = export_store(store, to=to, out=tmp_path / "first", shard_size=20)
    export_store(store, to=to, out=tmp_path / "second", shard_size=20)
    before = content_of(tmp_path / "first")
    assert before == content_of(tmp_path / "second")
    again = export_store(store, to=to, out=tmp_path / "first", shard_size=20)
    assert (first.already_complete, again.already_complete) == (False, True)
    assert content_of(tmp_path / "first") == before


def stopped_after(batches: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A listener that interrupts, and small batches to be interrupted between."""
    monkeypatch.setattr(export_rows, "BATCH", 4)
    calls: list[int] = []

    def progress(title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        calls.append(done)
        if len(calls) > batches:
            raise Interrupted(2)

    return progress


@pytest.mark.parametrize("to", ["folders", "webdataset", "csv"])
def test_a_stopped_export_does_not_look_whole_and_resumes(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    export_store(store, to=to, out=tmp_path / "undisturbed", shard_size=20)
    with pytest.raises(Interrupted):
        export_store(store, to=to, out=tmp_path / "out", shard_size=20, progress=stopped_after(7, monkeypatch))
    left = content_of(tmp_path / "out")
    assert not json.loads(left[ABOUT])["complete"]
    assert "labels.csv" not in left
    assert not (tmp_path / "out" / IMAGES).exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.suffix in (".jpg", ".tar")}
    assert len(kept) == {"folders": 32, "webdataset": 1, "csv": 0}[to]
    if to == "folders":
        cut = next(iter(kept))
        cut.write_bytes(cut.read_bytes()[:-3])
    made = export_store(store, to=to, out=tmp_path / "out", shard_size=20)
    assert not made.already_complete
    assert content_of(tmp_path / "out") == content_of(tmp_path / "undisturbed")
    if to == "webdataset":
        assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_an_export_that_lost_a_file_is_made_whole_again(store: Path, tmp_path: Path) -> None:
    export_store(store, to="webdataset", out=tmp_path / "out", shard_size=20)
    before = content_of(tmp_path / "out")
    (tmp_path / "out" / "000001.tar").unlink()
    assert not export_store(store, to="webdataset", out=tmp_path / "out", shard_size=20).already_complete
    assert content_of(tmp_path / "out") == before


def test_a_folder_in_use_is_refused_and_left_alone(store: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"years of work")
    for force in (False, True):
        with pytest.raises(DgaugError, match=r"not an export folder: it holds holiday\.jpg,"):
            export_store(store, out=tmp_path / "photos", force=force)
    assert files_of(tmp_path / "photos") == {"holiday.jpg": b"years of work"}


def test_other_settings_are_refused_and_force_starts_over(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_store(store, out=out)
    with pytest.raises(DgaugError, match=r"other settings \(identity: appearance -> structure\); choose another --out"):
        export_store(store, out=out, identity="structure")
    export_store(store, to="webdataset", out=out, force=True, shard_size=20)
    assert sorted(content_of(out)) == ["000000.tar", "000001.tar", "000002.tar", ABOUT]
    export_store(store, to="csv", out=out, force=True)
    assert sorted(content_of(out)) == [ABOUT, "labels.csv"]


def test_force_removes_only_what_an_export_wrote(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_store(store, out=out)
    own = out / IMAGES / "0002_c1s1_000451_03.jpg"
    own.write_bytes(b"a real image")
    with pytest.raises(DgaugError, match=f"also holds '{IMAGES}' or files in it"):
        export_store(store, to="csv", out=out, force=True)
    assert [path.name for path in (out / IMAGES).iterdir()] == [own.name]
    own.unlink()
    export_store(store, to="csv", out=out, force=True)
    assert sorted(content_of(out)) == [ABOUT, "labels.csv"]


def test_another_programs_export_json_is_not_ours(store: Path, tmp_path: Path) -> None:
    (tmp_path / ABOUT).write_text('{"to": "csv"}', encoding="utf-8")
    (tmp_path / "labels.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(DgaugError, match="of a dgaug export, found another file"):
        export_store(store, out=tmp_path, force=True)
    assert (tmp_path / "labels.csv").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("to", ["folders", "webdataset"])
def test_a_damaged_image_stops_the_export(tmp_path: Path, to: str) -> None:
    store = write_store(tmp_path / "store")
    shard = store / "shards" / "000001.h5"
    jpeg = stored_jpegs(store)[25]
    content = bytearray(shard.read_bytes())
    content[content.find(jpeg) + len(jpeg) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DgaugError, match=r"image 5 of .*000001\.h5 .*crc32"):
        export_store(store, to=to, out=tmp_path / "out", shard_size=20)
    assert not (tmp_path / "out" / IMAGES).exists()
    assert len(list((tmp_path / "out").glob("*.tar"))) <= 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"to": "lmdb"}, "folders, webdataset, csv"),
        ({"labels": "hard"}, "unknown label policy 'hard'"),
        ({"identity": "both"}, "appearance, structure, new"),
        ({"to": "csv", "identity": "new"}, "make file names of --to folders"),
        ({"limit": 0}, "of 1 or more"),
    ],
)
def test_wrong_use_makes_nothing(store: Path, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(DgaugError, match=said):
        export_store(store, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_an_oserror_that_names_the_file(tmp_path: Path) -> None:
    script = """
import pathlib, resource, signal
from small_store import write_store
from dgaug.store.export import export_store
store = write_store(pathlib.Path("store"))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for to, most in (("webdataset", 20_000), ("csv", 1_000), ("folders", 1_000)):
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    try:
        export_store(store, to=to, out=to)
    except OSError as problem:
        print(problem.errno, problem.filename, sorted(path.name for path in pathlib.Path(to).iterdir()))
"""
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    output = shown.stdout.splitlines()
    assert output[0] == "27 webdataset/000000.tar ['.lock', 'export.json']"
    assert output[1] == "27 csv/labels.csv ['.lock', 'export.json']"
    assert output[2] == "27 folders/labels.csv ['.lock', 'bounding_box_train.part', 'export.json']"


def test_rows_are_read_a_few_at_a_time_from_one_shard_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_rows, "BATCH", 8)
    store = open_store(write_store(tmp_path / "store"))
    sizes = [len(batch) for batch in export_rows.row_batches(store, "soft", rows=range(3, 47), images=True)]
    assert sizes == [8, 8, 1, 8, 8, 4, 7]
    chosen = np.array([4, 30, 31, 46])
    whole = next(export_rows.row_batches(store, "soft", rows=range(49), images=True))
    some = list(export_rows.row_batches(store, "soft", rows=chosen, images=True))
    assert [batch.number.tolist() for batch in some] == [[4], [30, 31], [46]]
    assert (some[0].stored, some[0].labels.rest.tolist()) == (whole.stored[4:5], whole.labels.rest[4:5].tolist())


def test_the_package_offers_it() -> None:
    assert inspect.unwrap(dgaug.export_store) is inspect.unwrap(export_store)
