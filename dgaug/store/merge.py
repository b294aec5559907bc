"""Real and generated images in one data set, as another tool reads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dgaug.data.prepare import fingerprint
from dgaug.data.records import IdentityData
from dgaug.device import AUTO, on_device
from dgaug.errors import DgaugError
from dgaug.interrupts import stop_requests
from dgaug.progress import Progress, silent
from dgaug.runs import locked
from dgaug.store.export_rows import label_policy, store_digest
from dgaug.store.merge_data import Judge, data_of_store, real_images
from dgaug.store.merge_folder import MergeSpec, begin, finish, leave, require_place, working_folder
from dgaug.store.merge_images import write_images
from dgaug.store.merge_names import require_readable_path
from dgaug.store.merge_plan import READERS, Plan, plan_export, quotas, sizes_note
from dgaug.store.merge_selection import HARD, select_images
from dgaug.store.merge_shards import shards_of, write_card, write_shards
from dgaug.store.merge_tables import require_readable, write_tables
from dgaug.store.read import StoreDataset, open_store
from dgaug.surroundings import as_found

TOOLS = ("market", "boxmot", "oml", "wildlife", "csv", "huggingface")
SHARD_SIZE = 10_000
SOFT_TOOLS = ("csv", "huggingface")
"""Tools whose format holds a distribution over identities."""


@dataclass(frozen=True)
class Merged:
    """What was written.

    Attributes:
        out: the folder.
        tool: whose format it has.
        real, generated: numbers of images.
        identities: in the training split.
        labels: the label policy.
        already_complete: whether it was there before.
        notes: what a reader of the result should know, in sentences.
        select: what a judge kept and left out; None where none was asked.
    """

    out: Path
    tool: str
    real: int
    generated: int
    identities: int
    labels: str
    already_complete: bool
    notes: list[str]
    select: Mapping[str, object] | None = None


@as_found
@on_device
def export_merged(
    store: str | Path,
    data: str | Path | None = None,
    *,
    tool: str = "market",
    out: str | Path,
    labels: str | None = None,
    select: str | Judge = "random",
    min_confidence: float = 0.0,
    ratio: float | None = None,
    unknown_camera: int | None = None,
    license: str | None = None,
    shard_size: int = SHARD_SIZE,
    layout: str = "auto",
    pattern: str | None = None,
    cameras: str = "auto",
    seed: int = 0,
    device: str = AUTO,
    force: bool = False,
    progress: Progress = silent,
) -> Merged:
    """Write real images and images of a store as one data set; nothing is called `out` before all of it is there.

    Run again after a stop, it resumes. Real images are hard links, copies where the file system has none.

    Args:
        store: the folder of the store.
        data: the data set that the store was made from; `huggingface` goes without.
        tool: `market`, `boxmot`, `oml`, `wildlife`, `csv` or `huggingface`.
        out: a new or empty folder outside of `data`.
        labels: whose identity a generated image has: `appearance` (None), `structure`, `pseudo`; `csv` and
            `huggingface` take every policy, the latter by default the stored soft labels.
        select: which images where there are more than `ratio` asks for: `random` or `confidence`; or
            `judge:FILE,keep=0.5`: at random, but only of this share of the images of each appearance identity, those
            that an independent re-id checkpoint recognises best.
        min_confidence: leave out images whose highest class probability is lower.
        ratio: generated images for each real training image of an identity; None: 1, or all without `data`.
        unknown_camera: of `market` and `boxmot`, the number in file names of images of unknown camera.
        license: of `huggingface`, the licence of the source images.
        shard_size: of `huggingface`, images per tar file.
        layout, pattern, cameras: how `data` is read; the settings of the store's run where they are not given.
        seed: of `select="random"`.
        device: of a store of codes, where its images are decoded: `auto`, `cpu`, `cuda` or `cuda:N`.
        force: start over, removing what an export wrote in `out` and nothing else.
        progress: told how many images are done.

    Raises:
        DgaugError: the format cannot hold what is asked for, the store was made from other data, or `out` is in use.
        Interrupted: a signal arrived; the same call resumes.
        OSError: the disk is full.
    """
    _require(tool, labels, ratio, license, shard_size, has_data=data is not None)
    opened, out = open_store(store), Path(out)
    judge = None if isinstance(select, str) else select(opened)
    labels = label_policy(opened, labels if labels or tool == "huggingface" else "appearance")
    require_place(out, None if data is None else Path(data), opened.path)
    if tool in READERS:
        require_readable_path(out, READERS[tool])
    real = None
    if data is not None:
        real = data_of_store(opened, Path(data), layout=layout, pattern=pattern, cameras=cameras, progress=progress)
        require_place(out, real.root, opened.path)
    judged = None
    if judge is not None:
        compared = real or real_images(opened, None, layout=layout, pattern=pattern, cameras=cameras, progress=progress)
        judged = judge(compared, progress)
    ratio = ratio or (1.0 if real is not None else float(len(opened)))
    chosen = select_images(
        opened,
        labels=labels if labels in HARD else "appearance",
        most=quotas(opened, ratio),
        select=select if isinstance(select, str) else "random",
        min_confidence=min_confidence,
        seed=seed,
        rows=None if judged is None else judged.rows,
        done=lambda rows: progress("selecting", rows, len(opened)),
    )
    if not len(chosen):
        raise DgaugError(
            f"no image of the store {opened.path} left at --ratio {ratio:g} and --min-confidence {min_confidence:g}: "
            "raise the first or lower the second"
        )
    plan = plan_export(opened, real, chosen, tool=tool, unknown_camera=unknown_camera)
    require_readable(plan, tool)
    spec = MergeSpec(
        tool=tool,
        labels=labels,
        select=select if isinstance(select, str) else judged.name if judged else "",
        min_confidence=min_confidence,
        ratio=ratio,
        seed=seed,
        unknown_camera=unknown_camera,
        license=license or "",
        shard_size=shard_size if tool == "huggingface" else 0,
        images=len(plan.entries),
        store=store_digest(opened),
        data=_digest(real, plan),
    )
    notes = [*plan.notes, *([judged.note] if judged else [])]
    if real is not None:
        images = (one for one in plan.entries if one.row is None)
        notes = [*notes, *sizes_note(real, images, opened.spec.image_size)]
    complete = _write(
        opened, real, plan, spec, out, selected=judged.note if judged else "", force=force, progress=progress
    )
    people = {one.person for one in plan.entries if one.split == "train"}
    counts = None if judged is None else judged.counts
    return Merged(out, tool, len(plan.entries) - len(chosen), len(chosen), len(people), labels, complete, notes, counts)


def _require(
    tool: str, labels: str | None, ratio: float | None, license: str | None, shard_size: int, *, has_data: bool
) -> None:
    if tool not in TOOLS:
        raise DgaugError(f"expected --for to be one of {', '.join(TOOLS)}, found {tool!r}")
    if tool != "huggingface" and not has_data:
        raise DgaugError(f"--for {tool} needs --with DATA: the data set that the store was made from")
    if tool == "huggingface" and not (license or "").strip():
        raise DgaugError(
            "--for huggingface needs --license TEXT: the licence of the source images, for the dataset card"
        )
    if tool != "huggingface" and license is not None:
        raise DgaugError(f"--license is of --for huggingface, found --for {tool}; remove it")
    if shard_size < 1:
        raise DgaugError(f"expected a --shard-size of 1 or more, found {shard_size}")
    if labels not in (None, *HARD) and tool not in SOFT_TOOLS:
        raise DgaugError(
            f"the labels {labels!r} do not name one identity, which is all that the format of --for {tool} holds; use "
            f"--labels {', '.join(HARD[:-1])} or {HARD[-1]}, or --for {' or '.join(SOFT_TOOLS)}"
        )
    if ratio is not None and not 0 < ratio < float("inf"):
        raise DgaugError(f"expected a --ratio above 0, found {ratio}")


def _write(
    store: StoreDataset,
    data: IdentityData | None,
    plan: Plan,
    spec: MergeSpec,
    out: Path,
    *,
    selected: str,
    force: bool,
    progress: Progress,
) -> bool:
    """Whether it was there before."""
    working = working_folder(out)
    with locked(working, what="export"), stop_requests() as stop:
        shards = shards_of(plan, spec.shard_size) if spec.tool == "huggingface" else []
        images = [name for name, _ in shards] or [one.path for one in plan.entries]
        try:
            complete = begin(out, spec, images, force=force)
        except DgaugError:
            leave(working)
            raise
        if complete:
            leave(working)
            return True
        if shards:
            write_card(working, store, plan, shards, labels=spec.labels, license=spec.license, selected=selected)
        else:
            write_tables(working, store, plan, tool=spec.tool, labels=spec.labels)

        def done(images: int) -> None:
            progress("exporting", images, spec.images)
            stop.leave()

        if shards:
            write_shards(working, store, data, shards, labels=spec.labels, done=done)
        else:
            write_images(working, store, data, plan, done=done)
        finish(out, spec)
    return False


def _digest(data: IdentityData | None, plan: Plan) -> str:
    content = [None if data is None else fingerprint(data), plan.digest()]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
