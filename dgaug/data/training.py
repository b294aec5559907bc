"""The data of a run: recognised, limited, decoded once, and refused early where nothing can be learned."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

from dgaug.data.damage import usable_data
from dgaug.data.depth import FULL, Levels, find_levels, use_levels
from dgaug.data.layouts import open_data
from dgaug.data.left_out import left_out, undecoded
from dgaug.data.limit import limit_identities, limit_images
from dgaug.data.plausible import doubts
from dgaug.data.records import IdentityData, Role, class_names
from dgaug.data.summary import summary
from dgaug.errors import DgaugError
from dgaug.progress import Progress, silent
from dgaug.settings import DataSettings

_log = logging.getLogger("dgaug")


def read_data(
    root: Path, settings: DataSettings, *, splits: tuple[str, ...] = ("train",), progress: Progress = silent
) -> IdentityData:
    """A data set as `settings.data` wants it, the pictures of `splits` known to be readable.

    Raises:
        DgaugError: not recognised, damaged, or fewer than two training identities.
    """
    data = open_data(root, layout=settings.layout, pattern=settings.pattern, cameras=settings.cameras)
    data = with_levels(data, settings.depth)
    data = _limited(data, settings)
    train = [record for record in data.splits.get("train", []) if record.role is Role.IDENTITY]
    data = replace(data, splits=data.splits | {"train": train})
    identities = len(class_names(train))
    if "train" in splits and identities < 2:
        raise DgaugError(
            f"{root}: {identities} training {'identity' if identities == 1 else 'identities'} found, at least two are "
            "needed to learn what tells them apart; dgaug data check shows what was read"
        )
    if splits:
        _log.info("%s", summary(data))
        for sentence in (*data.notes, *doubts(data), *undecoded(left_out(data))):
            _log.warning("%s: %s", data.source, sentence)
    present = tuple(split for split in splits if split in data.splits)
    data, dropped = usable_data(
        data,
        damaged=settings.damaged,
        splits=present,
        on_progress=lambda done, total: progress("reading pictures", done, total),
    )
    if dropped:
        _log.warning("left out %d damaged pictures, the first: %s", len(dropped), dropped[0].record.path)
    return data


def with_levels(data: IdentityData, depth: str | Levels) -> IdentityData:
    """The data set with the levels of its 16-bit images: `auto`, `full` or the levels; this process reads them so."""
    levels = find_levels(data) if depth == "auto" else None if isinstance(depth, str) else depth
    use_levels(data.root, levels or FULL)
    if levels is None:
        return data
    note = f"16-bit images: {levels[0]:,} becomes black and {levels[1]:,} white"
    return replace(data, levels=levels, notes=(*data.notes, note))


def _limited(data: IdentityData, settings: DataSettings) -> IdentityData:
    seed = settings.subset_seed
    if settings.limit_identities is not None:
        data = limit_identities(data, settings.limit_identities)
    if settings.identities_fraction is not None:
        count = len(class_names(data.splits.get("train", [])))
        data = limit_identities(data, max(1, round(count * settings.identities_fraction)), seed=seed)
    if settings.images_per_identity is not None:
        data = limit_images(data, settings.images_per_identity, seed=seed)
    return data


def fingerprint(data: IdentityData) -> str:
    """Hex sha256 of the training pictures' names and sizes: tells whether the data are still the same."""
    digest = hashlib.sha256()
    for record in data.splits["train"]:
        digest.update(f"{record.path}\0{data.picture_path(record).stat().st_size}\n".encode())
    return digest.hexdigest()
