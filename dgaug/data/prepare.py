"""The data of a run: recognised, limited, decoded once, and refused early where nothing can be learned.

A smaller training split is for a first try, and to see what few labelled images are worth; data without a test split
can hold identities out for one.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from dgaug.data.damage import usable_data
from dgaug.data.depth import FULL, Levels, find_levels, use_levels
from dgaug.data.layouts import open_data
from dgaug.data.plausible import doubts
from dgaug.data.records import UNKNOWN_CAMERA, IdentityData, Record, Role, class_names
from dgaug.data.summary import left_out, summary, undecoded
from dgaug.data.toy import write_toy
from dgaug.errors import DgaugError
from dgaug.progress import Progress, silent
from dgaug.settings import DataSettings, Settings

LEAST_IDENTITIES = 2
"""That training and a ranking need each."""
_log = logging.getLogger("dgaug")


def read_data(
    root: Path, settings: DataSettings, *, splits: tuple[str, ...] = ("train",), progress: Progress = silent
) -> IdentityData:
    """A data set as `settings.data` wants it, the images of `splits` known to be readable.

    Raises:
        DgaugError: not recognised, damaged, or fewer than two training identities.
    """
    data = open_data(root, layout=settings.layout, pattern=settings.pattern, cameras=settings.cameras)
    data = with_levels(data, settings.depth)
    data = limited(data, settings)
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
    data, dropped = usable_data(data, damaged=settings.damaged, splits=present, progress=progress)
    if dropped:
        _log.warning("left out %d damaged images, the first: %s", len(dropped), dropped[0].record.path)
    return data


def write_embedded_data(folder: Path, settings: Settings) -> None:
    """Write the embedded data set of `settings.toy`; a folder that holds it is left as it is."""
    toy = settings.toy
    write_toy(
        folder,
        identities=toy.identities,
        images_per_identity=toy.images_per_identity,
        cameras=toy.cameras,
        size=settings.data.image_size,
        seed=settings.seed,
    )


def with_levels(data: IdentityData, depth: str | Levels) -> IdentityData:
    """The data set with the levels of its 16-bit images: `auto`, `full` or the levels; this process reads them so."""
    levels = find_levels(data) if depth == "auto" else None if isinstance(depth, str) else depth
    use_levels(data.root, levels or FULL)
    if levels is None:
        return data
    note = f"16-bit images: {levels[0]:,} becomes black and {levels[1]:,} white"
    return replace(data, levels=levels, notes=(*data.notes, note))


def limited(data: IdentityData, settings: DataSettings) -> IdentityData:
    """The data set with the training records that the limits of `settings.data` leave; see there."""
    seed = settings.subset_seed
    if settings.limit_identities is not None:
        data = limit_identities(data, settings.limit_identities)
    if settings.identities_fraction is not None:
        count = len(class_names(data.splits.get("train", [])))
        data = limit_identities(data, max(1, round(count * settings.identities_fraction)), seed=seed)
    if settings.images_per_identity is not None:
        data = limit_images(data, settings.images_per_identity, seed=seed)
    for fraction, each in ((settings.images_fraction, False), (settings.per_identity_fraction, True)):
        if fraction is not None:
            data = limit_share(data, fraction, seed=seed, each=each)
    return data


def fingerprint(data: IdentityData) -> str:
    """Hex sha256 of the training images' names and sizes: tells whether the data are still the same."""
    digest = hashlib.sha256()
    for record in data.splits["train"]:
        digest.update(f"{record.path}\0{data.image_path(record).stat().st_size}\n".encode())
    return digest.hexdigest()


def limit_identities(data: IdentityData, count: int, *, seed: int | None = None) -> IdentityData:
    """Keep `count` training identities and all their images; the other splits stay whole.

    The first ones in plain string order, or a random choice where a seed is given. Fewer are kept where there are
    fewer.

    Raises:
        DgaugError: a count below one.
    """
    if count < 1:
        raise DgaugError(f"at least one training identity must be left, not {count}")
    train = data.splits.get("train", [])
    names = class_names(train)
    if seed is not None:
        names = [names[k] for k in np.random.default_rng(seed).permutation(len(names))]
    kept = set(names[:count])
    limited = [record for record in train if record.role is Role.IDENTITY and record.identity in kept]
    return replace(data, splits={**data.splits, "train": limited}) if "train" in data.splits else data


def limit_images(data: IdentityData, count: int, *, seed: int) -> IdentityData:
    """Keep `count` images of each training identity, chosen by the seed; all of one that has fewer.

    Whatever the count, the choice of a smaller one is part of that of a larger one.

    Raises:
        DgaugError: a count below one.
    """
    if count < 1:
        raise DgaugError(f"at least one image of each identity must be left, not {count}")
    train = data.splits.get("train", [])
    kept: set[Record] = set()
    counts: Counter[str] = Counter()
    for place in np.random.default_rng(seed).permutation(len(train)):
        record = train[place]
        counts[record.identity] += 1
        if counts[record.identity] <= count:
            kept.add(record)
    limited = [record for record in train if record in kept]
    return replace(data, splits={**data.splits, "train": limited}) if "train" in data.splits else data


def limit_share(data: IdentityData, fraction: float, *, seed: int, each: bool) -> IdentityData:
    """Keep a share of the training images, or with `each` of those of each identity, rounded; at least one of each.

    The choice of a smaller share is part of that of a larger one.
    """
    train = [record for record in data.splits.get("train", []) if record.role is Role.IDENTITY]
    order = [train[place] for place in np.random.default_rng(seed).permutation(len(train))]
    of = Counter(record.identity for record in train)
    first: list[Record] = []
    others: list[Record] = []
    counts: Counter[str] = Counter()
    for record in order:
        counts[record.identity] += 1
        wanted = max(1, round(fraction * of[record.identity])) if each else 1
        (first if counts[record.identity] <= wanted else others).append(record)
    more = 0 if each else max(0, round(fraction * len(train)) - len(first))
    kept = {*first, *others[:more]}
    limited = [record for record in train if record in kept]
    return replace(data, splits={**data.splits, "train": limited}) if "train" in data.splits else data


def hold_out(data: IdentityData, count: int, *, seed: int = 0) -> IdentityData:
    """The data set with `count` training identities in query and gallery instead, chosen by the seed.

    Of each, one image becomes the query and the others the gallery; it has an answer there, from another camera where
    cameras are known. Which identities are held out of a smaller count are part of a larger one.

    Raises:
        DgaugError: a query or gallery is there, or too few identities are left or can be asked for.
    """
    if data.splits.get("query") or data.splits.get("gallery"):
        again = "" if data.manifest is None else f", or remove {data.manifest} first to choose again"
        raise DgaugError(f"{data.source} has a query or gallery split already; leave --hold-out out{again}")
    images: defaultdict[str, list[Record]] = defaultdict(list)
    for record in data.splits.get("train", []):
        if record.role is Role.IDENTITY:
            images[record.identity].append(record)
    names = sorted(images)
    order = [names[place] for place in np.random.default_rng(seed).permutation(len(names))]
    usable = [(name, query) for name in order if (query := _answered_query(images[name])) is not None]
    most = min(len(usable), len(names) - LEAST_IDENTITIES)
    if not LEAST_IDENTITIES <= count <= most:
        limit = f"from {LEAST_IDENTITIES} to {most}" if most >= LEAST_IDENTITIES else "none"
        raise DgaugError(
            f"--hold-out {count}: of the {len(names):,} training identities of {data.source}, {limit} can be held out; "
            "one needs two images, from two cameras where cameras are known, and two identities stay"
        )
    queries = dict(usable[:count])
    test = [record for name in queries for record in images[name]]
    gone = set(test)
    asked = set(queries.values())
    splits = {
        "train": [record for record in data.splits["train"] if record not in gone],
        "query": sorted(asked, key=lambda record: record.path),
        "gallery": sorted(gone - asked, key=lambda record: record.path),
    }
    return replace(data, splits=data.splits | splits)


def _answered_query(records: list[Record]) -> Record | None:
    """The first image that another one answers; None where there is none."""
    for record in records:
        for other in records:
            if other is not record and (record.camera == UNKNOWN_CAMERA or other.camera != record.camera):
                return record
    return None
