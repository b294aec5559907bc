"""`--quiet` leaves results and errors."""

from __future__ import annotations

from pathlib import Path

from tiny_run import RunCommand

from dgaug.data.toy import write_toy


def test_results_stay_and_progress_goes(dgaug: RunCommand, tmp_path: Path) -> None:
    write_toy(tmp_path / "people", identities=2, images_per_identity=2)
    loud, quiet = dgaug("data", "check", tmp_path / "people"), dgaug("data", "check", tmp_path / "people", "--quiet")
    assert loud.err != ""
    assert (quiet.code, quiet.out, quiet.err) == (0, loud.out, "")


def test_an_error_is_still_said_and_the_next_command_is_not_quiet(dgaug: RunCommand, tmp_path: Path) -> None:
    assert "no such folder" in dgaug("data", "check", tmp_path / "gone", "-q").error()
    assert dgaug("data", "toy", tmp_path / "people", "--identities", "2").err != ""
