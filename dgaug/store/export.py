"""Write a store in forms that other programs read: Market-style folders, WebDataset tar files, a CSV table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dgaug.data.records import UNKNOWN_CAMERA
from dgaug.device import AUTO, on_device
from dgaug.errors import DgaugError
from dgaug.interrupts import stop_requests
from dgaug.progress import Progress, silent
from dgaug.runs import locked
from dgaug.store.export_folder import ExportSpec, begin_export, finish_export, require_export_folder
from dgaug.store.export_formats import MarketNames, market_names, write_csv, write_folders, write_tars
from dgaug.store.export_rows import Rows, label_policy, store_digest
from dgaug.store.merge_data import Judge, real_images
from dgaug.store.read import StoreDataset, open_store
from dgaug.surroundings import as_found

KINDS = ("folders", "webdataset", "csv")
SHARD_SIZE = 10_000


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        out: the folder.
        to: `folders`, `webdataset` or `csv`.
        images: how many (rows of the table for `csv`).
        labels: the label policy.
        already_complete: whether it was there before.
        notes: what a reader of the result should know, in sentences.
        select: what a judge kept and left out; None where none was asked.
    """

    out: Path
    to: str
    images: int
    labels: str
    already_complete: bool
    notes: list[str]
    select: Mapping[str, object] | None = None

    @property
    def pictures(self) -> int:
        """The name that `images` had before."""
        return self.images


@as_found
@on_device
def export_store(
    store: str | Path,
    *,
    to: str = "folders",
    out: str | Path,
    labels: str | None = None,
    identity: str = "appearance",
    unknown_camera: int | None = None,
    shard_size: int = SHARD_SIZE,
    limit: int | None = None,
    select: str | Judge | None = None,
    data: str | Path | None = None,
    layout: str = "auto",
    pattern: str | None = None,
    cameras: str = "auto",
    device: str = AUTO,
    force: bool = False,
    progress: Progress = silent,
) -> Export:
    """Write a finished store in another form, in constant memory; run again after a stop, it resumes.

    Args:
        store: the folder of the store.
        to: `folders` (Market-1501 names), `webdataset` (tar files) or `csv` (pairs and labels, no images).
        out: a new or empty folder.
        labels: the label policy; None: the teacher's soft label, the appearance donor's identity where there is none.
        identity: of `folders`, whose identity a file name carries: `appearance`, `structure`, or `new`: one further
            identity for all images.
        unknown_camera: of `folders`, the camera number of images whose camera is unknown; None: names without one.
        shard_size: of `webdataset`, images per tar file.
        limit: only the first images.
        select: `judge:FILE,keep=0.5`: only this share of the images of each appearance identity, those that an
            independent re-id checkpoint recognises best.
        data: with `select`, the real images that the store was made from; None: those of the run that it lies in.
        layout, pattern, cameras: how `data` is read; the settings of the store's run where they are not given.
        device: of a store of codes, where its images are decoded: `auto`, `cpu`, `cuda` or `cuda:N`.
        force: start over, removing what an export wrote in `out` and nothing else.
        progress: told how many images are done.

    Raises:
        DgaugError: the store is unfinished or damaged, `out` is in use, or an option does not fit.
        Interrupted: a signal arrived; the same call resumes.
        OSError: the disk is full.
    """
    if to not in KINDS:
        raise DgaugError(f"expected --to to be one of {', '.join(KINDS)}, found {to!r}")
    if shard_size < 1 or (limit is not None and limit < 1):
        raise DgaugError(f"expected a shard size and a limit of 1 or more, found {shard_size} and {limit}")
    if to != "folders" and (identity, unknown_camera) != ("appearance", None):
        raise DgaugError(f"--identity and --unknown-camera make file names of --to folders, found --to {to}")
    if isinstance(select, str):
        raise DgaugError(f"expected --select judge:FILE,keep=0.5 with --to {to}, found {select!r}")
    if data is not None and select is None:
        raise DgaugError(f"--with has no effect with --to {to} but for --select judge:FILE; remove it")
    opened, out = open_store(store), Path(out)
    judge = None if select is None else select(opened)
    if not len(opened):
        raise DgaugError(f"expected images in the store {opened.path}, found none; lower its --min-confidence")
    names = market_names(opened.sources, identity=identity, unknown_camera=unknown_camera)
    labels = label_policy(opened, labels)
    require_export_folder(out)
    rows: Rows = range(len(opened))
    judged = None
    if judge is not None:
        root = None if data is None else Path(data)
        real = real_images(opened, root, layout=layout, pattern=pattern, cameras=cameras, progress=progress)
        judged = judge(real, progress)
        rows = judged.rows
    rows = rows[:limit]
    spec = ExportSpec(
        to=to,
        labels=labels,
        identity=identity,
        unknown_camera=unknown_camera,
        pictures=len(rows),
        shard_size=shard_size if to == "webdataset" else 0,
        store=store_digest(opened),
        select=None if judged is None else judged.name,
    )
    with locked(out, what="export"):
        complete = begin_export(out, spec, force=force)
        if not complete:
            _write(opened, out, spec, rows, names=names, progress=progress)
            finish_export(out, spec)
    notes = _notes(opened, names) if to == "folders" else []
    if judged is not None:
        notes.append(judged.note)
    return Export(out, to, spec.pictures, spec.labels, complete, notes, judged.counts if judged else None)


def _write(
    store: StoreDataset, out: Path, spec: ExportSpec, rows: Rows, *, names: MarketNames, progress: Progress
) -> None:
    with stop_requests() as stop:

        def done(images: int) -> None:
            progress("exporting", images, spec.pictures)
            # What is left after the last image takes no time; it is finished first.
            if images < spec.pictures:
                stop.leave()

        if spec.to == "folders":
            write_folders(store, out, spec, rows, names=names, done=done)
        elif spec.to == "webdataset":
            write_tars(store, out, spec, rows, done=done)
        else:
            write_csv(store, out, spec, rows, done=done)


def _notes(store: StoreDataset, names: MarketNames) -> list[str]:
    notes = []
    if names.renumbered:
        notes.append("the identities' names are not all different numbers: counted from 1, see identities.csv")
    unknown = int(np.count_nonzero(store.sources.camera == UNKNOWN_CAMERA))
    if unknown:
        done = (
            "names of images on their structure have no camera field; toolboxes that need one: --unknown-camera N"
            if names.unknown_camera is None
            else f"names of images on their structure say c{names.unknown_camera}, which is no camera"
        )
        notes.append(f"{unknown:,} of {len(store.sources):,} source images have an unknown camera: {done}")
    if names.identity == "new":
        notes.append(f"every image has the identity {names.further}, which no source has")
    return notes
