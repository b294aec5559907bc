"""The tables of a merged export, each as its reader documents it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dgaug.data.records import UNKNOWN_CAMERA, Role
from dgaug.errors import DgaugError
from dgaug.files import csv_table, csv_writer, write_text
from dgaug.store.export_formats import label_columns, label_texts
from dgaug.store.export_rows import label_width, row_labels
from dgaug.store.merge_plan import READERS, Entry, Plan
from dgaug.store.policies import policy_classes
from dgaug.store.read import StoreDataset

INDEX = "images.csv"
"""The table of market, boxmot, oml and wildlife that says which images are generated, and from what."""
TABLES = {"csv": "manifest.csv", "oml": "df.csv", "wildlife": "metadata.csv", "boxmot": "market1501.yaml"}
IDENTITIES = "identities.csv"
_UNKNOWN = "unknown"
_INDEX_COLUMNS = ("path", "identity", "camera", "split", "role", "generated", "appearance", "structure")
_YAML = """\
dataset: market1501
path: .
train: bounding_box_train
query: query
gallery: bounding_box_test
"""


def tables_of(tool: str) -> list[str]:
    """The files that an export holds beside its images."""
    if tool == "huggingface":
        return ["README.md"]
    own = [TABLES[tool]] if tool in TABLES else []
    return [*own, *([] if tool == "csv" else [INDEX]), *([IDENTITIES] if tool in READERS else [])]


def write_tables(out: Path, store: StoreDataset, plan: Plan, *, tool: str, labels: str) -> None:
    """Write all tables of a tool; `labels` decides the label columns of `csv`."""
    if tool == "csv":
        _write(out / TABLES[tool], plan, *_soft_columns(store, plan, labels))
        return
    if tool == "oml":
        _write_oml(out / TABLES[tool], plan)
    elif tool == "wildlife":
        _write_wildlife(out / TABLES[tool], plan)
    elif tool == "boxmot":
        write_text(out / TABLES[tool], _YAML)
    if plan.numbers is not None:
        rows = ([number, name] for name, number in plan.numbers.identity.items())
        _table(out / IDENTITIES, ("identity", "name"), rows, list(plan.numbers.identity))
    _write(out / INDEX, plan, [], lambda _: [])


def require_readable(plan: Plan, tool: str) -> None:
    """Refuse identities that pandas, by which a tool reads its table, takes for one another or for empty cells.

    Raises:
        DgaugError: names one.
    """
    if tool != "wildlife":
        return
    names = sorted({one.person for one in plan.entries})
    text = io.StringIO(newline="")
    write_row = csv_writer(text, names)
    for row in (["identity"], *([name] for name in names)):
        write_row(row)
    read = pd.read_csv(io.StringIO(text.getvalue(), newline=""), skip_blank_lines=False)["identity"]
    empty = [name for name, missing in zip(names, read.isna(), strict=True) if missing]
    if empty:
        raise DgaugError(
            f"the identity {empty[0]!r} is an empty cell to pandas, which reads the table of --for wildlife; "
            "rename it, or use --for csv"
        )
    if _UNKNOWN in names:
        raise DgaugError(
            f"the identity {_UNKNOWN!r} is nobody to wildlife-datasets; rename it in the data, or use --for csv"
        )
    twice = [name for name, again in zip(names, read.duplicated(keep=False), strict=True) if again]
    if twice:
        raise DgaugError(
            f"the identities {twice[0]!r} and {twice[1]!r} are one number to pandas, which reads the table of --for "
            "wildlife; rename one, or use --for csv"
        )


def oml_labels(plan: Plan) -> dict[str, int]:
    """An integer for each person: the name's own number where all are different numbers, else counted from 0."""
    names = sorted({one.person for one in plan.entries})
    if all(name.isascii() and name.isdigit() and len(name) < 10 for name in names):
        numbers = {name: int(name) for name in names}
        if len(set(numbers.values())) == len(names):
            return numbers
    return {name: number for number, name in enumerate(names)}


def _write(path: Path, plan: Plan, more: Sequence[str], extra: Callable[[Entry], Sequence[object]]) -> None:
    rows = ([*_row(one, plan), *extra(one)] for one in plan.entries)
    _table(path, (*_INDEX_COLUMNS, *more), rows, _texts(plan))


def _row(one: Entry, plan: Plan) -> list[object]:
    donors = ["", ""] if one.row is None else [plan.sources[one.appearance], plan.sources[one.structure]]
    return [one.path, one.person, _camera(one), one.split, one.record.role.value, int(one.row is not None), *donors]


def _write_oml(path: Path, plan: Plan) -> None:
    labels = oml_labels(plan)

    def rows() -> Iterator[list[object]]:
        for one in plan.entries:
            train = one.split == "train"
            asked = ["", ""] if train else [one.split == "query", one.split == "gallery"]
            # Of one sequence are images of one camera and person: OML leaves these out of a ranking.
            known = not train and one.record.camera != UNKNOWN_CAMERA and one.record.role is Role.IDENTITY
            sequence = f"{labels[one.person]}_c{one.record.camera}" if known else "" if train else one.path
            split = "train" if train else "validation"
            yield [labels[one.person], one.path, split, *asked, sequence, one.person, _camera(one)]

    columns = ("label", "path", "split", "is_query", "is_gallery", "sequence", "identity", "camera")
    _table(path, columns, rows(), _texts(plan))


def _write_wildlife(path: Path, plan: Plan) -> None:
    columns = ("image_id", "identity", "path", "split", "camera", "generated")
    rows = (
        [number, one.person, one.path, one.split, _camera(one), int(one.row is not None)]
        for number, one in enumerate(plan.entries)
    )
    _table(path, columns, rows, _texts(plan))


def _soft_columns(
    store: StoreDataset, plan: Plan, labels: str
) -> tuple[list[str], Callable[[Entry], Sequence[object]]]:
    """Names of the label columns, and what stands in them for an image; a real one is wholly of its identity."""
    width = label_width(store, labels)
    rows = np.array([one.row for one in plan.entries if one.row is not None], np.int64)
    names = policy_classes(labels, store.sources.class_name)
    of_row: dict[int, list[str]] = dict(
        zip(rows.tolist(), label_texts(row_labels(store, labels, rows), names), strict=True)
    )
    empty = [""] * (2 * (width - 1))

    def extra(one: Entry) -> Sequence[object]:
        if one.row is not None:
            return of_row[one.row]
        return [one.person, "1.0", *empty, "0.0"] if one.split == "train" else ["", "", *empty, ""]

    return label_columns(width), extra


def _camera(one: Entry) -> object:
    return "" if one.record.camera == UNKNOWN_CAMERA else one.record.camera


def _texts(plan: Plan) -> list[str]:
    return [*(one.path for one in plan.entries), *(one.person for one in plan.entries), *plan.sources]


def _table(path: Path, columns: Sequence[str], rows: Iterator[Sequence[object]], texts: Sequence[str]) -> None:
    with csv_table(path, columns, texts) as write_row:
        for row in rows:
            write_row(row)
