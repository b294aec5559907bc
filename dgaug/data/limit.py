"""A smaller training split: for a first try, and to see what few labelled pictures are worth."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from dgaug.data.records import IdentityData, Record, Role, class_names
from dgaug.errors import DgaugError


def limit_identities(data: IdentityData, count: int, *, seed: int | None = None) -> IdentityData:
    """Keep `count` training identities and all their pictures; the other splits stay whole.

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
    """Keep `count` pictures of each training identity, chosen by the seed; all of one that has fewer.

    Whatever the count, the choice of a smaller one is part of that of a larger one.

    Raises:
        DgaugError: a count below one.
    """
    if count < 1:
        raise DgaugError(f"at least one picture of each identity must be left, not {count}")
    train = data.splits.get("train", [])
    kept: set[Record] = set()
    found: Counter[str] = Counter()
    for place in np.random.default_rng(seed).permutation(len(train)):
        record = train[place]
        found[record.identity] += 1
        if found[record.identity] <= count:
            kept.add(record)
    limited = [record for record in train if record in kept]
    return replace(data, splits={**data.splits, "train": limited}) if "train" in data.splits else data
