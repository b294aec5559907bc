"""A command that runs out of memory ends in one line."""

from __future__ import annotations

import pytest
from dgaug_cli.main import cli
from tiny_run import RunCommand


class OutOfMemoryError(RuntimeError):
    """Named as the error of an accelerator."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "not enough memory; free memory, or lower *.batch_size"),
        (MemoryError("Unable to allocate 12.5 GiB for an array"), "not enough memory for 12.5 GiB; "),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: tried to allocate 800 bytes"),
            " for 800 bytes;",
        ),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "not enough memory for 2.00 GiB; "),
    ],
)
def test_too_little_memory_is_one_line_with_the_size(
    error: Exception, said: str, dgaug: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_options: object) -> None:
        raise error

    monkeypatch.setattr(cli.commands["doctor"], "callback", fail)
    assert said in dgaug("doctor").error()


def test_another_error_is_not_taken_for_it(dgaug: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_options: object) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(cli.commands["doctor"], "callback", fail)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        dgaug("doctor")
