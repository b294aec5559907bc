"""A test split for data without one: some training identities become query and gallery."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np

from dgaug.data.records import UNKNOWN_CAMERA, IdentityData, Record, Role
from dgaug.errors import DgaugError

LEAST = 2
"""Identities that training and a ranking need each."""


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
    usable = [(name, query) for name in order if (query := _query(images[name])) is not None]
    most = min(len(usable), len(names) - LEAST)
    if not LEAST <= count <= most:
        limit = f"from {LEAST} to {most}" if most >= LEAST else "none"
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


def _query(records: list[Record]) -> Record | None:
    """The first image that another one answers; None where there is none."""
    for record in records:
        for other in records:
            if other is not record and (record.camera == UNKNOWN_CAMERA or other.camera != record.camera):
                return record
    return None
