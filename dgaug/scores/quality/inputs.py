"""What is scored, against what, and where the results go: found before anything is computed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from dgaug.data.layouts import open_data
from dgaug.data.listing import holds_images
from dgaug.data.prepare import read_data
from dgaug.data.recorded import read_run_data
from dgaug.data.records import IdentityData
from dgaug.device import default_device
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import ReidModel, load_reid
from dgaug.progress import Progress
from dgaug.runs import Run, find_run
from dgaug.scores.quality.feature_statistics import Given
from dgaug.scores.quality.image_sets import ImageSet
from dgaug.settings import DataSettings
from dgaug.store.safe_hdf5 import is_store, store_folder

_log = logging.getLogger("dgaug")

Side = ImageSet | Given


@dataclass(frozen=True)
class Subject:
    """What is scored, against what.

    Attributes:
        generated: the images that are scored.
        real: those that they are compared with.
        donors: the folder that a store's source paths start from; None where it is not known.
        teacher: the model that made the labels; None where there is none.
        folder: of the results; None: nothing is written.
    """

    generated: Side
    real: Side
    donors: Path | None
    teacher: ReidModel | None
    folder: Path | None


def find_subject(
    target: str | Path | None,
    *,
    run: str | Path,
    real: str | Path | None,
    teacher: str | Path | None,
    out: str | Path | None,
    progress: Progress,
) -> Subject:
    """Resolve what `score_fid` was given.

    Raises:
        DgaugError: something is missing, damaged or not what it should be.
    """
    owner = _run_of(target, run, needed=real is None)
    path = Path(target) if target is not None else owner.store if owner else None
    if path is None:
        raise DgaugError("nothing to score: give a STORE or FOLDER")
    settings = owner.settings().data if owner is not None else DataSettings()
    generated = _generated(path, progress)
    home = owner.data_folder() if owner is not None and (real is None or owner.knows_data()) else None
    if real is not None:
        own = owner is not None and home is not None and Path(real) in (owner.data_root(), home)
        content, start = _real(Path(real), settings if own else None, progress)
    elif owner is not None:
        data = read_run_data(owner, progress=progress)
        content, start = _images_of(data), data.root
    else:
        raise DgaugError("nothing to compare with: give --real DIR, the data set of real images")
    chosen = Path(teacher) if teacher is not None else owner.teacher if owner and owner.teacher.is_file() else None
    folder = Path(out) if out is not None else owner.scores if owner else None
    donors = _donors(generated, [root for root in (home, start) if root is not None])
    return Subject(generated, content, donors, None if chosen is None else _teacher(chosen), folder)


def _donors(generated: Side, roots: list[Path]) -> Path | None:
    """The first of the roots that all of a store's sources lie below: the run that is named may have other data."""
    store = generated.store if isinstance(generated, ImageSet) else None
    paths = [] if store is None else store.sources.path
    there = [root for root in roots if all((root / path).is_file() for path in paths)]
    return next(iter([*there, *roots]), None)


def _run_of(target: str | Path | None, run: str | Path, *, needed: bool) -> Run | None:
    if target is None:
        return find_run(str(run))
    path = Path(target)
    inside = Run((store_folder(path) if is_store(path) else path).resolve().parent)
    if inside.config.is_file():
        return inside
    if needed and run == "latest":
        raise DgaugError(f"{target} lies in no run folder; give --real DIR, the data set to compare with, or --run RUN")
    return find_run(str(run)) if run != "latest" else None


def _generated(path: Path, progress: Progress) -> Side:
    if _is_statistics(path):
        return Given.load(path)
    if path.suffix.lower() == ".csv":
        return _training_images(path, DataSettings(), progress)
    return ImageSet.open(path)


def _real(root: Path, settings: DataSettings | None, progress: Progress) -> tuple[Side, Path | None]:
    """The real side, and the folder that its data set's paths start from."""
    if _is_statistics(root):
        return Given.load(root), None
    if is_store(root):
        return ImageSet.open(root), None
    if settings is None and _is_plain_folder(root):
        images = ImageSet.open(root)
        _log.info("%s: no data set of identities and splits, taken as a folder of %d images", root, len(images))
        return images, root
    content = _training_images(root, settings or DataSettings(), progress)
    return content, content.root


def _training_images(root: Path, settings: DataSettings, progress: Progress) -> ImageSet:
    return _images_of(read_data(root, settings, progress=progress))


def _images_of(data: IdentityData) -> ImageSet:
    return ImageSet(data.layout, data.root, [data.image_path(record) for record in data.splits["train"]])


def _is_plain_folder(root: Path) -> bool:
    """Whether a folder holds images and no data set with splits."""
    if not root.is_dir():
        return False
    try:
        data = open_data(root)
    except DgaugError:
        return holds_images(root)
    return data.layout == "identity-folders" and set(data.splits) == {"train"}


def _is_statistics(path: Path) -> bool:
    return path.suffix.lower() == ".npz"


def _teacher(path: Path) -> ReidModel:
    model = load_reid(path)
    model.network.to(default_device())
    return model
