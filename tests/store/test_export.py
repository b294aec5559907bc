"""Stores in forms that other programs read, and read back from them."""

from __future__ import annotations

import csv
import inspect
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from small_store import files_of, image_of, write_store

import dgaug
from dgaug.data.check import check_data
from dgaug.data.layouts import open_data
from dgaug.data.records import Record, Role
from dgaug.errors import DgaugError, Interrupted
from dgaug.store import export_rows
from dgaug.store.export import Export, export_store
from dgaug.store.export_folder import ABOUT, IMAGES
from dgaug.store.export_formats import market_names
from dgaug.store.read import open_store
from dgaug.store.sources import Sources

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 49 pairs of 7 sources, three shards, JPEG; a third of the cameras unknown."""
    return write_store(tmp_path_factory.mktemp("export") / "store")


def stored_jpegs(store: Path) -> list[bytes]:
    """The JPEG files as any reader of HDF5 finds them."""
    with h5py.File(store / "dataset.h5") as hdf5:
        offset, data = hdf5["image/offset"][:].tolist(), hdf5["image/bytes"][:].tobytes()
    return [data[start:stop] for start, stop in pairwise(offset)]


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def content_of(out: Path) -> dict[str, bytes]:
    """Every file but the lock."""
    return {name: data for name, data in files_of(out).items() if name != ".lock"}


def sources_named(*identities: str, camera: int = 1) -> Sources:
    return Sources.of(Record(f"{row:03d}.jpg", identity, camera) for row, identity in enumerate(identities))


def test_folders_are_read_back_with_the_same_identities_cameras_and_bytes(store: Path, tmp_path: Path) -> None:
    made = export_store(store, to="folders", out=tmp_path / "out")
    assert made == Export(tmp_path / "out", "folders", 49, "soft", False, made.notes)
    data = open_data(tmp_path / "out")
    opened, jpegs = open_store(store), stored_jpegs(store)
    assert data.layout == "market1501"
    assert len(data.splits["train"]) == 49
    for record in data.splits["train"]:
        k = int(record.path.split("_")[-2])
        item = opened[k]
        assert record.identity == opened.sources.identity_name[item.appearance]
        assert record.camera == opened.sources.camera[item.structure]
        assert record.role is Role.IDENTITY
        assert data.image_path(record).read_bytes() == jpegs[k]
    report = check_data(data)
    counts = report.splits["train"]
    assert (counts.images, counts.identities, counts.cameras, counts.damaged) == (49, 3, 2, 0)
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == [
        ".lock",
        IMAGES,
        ABOUT,
        "identities.csv",
        "labels.csv",
    ]


def test_the_table_names_both_donors_and_the_stored_label(store: Path, tmp_path: Path) -> None:
    export_store(store, to="folders", out=tmp_path / "out")
    opened = open_store(store)
    table = table_of(tmp_path / "out" / "labels.csv")
    assert len(table) == 49
    for k, line in enumerate(table):
        item = opened[k]
        assert (tmp_path / "out" / line["file"]).is_file()
        assert line["appearance"] == opened.sources.path[item.appearance]
        assert line["structure"] == opened.sources.path[item.structure]
        assert line["appearance_identity"] == opened.sources.identity_name[item.appearance]
        assert line["structure_identity"] == opened.sources.identity_name[item.structure]
        camera = int(opened.sources.camera[item.structure])
        assert line["camera"] == ("" if camera == -1 else str(camera))
        names = [line[f"label_{rank}"] for rank in (1, 2, 3)]
        assert names == [opened.sources.class_name[number] for number in item.label_class]
        shares = np.array([line[f"probability_{rank}"] for rank in (1, 2, 3)], np.float16)
        assert np.array_equal(shares, item.label_probability.astype(np.float16))
        assert float(line["rest"]) == item.label_rest


def test_an_unknown_camera_is_left_out_of_the_name_and_told(store: Path, tmp_path: Path) -> None:
    made = export_store(store, out=tmp_path / "out")
    assert any("3 of 7 source images have an unknown camera" in text for text in made.notes)
    assert any("--unknown-camera" in text for text in made.notes)
    numbered = export_store(store, out=tmp_path / "numbered", unknown_camera=9)
    assert any("c9, which is no camera" in text for text in numbered.notes)
    cameras = [record.camera for record in open_data(tmp_path / "numbered").splits["train"]]
    assert sorted(set(cameras)) == [1, 2, 9]
    with pytest.raises(DgaugError, match="camera 2 is a real one"):
        export_store(store, out=tmp_path / "other", unknown_camera=2)
    assert not (tmp_path / "other").exists()


def test_the_identity_of_a_name_is_that_of_the_donor_asked_for(store: Path, tmp_path: Path) -> None:
    opened = open_store(store)
    export_store(store, out=tmp_path / "structure", identity="structure")
    for record in open_data(tmp_path / "structure").splits["train"]:
        item = opened[int(record.path.split("_")[-2])]
        assert record.identity == opened.sources.identity_name[item.structure]
    made = export_store(store, out=tmp_path / "new", identity="new")
    identities = {record.identity for record in open_data(tmp_path / "new").splits["train"]}
    assert identities == {"0003"}
    assert not identities & set(opened.sources.class_name)
    assert any("0003" in text for text in made.notes)


@pytest.mark.parametrize(
    ("identities", "numbers", "renumbered"),
    [
        (("0002", "0007"), ["0002", "0007"], False),
        (("2", "10"), ["0010", "0002"], False),
        (("12345", "7"), ["12345", "0007"], False),
        (("anna", "ben_c3"), ["0001", "0002"], True),
        (("2", "002"), ["0001", "0002"], True),
        (("-1", "0001"), ["0001", "0002"], True),
        (("٣", "0001"), ["0001", "0002"], True),
        (("9" * 12, "1"), ["0001", "0002"], True),
    ],
)
def test_identities_become_different_numbers_whatever_they_are_called(
    identities: tuple[str, ...], numbers: list[str], renumbered: bool
) -> None:
    names = market_names(sources_named(*identities), identity="appearance", unknown_camera=None)
    assert names.numbers == numbers
    assert names.renumbered == renumbered


def test_names_of_people_are_counted_and_listed(tmp_path: Path) -> None:
    people = sources_named("anna", "ben", "anna", camera=12)
    store = write_store(tmp_path / "store", sources=people, planned=9, shard_size=9)
    made = export_store(store, out=tmp_path / "out")
    assert any("identities.csv" in text for text in made.notes)
    listed = table_of(tmp_path / "out" / "identities.csv")
    assert listed == [{"identity": "0001", "name": "anna"}, {"identity": "0002", "name": "ben"}]
    records = open_data(tmp_path / "out").splits["train"]
    assert {(record.identity, record.camera) for record in records} == {("0001", 12), ("0002", 12)}


@pytest.mark.parametrize("codec", ["raw", "png"])
def test_what_is_not_stored_as_jpeg_is_encoded(codec: str, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", codec=codec, quality=0)
    export_store(store, out=tmp_path / "out", limit=30)
    records = open_data(tmp_path / "out").splits["train"]
    assert len(records) == 30
    for record in records:
        with Image.open(tmp_path / "out" / record.path) as image:
            assert image.format == "JPEG"
            difference = np.asarray(image).astype(int) - image_of(int(record.path.split("_")[-2]))
        assert np.abs(difference).mean() < 3


def members_of(path: Path) -> Mapping[str, bytes]:
    with tarfile.open(path) as tar:
        result = {}
        for entry in tar:
            stream = tar.extractfile(entry)
            assert stream is not None
            assert (entry.mtime, entry.uid, entry.gid, entry.uname, entry.mode) == (0, 0, 0, "", 0o644)
            result[entry.name] = stream.read()
    return result


def test_tar_files_hold_the_stored_images_and_what_is_known_of_them(store: Path, tmp_path: Path) -> None:
    export_store(store, to="webdataset", out=tmp_path / "out", shard_size=15)
    tars = sorted((tmp_path / "out").glob("*.tar"))
    assert [path.name for path in tars] == [f"{number:06d}.tar" for number in range(4)]
    members = {name: data for path in tars for name, data in members_of(path).items()}
    assert len(members) == 98
    opened = open_store(store)
    for k, jpeg in enumerate(stored_jpegs(store)):
        assert members[f"{k:09d}.jpg"] == jpeg
        described: dict[str, Any] = json.loads(members[f"{k:09d}.json"])
        item = opened[k]
        for donor, row in (("appearance", item.appearance), ("structure", item.structure)):
            assert described[donor]["path"] == opened.sources.path[row]
            assert described[donor]["identity"] == opened.sources.identity_name[row]
            assert described[donor]["class"] == opened.sources.identity[row]
            assert described[donor]["camera"] == (None if row % 3 == 0 else row % 3)
        assert described["label"]["class"] == item.label_class.tolist()
        assert np.array_equal(np.array(described["label"]["probability"], np.float16), item.label_probability)
        assert described["label"]["policy"] == "soft"


@pytest.mark.parametrize("to", ["folders", "webdataset", "csv"])
def test_an_export_is_a_function_of_the_store_and_says_when_it_is_there(store: Path, tmp_path: Path, to: str) -> None:
    first = export_store(store, to=to, out=tmp_path / "first", shard_size=20)
    export_store(store, to=to, out=tmp_path / "second", shard_size=20)
    before = content_of(tmp_path / "first")
    assert before == content_of(tmp_path / "second")
    again = export_store(store, to=to, out=tmp_path / "first", shard_size=20)
    assert (first.already_complete, again.already_complete) == (False, True)
    assert content_of(tmp_path / "first") == before


def test_a_table_alone_has_every_pair_and_no_image(store: Path, tmp_path: Path) -> None:
    made = export_store(store, to="csv", out=tmp_path / "out")
    table = table_of(tmp_path / "out" / "labels.csv")
    assert [int(line["picture"]) for line in table] == list(range(49))
    assert made.images == 49
    assert sorted(content_of(tmp_path / "out")) == [ABOUT, "labels.csv"]


def test_labels_follow_their_policy(store: Path, tmp_path: Path) -> None:
    tables = {}
    for policy in ("appearance", "pseudo", "two-soft", "lsro", "extra-class"):
        export_store(store, to="csv", out=tmp_path / policy, labels=policy)
        tables[policy] = table_of(tmp_path / policy / "labels.csv")
    opened = open_store(store)
    for k in range(49):
        item, names = opened[k], opened.sources.class_name
        line = tables["appearance"][k]
        assert (line["label_1"], float(line["probability_1"])) == (line["appearance_identity"], 1)
        assert "label_2" not in line
        assert tables["pseudo"][k]["label_1"] == names[item.label_class[0]]
        line, dense = tables["two-soft"][k], opened.dense_label(k)
        donors = {item.appearance_identity, item.structure_identity}
        expected = {names[donor]: dense[donor] / sum(dense[other] for other in donors) for donor in donors}
        result = {line[f"label_{rank}"]: float(line[f"probability_{rank}"]) for rank in (1, 2)}
        for name, share in expected.items():
            assert result[name] == pytest.approx(share, abs=1e-3)
        assert {tables["lsro"][k][f"probability_{rank}"] for rank in (1, 2, 3)} == {"0.3333"}
        assert (tables["extra-class"][k]["label_1"], tables["extra-class"][k]["probability_1"]) == ("generated", "1.0")


def test_dense_labels_are_written_as_their_top(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", labels="dense")
    export_store(store, to="csv", out=tmp_path / "out")
    opened = open_store(store)
    for k, line in enumerate(table_of(tmp_path / "out" / "labels.csv")):
        assert line["label_1"] == opened.sources.class_name[opened[k].label_class[0]]


def test_a_store_without_labels_gives_the_donors_identity(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", labels="none")
    made = export_store(store, to="csv", out=tmp_path / "out")
    assert made.labels == "appearance"
    assert all(line["label_1"] == line["appearance_identity"] for line in table_of(tmp_path / "out" / "labels.csv"))
    with pytest.raises(DgaugError, match="the labels 'soft' need a teacher's"):
        export_store(store, to="csv", out=tmp_path / "soft", labels="soft")


def stopped_after(batches: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A listener that interrupts, and small batches to be interrupted between."""
    monkeypatch.setattr(export_rows, "BATCH", 4)
    calls: list[int] = []

    def progress(title: str, done: int, total: int, figures: Mapping[str, float] | None = None) -> None:
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
        with pytest.raises(DgaugError, match=r"found 'holiday\.jpg' in"):
            export_store(store, out=tmp_path / "photos", force=force)
    assert files_of(tmp_path / "photos") == {"holiday.jpg": b"years of work"}


def test_other_settings_are_refused_and_force_starts_over(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_store(store, out=out)
    with pytest.raises(DgaugError, match="identity: appearance there, structure asked for"):
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
