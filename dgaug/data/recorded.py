"""What a run records of its data, and opening them again: the same records, or an error that says what differs."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from dgaug.data.prepare import fingerprint, read_data
from dgaug.data.records import UNKNOWN_CAMERA, IdentityData, Record
from dgaug.errors import DgaugError
from dgaug.files import csv_writer, write_text
from dgaug.progress import Progress, silent
from dgaug.runs import Run
from dgaug.settings import DataSettings

_log = logging.getLogger("dgaug")
_COLUMNS = ("split", "path", "identity", "camera", "role")
_LIMITS = (
    "limit_identities",
    "identities_fraction",
    "images_per_identity",
    "images_fraction",
    "per_identity_fraction",
    "subset_seed",
    "damaged",
)
_Rows = dict[tuple[str, str], tuple[str, str, str]]


def described(data: IdentityData) -> dict[str, object]:
    """What a run records of its data: root (what opens them again), layout, images, fingerprint, records."""
    return {
        "root": str(place_of(data.source)),
        # A YAML may lie elsewhere than its images.
        **({"folder": str(data.root.resolve())} if data.layout == "boxmot-yaml" else {}),
        "layout": data.layout,
        "images": len(data.splits["train"]),
        "fingerprint": fingerprint(data),
        "records": _digest(_table(data.listed)),
    }


def place_of(source: Path) -> Path:
    """Where a folder or a manifest is, whatever the current directory; a link to a manifest stays where it lies."""
    return source.parent.resolve() / source.name if source.is_file() else source.resolve()


def write_records(run: Run, data: IdentityData) -> None:
    """Write `records.csv` of a run: split, path, identity, camera and role of every image of its data."""
    write_text(run.records, _table(data.listed))


def read_run_data(
    run: Run,
    settings: DataSettings | None = None,
    *,
    splits: tuple[str, ...] = ("train",),
    progress: Progress = silent,
) -> IdentityData:
    """The data of a run, from where they were recorded; `settings` None: the run's own.

    Raises:
        DgaugError: they are gone, or their training records are not those of the run: says what differs.
    """
    own = run.settings().data
    settings = settings or own
    if settings.depth == "auto":  # what a run does not record it was not trained with
        settings = settings.model_copy(update={"depth": "full"})
    data = read_data(run.data_root(), settings, splits=splits, progress=progress)
    recorded = run.data_description()
    require_recorded(run, data, recorded, remedy="restore them, or train a new run on them")
    same_limits = all(getattr(own, name) == getattr(settings, name) for name in _LIMITS)
    # A run of 0.1 recorded names and sizes of the training images that were left after limits and damaged files.
    if "records" not in recorded and same_limits and ("train" in splits or own.damaged == "refuse"):
        require_fingerprint(run, data, recorded, remedy="restore them, or train a new run on them")
    return data


def require_recorded(run: Run, data: IdentityData, recorded: Mapping[str, object], *, remedy: str) -> None:
    """Refuse data whose training records are not those that a run recorded; other splits are compared aloud.

    Raises:
        DgaugError: says what differs, and `remedy`.
    """
    if recorded.get("records") in (None, _digest(_table(data.listed))):
        return
    before, now = _recorded_rows(run), _rows(data.listed)
    if before is None:
        raise DgaugError(
            f"the data at {data.source} are not those {run.folder} was started with, and its {run.records.name}, which "
            f"says what they were, is missing or changed; {remedy}"
        )
    splits = {split for split, _ in [*before, *now]}
    changed = {split: _difference(_of(before, split), _of(now, split)) for split in sorted(splits)}
    if changed.get("train"):
        raise DgaugError(
            f"the data at {data.source} are not those {run.folder} was started with: {changed['train']}; {remedy}"
        )
    for split, difference in changed.items():
        if difference and _of(before, split):
            _log.warning("%s: other %s images than when %s was started: %s", data.source, split, run.folder, difference)


def require_fingerprint(run: Run, data: IdentityData, recorded: Mapping[str, object], *, remedy: str) -> None:
    """Refuse data whose training images have other names or file sizes than a run recorded.

    Raises:
        DgaugError: says so, and `remedy`.
    """
    if recorded.get("fingerprint") not in (None, fingerprint(data)):
        images = recorded.get("images")
        raise DgaugError(
            f"the data at {data.source} are not those {run.folder} was started with: {len(data.splits['train']):,} "
            f"training images, {images:,} were recorded, and names or file sizes differ; {remedy}"
        )


def require_same_files(run: Run, data: IdentityData, *, remedy: str) -> None:
    """Refuse data that have the training images of a run by path and identity, but other files.

    Nothing is compared where a run trained on other images, or its record of them is missing.

    Raises:
        DgaugError: says so, and `remedy`.
    """
    recorded = run.data_description()
    rows = _recorded_rows(run)
    train = [("train", record.path) for record in data.splits["train"]]
    if rows is None or recorded.get("images") != len(train) or not all(key in rows for key in train):
        return
    require_fingerprint(run, data, recorded, remedy=remedy)


def _table(splits: Mapping[str, Sequence[Record]]) -> str:
    table = io.StringIO(newline="")
    records = [(split, record) for split, records in splits.items() for record in records]
    write_row = csv_writer(table, (name for _, record in records for name in (record.path, record.identity)))
    write_row(_COLUMNS)
    for split, record in records:
        write_row((split, record.path, record.identity, record.camera, record.role.value))
    return table.getvalue()


def _digest(table: str) -> str:
    return hashlib.sha256(table.encode()).hexdigest()


def _rows(splits: Mapping[str, Sequence[Record]]) -> _Rows:
    return {
        (split, record.path): (record.identity, str(record.camera), record.role.value)
        for split, records in splits.items()
        for record in records
    }


def _recorded_rows(run: Run) -> _Rows | None:
    """The rows of `records.csv`; None where it is not the file that the digest was made of."""
    try:
        with run.records.open(encoding="utf-8", newline="") as stream:
            table = stream.read()
        if _digest(table) != run.data_description().get("records"):
            return None
        rows = list(csv.reader(io.StringIO(table, newline="")))[1:]
        return {(split, path): (identity, camera, role) for split, path, identity, camera, role in rows}
    except (OSError, ValueError, csv.Error):
        return None


def _of(rows: _Rows, split: str) -> _Rows:
    return {key: row for key, row in rows.items() if key[0] == split}


def _difference(before: _Rows, now: _Rows) -> str:
    """In words, the first image of each kind named; empty where nothing differs."""
    differences = [
        _named("more", sorted(now.keys() - before.keys())),
        _named("missing", sorted(before.keys() - now.keys())),
    ]
    both = sorted(before.keys() & now.keys())
    for place, column in enumerate(("identity", "camera", "role")):
        other = [key for key in both if before[key][place] != now[key][place]]
        values = f": {_value(before[other[0]][place])}, now {_value(now[other[0]][place])}" if other else ""
        differences.append(_named(f"of another {column}", other, values))
    return ", ".join(filter(None, differences))


def _named(kind: str, keys: Sequence[tuple[str, str]], values: str = "") -> str:
    if not keys:
        return ""
    more = ", ..." if len(keys) > 1 else ""
    return f"{len(keys):,} {'image' if len(keys) == 1 else 'images'} {kind} ({keys[0][1]}{values}{more})"


def _value(text: str) -> str:
    return "unknown" if text == str(UNKNOWN_CAMERA) else repr(text)
