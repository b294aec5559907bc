"""Which files of a folder are images."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dgaug.data.formats import is_image
from dgaug.errors import DgaugError

# A few folders that link to one another can be walked through in more ways than there are atoms.
_MOST_WAYS, _MOST_DEEP = 1000, 200


def list_images(folder: Path) -> list[str]:
    """POSIX paths of all images below a folder, relative to it, in plain string order.

    `is_image` says which files these are. Hidden files and folders and `__MACOSX` are left
    out; links are followed, but never back into a folder that is being listed.

    Raises:
        DgaugError: a folder cannot be read, is linked to in more ways than anyone means, or a name is not valid UTF-8
            (a store could not hold it).
    """
    return sorted(prefix + entry.name for prefix, entry in _walk(folder) if is_image(entry.path))


def list_other_files(folder: Path) -> list[str]:
    """POSIX paths of all files below a folder that are no images; otherwise as `list_images`."""
    return sorted(prefix + entry.name for prefix, entry in _walk(folder) if not is_image(entry.path))


def holds_images(folder: Path) -> bool:
    """Whether there is at least one image anywhere below a folder."""
    return any(is_image(entry.path) for _, entry in _walk(folder))


def has_own_images(folder: Path) -> bool:
    """Whether there is an image in the folder itself, not only further down."""
    return any(not _is_folder(entry) and is_image(entry.path) for entry in _entries(str(folder)))


def list_folders(folder: Path) -> list[str]:
    """Names of the sub-folders, hidden ones and `__MACOSX` left out, in plain string order."""
    return sorted(entry.name for entry in _entries(str(folder)) if _is_folder(entry))


def list_files(folder: Path) -> list[str]:
    """Names of all files directly in the folder, hidden ones left out, in plain string order."""
    return sorted(entry.name for entry in _entries(str(folder)) if not _is_folder(entry))


def _walk(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file below a folder, with the path of its own folder relative to that."""
    return _walk_in(str(folder), "", frozenset(), Counter())


def _walk_in(
    folder: str, prefix: str, open_folders: frozenset[tuple[int, int]], listed: Counter[tuple[int, int]]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    status = os.stat(folder)
    identity = (status.st_dev, status.st_ino)
    if identity in open_folders:
        return
    if len(open_folders) > _MOST_DEEP:
        raise DgaugError(f"{folder[:200]}...: more than {_MOST_DEEP} folders in one another; no data set is that deep")
    listed[identity] += 1
    if listed[identity] > _MOST_WAYS:
        raise DgaugError(f"{folder}: more than {_MOST_WAYS} ways of links lead to this folder; remove links")
    for entry in _entries(folder):
        if _is_folder(entry):
            yield from _walk_in(entry.path, f"{prefix}{entry.name}/", open_folders | {identity}, listed)
        else:
            yield prefix, entry


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False  # a link to itself: whoever reads it says what it is


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as scanned:
            entries = [entry for entry in scanned if not entry.name.startswith(".") and entry.name != "__MACOSX"]
    except OSError as error:
        raise DgaugError(f"{folder}: the folder cannot be read ({error.strerror})") from error
    for entry in entries:
        # Undecodable bytes arrive as lone surrogates, which neither JSON nor HDF5 takes.
        if not entry.name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in entry.name):
            raise DgaugError(f"{folder}: the file name {entry.name!a} is not valid UTF-8; rename the file")
    return entries
