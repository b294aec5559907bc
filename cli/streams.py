"""Stdout and stderr of a command whose reader may close the pipe, as in `dgaug verify | head -1`."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Any, TextIO, cast

UNREAD = 128 + signal.SIGPIPE
"""Exit code when the reader of stdout has closed the pipe, as shells report SIGPIPE."""


class ReaderGone(Exception):
    """The reader of stdout has closed the pipe.

    Not an OSError: click and rich would exit with code 1, which means that damage was found.
    """


class _Stream:
    """A text stream that detects a closed pipe, or, where its text is dropped, whatever keeps it from being written."""

    _lost: type[OSError] = OSError

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text."""
        try:
            return self._stream.write(text)
        except self._lost:
            self._unread()
            return len(text)

    def flush(self) -> None:
        """Write buffered text."""
        try:
            self._stream.flush()
        except self._lost:
            self._unread()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _unread(self) -> None:
        # Buffered text is discarded, also when the interpreter flushes it at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


class _Results(_Stream):
    _lost = BrokenPipeError

    def _unread(self) -> None:
        super()._unread()
        raise ReaderGone


def watch_streams() -> None:
    """Make stdout raise `ReaderGone` once the pipe is closed, and stderr drop its text then or on a full disk."""
    for name, kind in (("stdout", _Results), ("stderr", _Stream)):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a character the terminal cannot encode is escaped
            setattr(sys, name, cast(TextIO, kind(stream)))
