"""Open a data set in whatever layout it comes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

from dgaug.data.folders import SPLIT_FOLDERS, read_dgnet_folders, read_identity_folders, read_split_folders
from dgaug.data.formats import is_image
from dgaug.data.listing import list_files, list_folders, list_images
from dgaug.data.market import read_cuhk03, read_market, read_veri
from dgaug.data.msmt17 import read_msmt17
from dgaug.data.patterned import read_patterned
from dgaug.data.plausible import MANIFEST_ADVICE, require_identity_folders
from dgaug.data.records import UNKNOWN_CAMERA, IdentityData
from dgaug.data.summary import first_of
from dgaug.data.tool_tables import YAML_ENDINGS, read_any_table, read_boxmot, read_table_folder
from dgaug.errors import DgaugError

LAYOUTS = (
    "market1501",
    "dukemtmc-reid",
    "msmt17",
    "cuhk03-np",
    "veri776",
    "dgnet-folders",
    "identity-folders",
    "manifest",
    "oml-csv",
    "wildlife-csv",
    "boxmot-yaml",
)
CAMERA_POLICIES = ("auto", "none", "required")

# Tried in this order: what names its splits comes before what could be anything.
_READERS: tuple[Callable[[Path], IdentityData | None], ...] = (
    read_table_folder,
    read_market,
    read_veri,
    read_msmt17,
    read_cuhk03,
    read_dgnet_folders,
    read_split_folders,
)
# A folder with more sub-folders than this is no wrapper around a data set.
_MOST_WRAPPED = 10


def open_data(
    root: str | Path, *, layout: str = "auto", pattern: str | None = None, cameras: str = "auto"
) -> IdentityData:
    r"""Recognise a data set and list its images, without opening them.

    Args:
        root: a folder in one of `LAYOUTS`, or one that holds such a folder, or a file: a manifest or a table of
            another tool (`.csv`), a data set of boxmot (`.yaml`).
        layout: one of `LAYOUTS`, or `auto`.
        pattern: a regular expression for file names of your own, such as `(?P<identity>\d+)_cam(?P<camera>\d+)`;
            groups: `identity`, optional `camera` and `split`. It is searched (anchor with ^ and $) in the POSIX path
            with its suffix, relative to the split's folder (`train`, `query`, `gallery`, ...); relative to `root`
            where there are none, or where the pattern has a `split` group. Every image must match.
        cameras: `auto` takes those the layout gives, others are `UNKNOWN_CAMERA`; `none` forgets them all; `required`
            refuses a data set with an unknown one.

    Returns:
        The data set; records sorted by path. `root` is the folder that the paths start from.

    Raises:
        DgaugError: nothing there, no layout recognised, or a name, line or camera that cannot be read.
    """
    root = Path(root)
    if layout not in ("auto", *LAYOUTS):
        raise DgaugError(f"unknown layout {layout!r}; known are auto, {', '.join(LAYOUTS)}")
    if cameras not in CAMERA_POLICIES:
        raise DgaugError(f"unknown camera policy {cameras!r}; known are {', '.join(CAMERA_POLICIES)}")
    if not root.exists():
        raise DgaugError(f"{root}: no such folder")
    if root.is_file() and root.suffix.lower() not in (".csv", *YAML_ENDINGS):
        raise DgaugError(f"{root}: a data set is a folder, a table (.csv) or a .yaml of boxmot, this is another file")
    if pattern is not None:
        if root.is_file() or layout != "auto":
            raise DgaugError("a pattern reads a folder whose layout is not known; drop the pattern or the layout")
        data = read_patterned(root, pattern)
    elif root.is_file():
        data = read_any_table(root) if root.suffix.lower() == ".csv" else read_boxmot(root)
    else:
        data = _recognise(root, layout)
    if not any(data.splits.values()):
        raise DgaugError(f"{data.root}: recognised as {data.layout}, but there is no image in it")
    data = _in_one_form(data)
    return _with_cameras(replace(data, listed=data.splits), cameras)


def _recognise(root: Path, layout: str) -> IdentityData:
    recognised = _read_here(root, layout)
    folders = list_folders(root)
    if recognised is None and len(folders) <= _MOST_WRAPPED:
        wrapped = [data for name in folders if (data := _read_here(root / name, layout)) is not None]
        if len(wrapped) > 1:
            inside = ", ".join(str(data.root) for data in wrapped)
            raise DgaugError(f"{root}: holds several data sets; give one of {inside}")
        recognised = wrapped[0] if wrapped else None
    if recognised is None and layout in ("auto", "identity-folders"):
        recognised = read_identity_folders(root)
    if recognised is None:
        raise DgaugError(_not_recognised(root, layout))
    if layout == "auto" and recognised.layout == "identity-folders":
        require_identity_folders(recognised)
    return recognised


def _read_here(root: Path, layout: str) -> IdentityData | None:
    for read in _READERS:
        data = read(root)
        if data is not None and layout in ("auto", data.layout):
            return data
    return None


def _not_recognised(root: Path, layout: str) -> str:
    looked_for = {
        "auto": "bounding_box_train (Market-1501, DukeMTMC-reID, CUHK03-NP), image_train (VeRi-776), list_train.txt "
        "(MSMT17), train_all (DG-Net), train/<identity>, <identity>/, manifest.csv, df.csv and "
        "metadata.csv",
    }.get(layout, f"the layout {layout}")
    folders, files, images = list_folders(root), list_files(root), list_images(root)
    recognised = [f"the folders {first_of(folders)}"] if folders else []
    if others := [name for name in files if not is_image(str(root / name))]:
        recognised.append(f"the files {first_of(others)}")
    recognised.append(f"{len(images):,} images, the first {images[0]!r}" if images else "no image")
    remedy = _remedy(images) if images else "unpack the data set first"
    if root.name.lower() in SPLIT_FOLDERS:
        remedy = f"give the folder that holds {root.name}, or " + remedy
    return f"{root}: no data set recognised; looked for {looked_for}; found {', '.join(recognised)}; {remedy}"


def _remedy(images: list[str]) -> str:
    """How to read images of no known layout: by their names where these can say who it is, else by a manifest."""
    if all(name.rpartition("/")[2].partition(".")[0].isdigit() and name.count("/") < 2 for name in images):
        return f"no pattern can find identities in names that are only numbers: {MANIFEST_ADVICE}"
    return f"for names of your own give --pattern '(?P<identity>...)', or {MANIFEST_ADVICE}"


def _in_one_form(data: IdentityData) -> IdentityData:
    """One identity where a name is written in two forms of Unicode, as two file systems write it."""
    forms: defaultdict[str, set[str]] = defaultdict(set)
    for records in data.splits.values():
        for record in records:
            forms[normalize("NFC", record.identity)].add(record.identity)
    one = {form: name for name, written in forms.items() if len(written) > 1 for form in written}
    if not one:
        return data
    splits = {
        split: [replace(record, identity=one.get(record.identity, record.identity)) for record in records]
        for split, records in data.splits.items()
    }
    names = first_of([repr(name) for name in sorted(set(one.values()))])
    note = f"taken as one identity each, although written in two forms of Unicode: {names}"
    return replace(data, splits=splits, notes=(*data.notes, note))


def _with_cameras(data: IdentityData, cameras: str) -> IdentityData:
    if cameras == "none":
        unknown = {
            split: [replace(record, camera=UNKNOWN_CAMERA) for record in records]
            for split, records in data.splits.items()
        }
        return replace(data, splits=unknown)
    if cameras == "required":
        without = [record.path for records in data.splits.values() for record in records if record.camera < 0]
        if without:
            raise DgaugError(
                f"{data.root}: {len(without):,} images have no camera, for example {without[0]!r}; name it with "
                "--pattern '...(?P<camera>\\d+)...' or in a manifest, or do not require cameras"
            )
    return data
