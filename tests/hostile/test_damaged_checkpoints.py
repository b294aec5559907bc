"""Checkpoints that were damaged, cut, or made to do harm: refused, and nothing in them is ever run."""

from __future__ import annotations

import pickle
import random
import shutil
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from archives import archive, members
from ledger import times, tried
from tiny_run import RunCommand

from dgaug.errors import DgaugError
from dgaug.models.checkpoints import load_generator, load_reid
from dgaug.models.weights import read_checkpoint, read_tensors
from dgaug.runs import Run


class Canary:
    """What a pickle does when it is obeyed: it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.path), "w")


def regions(size: int) -> list[range]:
    """A file in 64 pieces: a fault is tried in each."""
    bounds = [size * piece // 64 for piece in range(65)]
    return [range(start, stop) for start, stop in pairwise(bounds) if stop > start]


def same(content: Any, other: Any) -> bool:
    if isinstance(content, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(content, other)
    if isinstance(content, dict):
        return (
            isinstance(other, dict)
            and content.keys() == other.keys()
            and all(same(content[k], other[k]) for k in content)
        )
    if isinstance(content, list):
        return isinstance(other, list) and len(content) == len(other) and all(map(same, content, other))
    return content == other


@pytest.mark.parametrize("kind", ["last.pt", "teacher"])
def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path, tiny_run: Run, kind: str) -> None:
    source = tiny_run.checkpoint if kind == "last.pt" else tiny_run.teacher
    whole, chance = source.read_bytes(), random.Random(0)
    expected = read_checkpoint(source)
    path = tmp_path / "flipped.pt"
    for region in regions(len(whole)):
        for _ in range(times(1, 30)):
            damaged = bytearray(whole)
            damaged[chance.choice(region)] ^= 1 << chance.randrange(8)
            path.write_bytes(damaged)
            try:
                content = read_checkpoint(path)
            except DgaugError:
                tried("checkpoint: one bit flipped", "refused")
            else:
                assert same(content, expected), "a damaged file was taken"
                tried("checkpoint: one bit flipped", "in no value: the same content")


def test_every_byte_of_the_headers_is_refused_or_changes_nothing(tmp_path: Path, tiny_run: Run) -> None:
    """The directory of the archive and the headers of its records, which no checksum of theirs covers."""
    content = {"format": "x", "a": torch.arange(40.0), "b": [torch.ones(3), 2]}
    path = tmp_path / "small.pt"
    torch.save(content, path)
    whole = path.read_bytes()
    for place in range(0, len(whole), times(7, 1)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF if place % 2 else 1
        path.write_bytes(damaged)
        try:
            assert same(read_checkpoint(path), content)
            tried("checkpoint: each byte of a small one", "in no value: the same content")
        except DgaugError:
            tried("checkpoint: each byte of a small one", "refused")


def test_a_changed_pickle_whose_checksum_fits_is_refused_or_read(tmp_path: Path) -> None:
    path, chance = tmp_path / "x.pt", random.Random(0)
    torch.save({"state_dict": {"weight": torch.zeros(2, 3)}}, path)
    records = members(path.read_bytes())
    name = next(record for record in records if record.endswith("data.pkl"))
    changed = [b"", b"\x80\x02}q\0X\x80"]
    for _ in range(times(300, 20_000)):
        pickled = bytearray(records[name])
        for _ in range(chance.randint(1, 3)):
            pickled[chance.randrange(len(pickled))] = chance.randrange(256)
        changed.append(bytes(pickled[: chance.randint(1, 2 * len(pickled))]))
    for pickled in changed:
        path.write_bytes(archive({**records, name: pickled}))
        try:
            read_tensors(path)
            tried("checkpoint: its pickle changed, with checksums that fit", "read as tensors")
        except DgaugError:
            tried("checkpoint: its pickle changed, with checksums that fit", "refused")


def test_a_file_cut_anywhere_is_refused(tmp_path: Path, tiny_run: Run, refused_or_done: RunCommand) -> None:
    whole, path = tiny_run.checkpoint.read_bytes(), tmp_path / "cut.pt"
    for region in regions(len(whole))[:: times(4, 1)]:
        path.write_bytes(whole[: region.start])
        with pytest.raises(DgaugError):
            load_generator(path)
        path.write_bytes(whole[: region.start] + bytes(len(whole) - region.start))
        with pytest.raises(DgaugError):
            load_generator(path)
        tried("checkpoint: cut off, or zeros from a byte on", "refused", 2)


@pytest.mark.parametrize("command", ["synthesize", "train", "grid", "eval-reid", "swap", "report", "export"])
def test_no_command_takes_a_damaged_checkpoint(
    tmp_path: Path, tiny_run: Run, refused_or_done: RunCommand, command: str
) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(tiny_run.folder, run.folder, ignore=shutil.ignore_patterns("store"))
    for path in (run.checkpoint, run.teacher):
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 16
        path.write_bytes(damaged)
    image = next((run.folder / "data" / "bounding_box_train").iterdir())
    arguments: dict[str, list[str | Path]] = {
        "synthesize": ["--run", run.folder],
        "train": ["--resume", "--out", run.folder],
        "grid": ["--run", run.folder, "--count", "4"],
        "eval-reid": [run.teacher, "--data", run.folder / "data"],
        "swap": ["--run", run.folder, image, image, "--out", tmp_path / "x.png"],
        "report": [run.folder],
        "export": [run.teacher, "--to", "torchscript", "--out", tmp_path / "x.ts"],
    }
    ended = refused_or_done(command, *arguments[command])
    if command == "report":
        assert ended.code == 0
        assert "was damaged after it was written" in (run.folder / "report.html").read_text(encoding="utf-8")
    else:
        assert "was damaged after it was written" in ended.error()
    tried("checkpoint: damaged, given to each command", "refused, or said in the report's page")


def hostile(canary: Path) -> dict[str, Callable[[Path], None]]:
    """Files that do harm where they are unpickled."""
    bad = Canary(canary)

    def legacy(path: Path) -> None:
        torch.save({"format": bad}, path, _use_new_zipfile_serialization=False)

    def swapped(path: Path) -> None:
        torch.save({"format": "dgaug.reid"}, path)
        with zipfile.ZipFile(path) as archive:
            records = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, record in records.items():
                archive.writestr(name, pickle.dumps(bad, 2) if name.endswith("data.pkl") else record)

    return {
        "torch": lambda path: torch.save({"format": bad}, path),
        "torch, old format": legacy,
        "plain pickle": lambda path: path.write_bytes(pickle.dumps(bad)) and None,
        "pickle in the archive": swapped,
        "torchscript": lambda path: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path)),
        "protocol 5": lambda path: path.write_bytes(pickle.dumps([bad], 5)) and None,
    }


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", hostile(Path()))
@pytest.mark.parametrize("place", ["checkpoint", "teacher", "weights", "published", "statistics"])
def test_a_pickle_is_never_obeyed(
    tmp_path: Path, tiny_run: Run, refused_or_done: RunCommand, kind: str, place: str
) -> None:
    canary, path = tmp_path / "canary", tmp_path / "given.pt"
    hostile(canary)[kind](path)
    published = tmp_path / "published"
    published.mkdir()
    for name in ("gen_00000001.pt", "id_00000001.pt"):
        shutil.copy(path, published / name)
    shutil.copy(path, tmp_path / "real.npz")
    data = tiny_run.data_root()
    command = {
        "checkpoint": ["synthesize", "--checkpoint", path, "--data", data, "--out", tmp_path / "store"],
        "teacher": ["train", "--data", data, "--config", tiny_run.config, "--teacher", path, "--out", tmp_path / "run"],
        "weights": ["train", "--data", data, "--set", f"model.weights={path}", "--out", tmp_path / "run"],
        "published": ["import", published, "--out", tmp_path / "run"],
        "statistics": ["score-fid", tiny_run.store, "--real", tmp_path / "real.npz", "--out", tmp_path / "scores"],
    }[place]
    refused_or_done(*command).error()
    assert not canary.exists(), "code in a file was run"
    tried("hostile: code in a checkpoint or weight file", "refused, not run")


@pytest.mark.parametrize(
    "changed",
    [
        {"weights": "download"},
        {"weights": "/etc/passwd"},
        {"backbone": "hf-hub:someone/something"},
        {"backbone": "local-dir:/tmp"},
        {"backbone": "../small"},
        {"classes": 10**12},
        {"embedding": 10**12},
        {"embedding": -1},
        {"classes": 0},
        {"classes": "6"},
        {"dropouts": [0.5] * 10**6},
        {"dropouts": "ab"},
        {"pool": None},
        {"head": "other"},
        {"last_stride": 0},
        {"unknown": 1},
        {"members": [{}] * 10**6},
        {"members": []},
        {"members": 3},
    ],
    ids=lambda changed: str(changed)[:40],
)
def test_an_architecture_that_asks_for_too_much_is_refused(
    tmp_path: Path, tiny_run: Run, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a checkpoint made it go to the network")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    content = torch.load(tiny_run.teacher, weights_only=True)
    path = tmp_path / "teacher.pt"
    torch.save(content | {"architecture": content["architecture"] | changed}, path)
    if "weights" in changed:
        assert load_reid(path).network.classes == 6, "weights are those in the file"
        tried("hostile: an architecture that asks for files, network or memory", "what it asks is passed over")
        return
    with pytest.raises(DgaugError):
        load_reid(path)
    tried("hostile: an architecture that asks for files, network or memory", "refused")


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("teacher", "image_size", [64]),
        ("teacher", "image_size", ["a", "b"]),
        ("teacher", "class_names", 10**12),
        ("teacher", "class_names", None),
        ("teacher", "network", None),
        ("teacher", "network", {"x": 1}),
        ("teacher", "architecture", []),
        ("teacher", "version", 10**9),
        ("teacher", "version", "1"),
        ("last.pt", "settings", {"model": {"width": 1e9}}),
        ("last.pt", "settings", []),
        ("last.pt", "class_names", 10**12),
        ("last.pt", "class_names", -1),
        ("last.pt", "networks", {}),
        ("last.pt", "networks", []),
        ("last.pt", "networks", {"averaged": 1, "appearance": {}}),
        ("last.pt", "iteration", "many"),
        ("last.pt", "iteration", None),
        ("last.pt", "format", ["dgaug.dgnet"]),
    ],
)
def test_a_checkpoint_of_wrong_parts_is_refused(
    tmp_path: Path, tiny_run: Run, kind: str, name: str, value: object
) -> None:
    source = tiny_run.checkpoint if kind == "last.pt" else tiny_run.teacher
    torch.save(torch.load(source, weights_only=True) | {name: value}, tmp_path / "wrong.pt")
    with pytest.raises(DgaugError):
        (load_generator if kind == "last.pt" else load_reid)(tmp_path / "wrong.pt")
    tried("checkpoint: parts of another kind", "refused")
