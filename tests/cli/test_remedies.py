"""A remedy is an option of the command that failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from dgaug_cli.remedies import fitted
from tiny_run import RunCommand

from dgaug.runs import Run

DAMAGED = "3 damaged: a.jpg; `dgaug data check x` lists them, `--set data.damaged=skip` leaves them out"
PATTERN = "no data set recognised; for names of your own give --pattern '(?P<identity>...)'"


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        (DAMAGED, {"--set"}, DAMAGED),
        (DAMAGED, {"--damaged"}, DAMAGED.replace("--set data.damaged=skip", "--damaged skip")),
        (DAMAGED, {"--real"}, "3 damaged: a.jpg; `dgaug data check x` lists them"),
        (PATTERN, {"--pattern"}, PATTERN),
        (PATTERN, {"--set"}, PATTERN.replace("--pattern ", "--set data.pattern=")),
        (PATTERN, {"--real"}, "no data set recognised"),
        ("use --set data.cameras=none", {"--cameras", "--set"}, "use --cameras none"),
        ("nothing to do with data; use --force", set(), "nothing to do with data; use --force"),
    ],
)
def test_a_remedy_is_spelled_for_the_command(text: str, options: set[str], expected: str) -> None:
    assert fitted(text, options) == expected


def test_damaged_images_are_left_out_by_the_option_that_the_error_names(
    tiny_run: Run, tmp_path: Path, dgaug: RunCommand
) -> None:
    data = tmp_path / "people"
    for folder in ("query", "bounding_box_test"):
        (data / folder).mkdir(parents=True)
        for path in (tiny_run.data_root() / folder).iterdir():
            (data / folder / path.name).write_bytes(path.read_bytes())
    broken = sorted((data / "query").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:40])
    command = ("eval-reid", tiny_run.teacher, "--data", data)
    assert "`--damaged skip` leaves them out" in dgaug(*command).error()
    result = dgaug(*command, "--damaged", "skip")
    assert (result.code, "left out 1 damaged" in result.err) == (0, True)
