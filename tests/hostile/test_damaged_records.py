"""What a run keeps in small files: results, caches, settings. A changed bit is refused, or it changes no value."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from archives import archive, members
from ledger import times, tried
from tiny_run import RunCommand, differing, tensors_of

from dgaug.data.toy.world import WORLD_FILE, is_toy
from dgaug.errors import DgaugError
from dgaug.files import read_json, write_json, write_sealed_json
from dgaug.runs import Run
from dgaug.scores.quality.feature_statistics import Given, Statistics
from dgaug.scores.quality.frechet import Moments
from dgaug.scores.quality.results import finished_result
from dgaug.settings import load_settings
from dgaug.training.log import _drop_from
from dgaug.training.train import train

RESULT: dict[str, Any] = {
    "scores": {"frechet": 12.3456789, "kid": 1e-5, "é": [1, 2.5, None, True]},
    "protocol": {"name": "clean", "1": 2},
}


def flipped(whole: bytes, place: int, bit: int) -> bytes:
    damaged = bytearray(whole)
    damaged[place] ^= 1 << bit
    return bytes(damaged)


def test_a_flipped_bit_in_figures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    write_sealed_json(path, RESULT)
    assert read_json(path) == RESULT
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(0, 8, times(4, 1)):
            path.write_bytes(flipped(whole, place, bit))
            try:
                result = read_json(path)
            except DgaugError:
                tried("results (scores, results, ranking): one bit flipped", "refused")
            else:
                # Spaces, and the name of the seal itself: without a seal it is a file of an older version.
                kept = {name: result.get(name) for name in RESULT}
                assert kept == RESULT, (place, bit)
                tried("results (scores, results, ranking): one bit flipped", "in no value")


def test_figures_of_an_older_version_are_read(tmp_path: Path) -> None:
    write_json(tmp_path / "scores.json", RESULT)
    assert read_json(tmp_path / "scores.json") == RESULT


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "nul", "[" * 100_000, '{"a":' * 100_000, "1" * 10_000, "\0", '{"a": NaN', "\ud800"]
)
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "scores.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(DgaugError):
        finished_result(tmp_path, {})
    tried("results (scores, results, ranking): no JSON object", "refused")


def test_a_flipped_bit_in_a_cache_of_statistics_is_refused(tmp_path: Path) -> None:
    path, chance = tmp_path / "real.npz", random.Random(0)
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32))
    moments = Moments.empty(8)
    moments.update(features)
    Statistics(moments, features, "key", "ab" * 32).save(path, complete=True)
    expected, whole = Statistics.load(path), path.read_bytes()
    for place in range(0, len(whole), times(13, 1)):
        path.write_bytes(flipped(whole, place, chance.randrange(8)))
        try:
            result = Statistics.load(path)
        except DgaugError:
            tried("cache of statistics: one bit flipped", "refused")
        else:
            assert torch.equal(result.features, expected.features)
            assert torch.equal(result.moments.mean, expected.moments.mean)
            assert torch.equal(result.moments.covariance, expected.moments.covariance)
            assert (result.key, result.encoder_sha256) == (expected.key, expected.encoder_sha256)
            tried("cache of statistics: one bit flipped", "in no value")
    for size in range(0, len(whole), len(whole) // 16):
        path.write_bytes(whole[:size])
        with pytest.raises(DgaugError):
            Statistics.load(path)
        tried("cache of statistics: cut off", "refused")


def npy(header: str, content: bytes = b"") -> bytes:
    padded = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\0" + len(padded).to_bytes(2, "little") + padded + content


HEADER = "{{'descr': {}, 'fortran_order': False, 'shape': {}, }}"


@pytest.mark.parametrize(
    "array",
    [
        b"",
        b"no array",
        npy("{'descr': '<f8', 'fortran_o"),
        npy("{'descr': '<f8', b'fortran_order': False, 'shape': (2,), }"),
        npy(HEADER.format("'<f8'", "(-2,)"), bytes(16)),
        npy(HEADER.format("'<f8'", "(2, 1)"), bytes(16)),
        npy(HEADER.format("'<f8'", "(3,)"), bytes(24)),
        npy(HEADER.format("'<f8'", "()"), bytes(8)),
        npy(HEADER.format("'<U2'", "(2,)"), bytes(16)),
        npy(HEADER.format("'|O'", "(2,)"), bytes(16)),
        npy(HEADER.format("'<c16'", "(2,)"), bytes(32)),
        npy(HEADER.format("[('a', '<f8')]", "(2,)"), bytes(16)),
        npy(HEADER.format("'<f8'", "(2,)"), bytes(3)),
        npy(HEADER.format("'<f8'", f"({10**30},)")),
    ],
)
def test_statistics_of_other_arrays_are_refused(tmp_path: Path, array: bytes) -> None:
    """What an npz holds is a header in Python's words and bytes; all of these have checksums that fit."""
    path = tmp_path / "statistics.npz"
    np.savez(path, mu=np.zeros(2), sigma=np.eye(2))
    arrays = members(path.read_bytes())
    assert Given.load(path).count is None
    path.write_bytes(archive({**arrays, "mu.npy": array}))
    with pytest.raises(DgaugError):
        Given.load(path)
    tried("statistics: arrays of another kind", "refused")


def test_a_changed_sign_in_the_settings_of_a_run_is_refused_or_changes_no_weight(tmp_path: Path, tiny_run: Run) -> None:
    """`config.yaml` is text that people may edit; what the checkpoint was made with is in the checkpoint too."""
    run = Run(tmp_path / "run")
    shutil.copytree(tiny_run.folder, run.folder, ignore=shutil.ignore_patterns("store", "samples", "tensorboard"))
    chance, whole = random.Random(0), run.config.read_text(encoding="utf-8")
    before = tensors_of(torch.load(run.checkpoint, weights_only=True))
    for _ in range(times(30, 1000)):
        place = chance.randrange(len(whole))
        run.config.write_text(
            whole[:place] + chance.choice("0123456789.-: ax\n#") + whole[place + 1 :], encoding="utf-8"
        )
        try:
            train(resume=True, out=run.folder)
        except DgaugError:
            tried("config.yaml of a run: one sign changed, then --resume", "refused")
        else:
            tried("config.yaml of a run: one sign changed, then --resume", "no weight depends on it")
            after = tensors_of(torch.load(run.checkpoint, weights_only=True))
            assert all(torch.equal(before[name], after[name]) for name in before)
            assert differing(load_settings(run.config), load_settings(tiny_run.config)) == []


@pytest.mark.parametrize("name", ["environment.json", "config.yaml", "log.jsonl"])
def test_a_run_whose_small_files_are_cut_says_so_or_resumes(
    tmp_path: Path, tiny_run: Run, refused_or_done: RunCommand, name: str
) -> None:
    for piece in range(0, 16, times(5, 1)):
        run = Run(tmp_path / f"{piece}")
        shutil.copytree(tiny_run.folder, run.folder, ignore=shutil.ignore_patterns("store", "samples", "tensorboard"))
        path = run.folder / name
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * piece // 16])
        for command in (["train", "--resume", "--out"], ["report"]):
            ended = refused_or_done(*command, run.folder)
            tried("run: environment, settings or log cut off", "refused" if ended.code else "resumes, or says so")


@pytest.mark.parametrize("line", [b"{}", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"phase": "dgnet", "iteration": "x"}'])
def test_a_damaged_line_of_a_log_costs_that_line_alone(tmp_path: Path, line: bytes) -> None:
    lines = [b'{"phase": "dgnet", "iteration": %d}' % iteration for iteration in range(4)]
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join([*lines[:2], line, *lines[2:]]) + b"\n")
    _drop_from(path, "dgnet", 3)
    assert path.read_bytes().splitlines() == lines[:3]
    tried("log of a run: a damaged line, then --resume", "that line is left out")


def test_a_toy_file_nested_without_end_is_no_toy_data(tmp_path: Path) -> None:
    (tmp_path / WORLD_FILE).write_text("[" * 100_000, encoding="utf-8")
    assert not is_toy(tmp_path)
