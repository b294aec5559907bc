"""Stores that were damaged, cut, or made to do harm: every bit is found by `verify`, and no reader crashes on one."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from forged import forged
from forked import forked
from ledger import FULL, times, tried, way
from PIL import Image
from tiny_run import RunCommand

from dgaug.errors import DgaugError
from dgaug.runs import Run
from dgaug.store.read import open_store
from dgaug.store.verify import verify
from dgaug.synthesis.job import synthesize


@pytest.fixture(scope="module", params=["jpeg", "codes"])
def store(request: pytest.FixtureRequest, tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the tiny run, of each kind."""
    folder = tmp_path_factory.mktemp("stores") / request.param
    pairs, shard_size = ("all", 96) if FULL else ("random:96", 48)
    synthesize(tiny_run.folder, codec=request.param, pairs=pairs, shard_size=shard_size, out=folder)
    return folder


def files_of(store: Path) -> list[str]:
    return sorted(
        path.relative_to(store).as_posix() for path in store.rglob("*") if path.suffix in (".h5", ".safetensors")
    )


def places(size: int, chance: random.Random, *, each: int) -> list[int]:
    """Bytes of a file: some in each of 64 regions."""
    bounds = [size * piece // 64 for piece in range(65)]
    return [chance.randrange(start, stop) for start, stop in pairwise(bounds) if stop > start for _ in range(each)]


def test_verify_finds_every_flip_in_every_region_of_every_file(store: Path) -> None:
    chance = random.Random(0)
    for name in files_of(store):
        whole = (store / name).read_bytes()
        for place in places(len(whole), chance, each=times(1, 6))[:: times(12, 1)]:
            damaged = bytearray(whole)
            damaged[place] ^= 1 << chance.randrange(8)
            (store / name).write_bytes(damaged)
            assert name in {finding.where for finding in verify(store).findings}, (name, place)
            tried("store: one bit flipped, then verify", "found")
        (store / name).write_bytes(whole)
    assert verify(store).ok


def test_verify_finds_every_cut_and_every_lengthening(store: Path, refused_or_done: RunCommand) -> None:
    for name in files_of(store):
        whole = (store / name).read_bytes()
        for size in [len(whole) * piece // 16 for piece in range(0, 16, times(8, 1))]:
            for content in {whole[:size], whole[:size].ljust(len(whole), b"\0"), whole + bytes(size + 1)} - {whole}:
                (store / name).write_bytes(content)
                ended = refused_or_done("verify", store)
                assert ended.code == 1
                tried("store: cut, zeros from a byte on, or longer, then verify", way(ended.code))
        (store / name).unlink()
        ended = refused_or_done("verify", store)
        assert ended.code == (2 if name == "dataset.h5" else 1)
        (store / name).write_bytes(whole)


def content(store: Path) -> list[list[bytes]]:
    return [[np.asarray(part).tobytes() for part in item] for item in open_store(store)]


def test_reading_a_damaged_store_is_an_error_or_the_same_content(store: Path) -> None:
    """Without `verify` first, in a child process: HDF5 itself crashes on some damage."""
    chance = random.Random(1)
    expected = content(store)
    for name in files_of(store):
        whole = (store / name).read_bytes()
        for place in places(len(whole), chance, each=times(1, 4))[:: times(16, 1)]:
            damaged = bytearray(whole)
            damaged[place] ^= 1 << chance.randrange(8)
            (store / name).write_bytes(damaged)
            result = forked(lambda: content(store) == expected, allowed=(DgaugError,))
            assert result is not False, (name, place, "read as other content")
            tried("store: one bit flipped, read without verify", "the same content" if result is True else "refused")
        (store / name).write_bytes(whole)


FORGED: dict[str, Callable[[h5py.File], object]] = {
    "a shard outside": lambda hdf5: hdf5["shard/path"].__setitem__(0, "shards/../../secret.h5"),
    "an absolute shard": lambda hdf5: hdf5["shard/path"].__setitem__(0, "/etc/secret.h5"),
    "a source outside": lambda hdf5: hdf5["source/path"].__setitem__(0, "../../etc/passwd"),
    "an absolute source": lambda hdf5: hdf5["source/path"].__setitem__(0, "/etc/passwd"),
    "a source up in its middle": lambda hdf5: hdf5["source/path"].__setitem__(0, "a/../../../etc/passwd"),
    "a source that is not UTF-8": lambda hdf5: hdf5["source/path"].__setitem__(0, b"\xff\xfe"),
    "sources by a soft link": lambda hdf5: linked(hdf5, "source/path", h5py.SoftLink("/class_name")),
    "sources by an external link": lambda hdf5: linked(hdf5, "source/path", h5py.ExternalLink("/etc/passwd", "x")),
    "pairs by an external link": lambda hdf5: linked(hdf5, "pair/structure", h5py.ExternalLink("x.h5", "x")),
    "a group by an external link": lambda hdf5: linked(hdf5, "source", h5py.ExternalLink("x.h5", "x")),
    "a link to itself": lambda hdf5: linked(hdf5, "source/path", h5py.SoftLink("/source/path")),
    "raw data in another file": lambda hdf5: outside(hdf5, "source/identity"),
    "shard sizes in another file": lambda hdf5: outside(hdf5, "shard/size"),
    "a virtual data set over another file": lambda hdf5: virtual(hdf5, "pair/structure", "/etc/secret.h5"),
    "a virtual data set over a file beside": lambda hdf5: virtual(hdf5, "pair/structure", "../other.h5"),
    "a group in place of a table": lambda hdf5: (hdf5.__delitem__("class_name"), hdf5.create_group("class_name")),
    "numbers in place of names": lambda hdf5: replaced(hdf5, "source/path", np.arange(24)),
    "names in place of numbers": lambda hdf5: replaced(hdf5, "source/identity", np.array([b"x"] * 24)),
    "more numbers than there is memory": lambda hdf5: endless(hdf5, "source/identity"),
    "a count beyond memory": lambda hdf5: hdf5.attrs.__setitem__("count", 2**62),
    "a negative count": lambda hdf5: hdf5.attrs.__setitem__("count", -5),
    "a list in place of a count": lambda hdf5: hdf5.attrs.__setitem__("count", [1, 2]),
    "a text in place of a count": lambda hdf5: hdf5.attrs.__setitem__("count", "many"),
    "a newer schema": lambda hdf5: hdf5.attrs.__setitem__("schema", 99),
    "no schema": lambda hdf5: hdf5.attrs.__delitem__("schema"),
    "an unknown codec": lambda hdf5: hdf5.attrs.__setitem__("codec", "pickle"),
    "a huge image": lambda hdf5: hdf5.attrs.__setitem__("image_size", np.array([2**30, 2**30])),
    "an image of one side": lambda hdf5: hdf5.attrs.__setitem__("image_size", 64),
    "a micro-batch of 0": lambda hdf5: hdf5.attrs.__setitem__("micro_batch", 0),
    "shards of 0 pairs": lambda hdf5: hdf5.attrs.__setitem__("shard_size", 0),
    "labels of another kind": lambda hdf5: hdf5.attrs.__setitem__("labels", "dense"),
    "starts that go back": lambda hdf5: hdf5["shard/start"].__setitem__(slice(None), hdf5["shard/start"][:][::-1]),
}


def linked(hdf5: h5py.File, name: str, link: object) -> None:
    del hdf5[name]
    hdf5[name] = link


def replaced(hdf5: h5py.File, name: str, values: np.ndarray) -> None:
    del hdf5[name]
    hdf5[name] = values


def outside(hdf5: h5py.File, name: str) -> None:
    shape, kind = hdf5[name].shape, hdf5[name].dtype
    del hdf5[name]
    hdf5.create_dataset(name, shape, kind, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def virtual(hdf5: h5py.File, name: str, file: str) -> None:
    count = len(hdf5[name])
    del hdf5[name]
    layout = h5py.VirtualLayout((count,), "i4")
    layout[:] = h5py.VirtualSource(file, name, (count,))
    hdf5.create_virtual_dataset(name, layout)


def endless(hdf5: h5py.File, name: str) -> None:
    del hdf5[name]
    hdf5.create_dataset(name, (2**45,), np.int32, chunks=(1024,))


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_store_is_refused(tmp_path: Path, tiny_run: Run, name: str) -> None:
    """Its seal fits: whoever forged it could make one."""
    store = tmp_path / "store"
    shutil.copytree(tiny_run.store, store)
    with forged(store) as hdf5:
        FORGED[name](hdf5)
    expected = content(tiny_run.store)

    def told() -> tuple[bool, bool]:
        try:
            read = content(store) == expected
        except DgaugError:
            read = False
        try:
            whole = verify(store).ok
        except DgaugError:
            whole = False
        return read, whole

    assert forked(told) == (False, False)
    tried("store: forged, to point outside or to ask for too much", "refused")


@pytest.mark.parametrize("name", ["a source outside", "an absolute source", "a shard outside", "a newer schema"])
@pytest.mark.parametrize("command", ["score-fid", "train-reid", "export", "report", "synthesize", "verify"])
def test_no_command_takes_a_forged_store(
    tmp_path: Path, tiny_run: Run, refused_or_done: RunCommand, name: str, command: str
) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(tiny_run.folder, run.folder)
    with forged(run.store) as hdf5:
        FORGED[name](hdf5)
    arguments: dict[str, list[str | Path]] = {
        "score-fid": ["--run", run.folder],
        "train-reid": ["--run", run.folder],
        "export": [run.store, "--to", "csv", "--out", tmp_path / "out"],
        "report": [run.folder],
        "synthesize": ["--run", run.folder, "--shard-size", "96"],
        "verify": [run.store],
    }
    ended = refused_or_done(command, *arguments[command])
    assert ended.code == (0 if command == "report" else ended.code or 2), ended
    assert not list(tmp_path.rglob("*.part"))
    tried("store: forged, given to each command", "refused, or said in the report's page")


def test_a_damaged_store_of_another_version_is_still_an_error(tmp_path: Path, tiny_run: Run) -> None:
    """Stores of before 1.3 have no checksums of pairs and labels; a pair of no source is an error all the same."""
    store = tmp_path / "store"
    shutil.copytree(tiny_run.store, store)
    with h5py.File(store / "shards/000001.h5", "r+") as shard:
        pairs = shard["pair/structure"][:]
        del shard["pair/structure"]
        pairs[3] = 10**6
        shard["pair/structure"] = pairs
    with pytest.raises(DgaugError, match="pairs of others than its 24 sources"):
        content(store)


def test_images_outside_are_never_shown(tmp_path: Path, tiny_run: Run, refused_or_done: RunCommand) -> None:
    """A store whose donors lie elsewhere could put any image of the machine into a sheet that is passed on."""
    secret = tmp_path / "secret.png"
    Image.new("RGB", (32, 64), (255, 0, 255)).save(secret)
    store = tmp_path / "store"
    shutil.copytree(tiny_run.store, store)
    with forged(store) as hdf5:
        for row in range(len(hdf5["source/path"])):
            hdf5["source/path"][row] = f"../../{secret.relative_to(tmp_path)}"
    data = tmp_path / "a" / "data"
    shutil.copytree(tiny_run.data_root(), data)
    scoring = ("score-fid", store, "--real", data, "--out", tmp_path / "scores")
    assert "inside their data set" in refused_or_done(*scoring).error()
    tried("hostile: paths that lead out of a store", "refused")
