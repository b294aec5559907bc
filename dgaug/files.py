"""Files that are whole or absent: written aside, put on the medium, renamed."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TextIO

from dgaug.errors import DgaugError

_SEAL = "sha256"
ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    OSError,
    ValueError,
    RuntimeError,
    EOFError,
    OverflowError,
    LookupError,
)
"""What reading a damaged archive (torch, npz) may raise: its headers are taken at their word."""


def file_sha256(path: Path, *, start: int = 0) -> str:
    """Hex sha256 of a file's bytes from `start` on, read in pieces; OSError where it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        stream.seek(start)
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def whole(path: Path, *, synced: bool = True) -> Iterator[Path]:
    """The path to write to; it becomes `path` when the block ends well and is removed when it does not.

    `synced`: whether it is on the medium first; else it may be short after a power cut.

    Raises OSError where the disk is full; it names the file, also where the system's does not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part{path.suffix}")
    try:
        yield aside
        if synced:
            with aside.open("rb") as stream:
                os.fsync(stream.fileno())
        os.replace(aside, path)
    except BaseException as error:
        aside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with whole(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    """Write a JSON file whole."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_sealed_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a JSON object whole, with the sha256 of itself: a number with a changed digit is still a number."""
    write_json(path, {**content, _SEAL: _digest(content)})


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; of one that `write_sealed_json` wrote, what was given to it.

    Raises:
        DgaugError: missing, damaged, changed or not an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DgaugError(f"cannot read {path}: {error}") from error
    except RecursionError:
        raise DgaugError(f"cannot read {path}: nested too deeply") from None
    if not isinstance(content, dict):
        raise DgaugError(f"{path}: expected a JSON object, found {type(content).__name__}")
    seal = content.pop(_SEAL, None)
    if seal is not None and seal != _digest(content):
        raise DgaugError(f"{path} is not as it was written (its {_SEAL} does not fit); delete it and make it again")
    return content


def _digest(content: Mapping[str, object]) -> str:
    # Through JSON once, where keys become text.
    return hashlib.sha256(json.dumps(json.loads(json.dumps(content)), sort_keys=True).encode()).hexdigest()


@contextmanager
def csv_table(
    path: Path, columns: Iterable[str], names: Iterable[str]
) -> Iterator[Callable[[Iterable[object]], object]]:
    """What writes a row of a CSV file that is whole when the block ends well; see `csv_writer`."""
    with whole(path) as aside, aside.open("w", encoding="utf-8", newline="") as stream:
        write_row = csv_writer(stream, names)
        write_row(columns)
        yield write_row


def csv_writer(stream: TextIO, names: Iterable[str]) -> Callable[[Iterable[object]], object]:
    """What writes a row of a CSV file in which such names stand.

    `csv` leaves a carriage return in a name unquoted and then reads it as the end of a line: with one, all is quoted.
    """
    all_quoted = any("\r" in name for name in names)
    quoting: Literal[0, 1] = csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL
    return csv.writer(stream, lineterminator="\n", quoting=quoting).writerow
