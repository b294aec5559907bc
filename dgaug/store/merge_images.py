"""The image files of a merged export: links to the real ones, generated ones from the store."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from dgaug.data.records import IdentityData
from dgaug.files import whole
from dgaug.store.codecs import encode
from dgaug.store.export_rows import QUALITY
from dgaug.store.index import file_size
from dgaug.store.merge_plan import Entry, Plan
from dgaug.store.read import StoreDataset

Done = Callable[[int], None]
"""Told how many images are there; may raise to stop."""
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES)
_AT_ONCE = 64


def write_images(folder: Path, store: StoreDataset, data: IdentityData | None, plan: Plan, *, done: Done) -> None:
    """Write every image of a plan that is not there yet; one that has its name is whole.

    Raises:
        DgaugError: an image of the store is damaged.
        OSError: the disk is full.
    """
    for parent in {(folder / one.path).parent for one in plan.entries}:
        parent.mkdir(parents=True, exist_ok=True)
    real = [one for one in plan.entries if one.row is None]
    for number, one in enumerate(real, start=1):
        assert data is not None
        link_or_copy(data.image_path(one.record), folder / one.path)
        if number % _AT_ONCE == 0:
            done(number)
    generated = iter([one for one in plan.entries if one.row is not None])
    written = len(real)
    while batch := list(islice(generated, _AT_ONCE)):
        missing = batch if store.spec.codec == "jpeg" else [one for one in batch if not file_size(folder / one.path)]
        for one, content in zip(missing, jpegs(store, missing), strict=True):
            # After a power cut a renamed file may be empty or short.
            if file_size(folder / one.path) != len(content):
                with whole(folder / one.path, synced=False) as aside:
                    aside.write_bytes(content)
        written += len(batch)
        done(written)


def jpegs(store: StoreDataset, entries: Sequence[Entry]) -> list[bytes]:
    """Generated images as JPEG files, bit by bit those of the store where it keeps such; DgaugError where damaged."""
    rows = [one.row for one in entries if one.row is not None]
    if store.spec.codec == "jpeg":
        return [store.stored_bytes(row) for row in rows]
    return [encode(item.image, codec="jpeg", quality=QUALITY) for item in store.__getitems__(rows)]


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a hard link to a file, a copy where the file system refuses one; kept where it is there."""
    source = Path(os.path.realpath(source))
    if target.exists():
        if target.samefile(source) or target.stat().st_size == source.stat().st_size:
            return
        target.unlink()
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        with whole(target, synced=False) as aside:
            shutil.copyfile(source, aside)
