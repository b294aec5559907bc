"""A reader of a pipe that goes away is neither damage nor bad input."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dgaug.data.toy import write_toy
from dgaug.runs import Run

UNREAD = 141


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "people"
    write_toy(folder, identities=2, images_per_identity=2)
    return folder


def code_of(*arguments: str | Path, unread: str) -> tuple[int, str]:
    """Exit code of a command whose stdout or stderr nobody reads, and what it said on the other."""
    reader, writer = os.pipe()
    os.close(reader)
    other = "stderr" if unread == "stdout" else "stdout"
    command = [sys.executable, "-m", "dgaug", *map(str, arguments)]
    process = subprocess.Popen(command, text=True, **{unread: writer, other: subprocess.PIPE})
    os.close(writer)
    return process.wait(timeout=120), (getattr(process, other).read() or "")


@pytest.mark.parametrize(
    "arguments", [("config", "show", "toy"), ("completion", "bash"), ("--help",), ("--version",), ("train", "--help")]
)
def test_results_that_nobody_reads_end_as_a_broken_pipe_does(arguments: tuple[str, ...]) -> None:
    code, output = code_of(*arguments, unread="stdout")
    assert (code, output) == (UNREAD, "")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_table_that_nobody_reads_is_not_damage(people: Path, form: tuple[str, ...]) -> None:
    code, output = code_of("data", "check", people, *form, unread="stdout")
    assert code == UNREAD
    assert "Traceback" not in output


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_an_error_that_cannot_be_written_ends_with_its_exit_code(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        for arguments in (("verify", tmp_path / "none"), ("config", "list")):  # no error, but no room for its result
            command = [sys.executable, "-m", "dgaug", *map(str, arguments)]
            assert subprocess.run(command, stdout=full, stderr=full, timeout=120, check=False).returncode == 2


def test_notes_that_nobody_reads_change_no_exit_code(people: Path, tmp_path: Path, tiny_run: Run) -> None:
    code, output = code_of("data", "check", people, unread="stderr")
    assert code == 0
    assert "train" in output
    assert code_of("verify", tiny_run.store, unread="stderr") == (0, "")
    assert code_of("verify", tmp_path / "none", unread="stderr") == (2, "")
    image = next(people.glob("bounding_box_train/*.jpg"))
    damaged = tmp_path / "damaged" / "bounding_box_train"
    write_toy(damaged.parent, identities=2, images_per_identity=2)
    (damaged / image.name).write_bytes(image.read_bytes()[:100])
    assert code_of("data", "check", damaged.parent, unread="stderr")[0] == 1


def test_a_job_resumes_when_nobody_reads_its_notes(tiny_config: Path, tmp_path: Path) -> None:
    code, _ = code_of("train", "--config", tiny_config, "--out", tmp_path / "run", unread="stderr")
    assert code == 0
    assert (tmp_path / "run/checkpoints/last.pt").is_file()
