"""Stdout and stderr of a command whose reader may go away, as that of `dgaug verify | head -1` does."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Any, TextIO, cast

UNREAD = 128 + signal.SIGPIPE
"""Exit code where nobody reads the results any more; shells give it to programs that end by SIGPIPE."""


class ReaderGone(Exception):
    """Nobody reads stdout any more.

    No OSError: click and rich would end the command with 1, which says that damage was found.
    """


class _Stream:
    """A text stream that notices when its reader has gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._unread()
            return len(text)

    def flush(self) -> None:
        """Write what is held back."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._unread()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _unread(self) -> None:
        # What is held back goes nowhere, also when the interpreter flushes it at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


class _Results(_Stream):
    def _unread(self) -> None:
        super()._unread()
        raise ReaderGone


def watch_streams() -> None:
    """Have stdout raise `ReaderGone`, and stderr drop its notes, once nobody reads them."""
    for name, kind in (("stdout", _Results), ("stderr", _Stream)):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a sign that the terminal does not know stops nothing
            setattr(sys, name, cast(TextIO, kind(stream)))
