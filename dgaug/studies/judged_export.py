"""The exports of a store, of all its images or of those alone that a judge keeps: `select="judge:FILE,keep=0.5"`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

from dgaug.data.records import IdentityData
from dgaug.progress import Progress
from dgaug.store import export, merge
from dgaug.store.merge_data import Judge, Judged, run_of
from dgaug.store.read import StoreDataset

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def judge_of(select: str) -> Judge:
    """The judge that `judge:FILE,keep=0.5` names.

    Raises:
        DgaugError: another form.
    """
    from dgaug.studies.feeds import Fitting, Source, fit
    from dgaug.studies.selection import JUDGE, parse_selection, require_judge, selected
    from dgaug.training.batches import LabelledImages

    selection = parse_selection(select, by=(JUDGE,))

    def opened(store: StoreDataset) -> Callable[[IdentityData, Progress], Judged]:
        run = run_of(store.path)
        judge = require_judge(selection, [Source(store, Fitting(), None)], [] if run is None else [run.teacher])

        def judged(data: IdentityData, progress: Progress) -> Judged:
            images = LabelledImages.of(data, store.spec.image_size)
            whole = Source(store, fit(store, images, labels=False), None)
            chosen, made = selected(whole, selection, judge, images, progress=progress)
            rows = chosen.fitting.rows
            assert rows is not None
            digest = hashlib.sha256(rows.astype(np.int64).tobytes()).hexdigest()
            name = f"judge:{made.judge_sha256},keep={made.keep:g},rows={digest[:12]}"
            return Judged(name, rows, made.described(), made.sentence())

        return judged

    return opened


def takes_judge(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """An export whose `select` may be the text `judge:FILE,keep=0.5` too."""

    @wraps(function)
    def exported(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        select = kwargs.get("select")
        if isinstance(select, str) and select.startswith("judge"):
            kwargs["select"] = judge_of(select)
        return function(*args, **kwargs)

    return exported


export_merged = takes_judge(merge.export_merged)
export_store = takes_judge(export.export_store)
