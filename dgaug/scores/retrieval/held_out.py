"""What the query and gallery of a data set are worth, told before anything is trained on it or ranked."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from dgaug.data.damage import content_digest
from dgaug.data.images import DamagedImage, read_image_bytes
from dgaug.data.records import UNKNOWN_CAMERA, IdentityData, Record, Role, class_names
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import ReidModel
from dgaug.scores.retrieval.copies import equal_files
from dgaug.settings import Settings
from dgaug.store.policies import EXTRA_CLASS

TRAIN, QUERY, GALLERY = "train", "query", "gallery"
_log = logging.getLogger("dgaug")


@dataclass(frozen=True)
class HeldOut:
    """What a protocol records of the images that a model is evaluated on.

    Attributes:
        queries: their number.
        gallery: the gallery's, junk included.
        cameras: `known`, `partly known` or `unknown`.
        without_camera: how many queries and gallery images have no known camera.
        query_files_in_gallery: pairs of a query and a gallery image that are the same file; they never rank.
        identities: of query and gallery, without junk and distractors.
        trained_identities: how many of them have the name of an identity that was trained on; None: cannot be told.
        trained_files: files of query and gallery that are byte for byte a training file; None: cannot be told.
    """

    queries: int
    gallery: int
    cameras: str
    without_camera: tuple[int, int]
    query_files_in_gallery: int
    identities: int
    trained_identities: int | None
    trained_files: int | None

    def described(self) -> dict[str, object]:
        """What a result records of it."""
        return asdict(self) | {"without_camera": list(self.without_camera)}


def require_evaluation(data: IdentityData) -> None:
    """Refuse a data set on which nothing can be ranked.

    Raises:
        DgaugError: it has no query, no gallery, a gallery with one identity, or no query with a match.
    """
    missing = [split for split in (QUERY, GALLERY) if not data.splits.get(split)]
    if missing:
        packed = " (dgaug data pack DIR --hold-out N --out FILE writes one, for a new run)" if len(missing) > 1 else ""
        raise DgaugError(
            f"{data.root} has no {' and no '.join(missing)} split, so a re-id model cannot be evaluated on it; "
            f"add the folders, or a manifest with a split column{packed}"
        )
    gallery = [record for record in data.splits[GALLERY] if record.role is not Role.JUNK]
    names = {record.identity for record in gallery}
    if len(names) == 1 and gallery[0].role is Role.IDENTITY:
        raise DgaugError(
            f"{data.root}: all {len(gallery):,} gallery images show the identity {names.pop()!r}, so every ranking "
            "of them is right; a gallery needs at least two identities"
        )
    _require_a_match(data)


def require_cameras(settings: Settings) -> None:
    """Refuse embedded data on which nothing could be ranked, before they are drawn.

    Raises:
        DgaugError: they would have one camera, so that no query has a match.
    """
    if settings.toy.cameras == 1 and settings.data.cameras != "none":
        raise DgaugError(
            "toy.cameras = 1: no query would have a gallery image of its identity from another camera; take --set "
            "toy.cameras=2 or more, or --set data.cameras=none"
        )


def _require_a_match(data: IdentityData) -> None:
    """Refuse what names, cameras and files alone rule out."""
    gallery = defaultdict(list)
    for record in data.splits[GALLERY]:
        if record.role is Role.IDENTITY:
            gallery[record.identity].append(record)
    queries = data.splits[QUERY]
    same = [(query, record) for query in queries for record in gallery.get(query.identity, ())]
    if not same:
        raise DgaugError(
            f"{data.root}: none of the {len(queries):,} queries has a gallery image of its identity from another "
            "camera, because query and gallery share no identity; the first of each are "
            f"{queries[0].identity!r} and {next(iter(gallery), 'none')!r}"
        )
    others = [
        (query, record)
        for query, record in same
        if not _content(data, query) or _content(data, query) != _content(data, record)
    ]
    if not others:
        raise DgaugError(
            f"{data.root}: the only gallery images of the queries' identities are the query files themselves; add "
            "other images of them to the gallery"
        )
    if all(query.camera == record.camera != UNKNOWN_CAMERA for query, record in others):
        raise DgaugError(
            f"{data.root}: none of the {len(queries):,} queries has a gallery image of its identity from another "
            "camera, and images from a query's own camera do not count; name the cameras as they are, or, where the "
            "numbers say nothing, use --set data.cameras=none"
        )


def _content(data: IdentityData, record: Record) -> bytes:
    return data.contents.get(record.path, b"")


def held_out(data: IdentityData, trained: Collection[str] | None) -> HeldOut:
    """Describe query and gallery; `trained` are the identities of the training split that were trained on.

    None: the model comes from other data, and names that are equal say nothing.
    """
    query, gallery = data.splits[QUERY], data.splits[GALLERY]
    test = [*query, *gallery]
    cameras = {record.camera for record in test}
    known = "unknown" if cameras == {UNKNOWN_CAMERA} else "partly known" if UNKNOWN_CAMERA in cameras else "known"
    without = [sum(record.camera == UNKNOWN_CAMERA for record in side) for side in (query, gallery)]
    pairs = equal_files([_content(data, record) for record in query], [_content(data, record) for record in gallery])
    names = class_names(test)
    shared = files = None
    if trained is not None:
        shared = len(set(names) & set(trained))
        train = [record for record in data.splits.get(TRAIN, []) if record.identity in trained]
        files = _shared_files(data, train, test)
    return HeldOut(
        queries=len(query),
        gallery=len(gallery),
        cameras=known,
        without_camera=(without[0], without[1]),
        query_files_in_gallery=sum(len(columns) for columns in pairs.values()),
        identities=len(names),
        trained_identities=shared,
        trained_files=files,
    )


def trained_identities(model: ReidModel, data: IdentityData) -> Collection[str] | None:
    """The identities that a model was trained on, if it was trained on identities of this data set; else None.

    Without a training split equal names are all there is to go by.
    """
    names = class_names(data.splits.get(TRAIN, []))
    if model.class_names is None:
        return names if names and model.knows(names) else None
    theirs = set(model.class_names) - {EXTRA_CLASS}
    return theirs if not names or theirs <= set(names) else None


def warn_of_leaks(leaks: HeldOut) -> None:
    """Say what makes the results easier than those of a true test."""
    if leaks.cameras != "known":
        query, gallery = leaks.without_camera
        _log.warning(
            "no camera is known of %s of %s query images and %s of %s gallery images: there a match may come from "
            "the query's own camera, which is easier to find",
            *(f"{count:,}" for count in (query, leaks.queries, gallery, leaks.gallery)),
        )
    if leaks.query_files_in_gallery:
        _log.warning(
            "%d times a gallery file is byte for byte a query's own; it does not rank for that query",
            leaks.query_files_in_gallery,
        )
    if leaks.trained_identities:
        _log.warning(
            "%d of the %d test identities are named as identities that were trained on, a leak if they are the same: "
            "the results say little about new ones",
            leaks.trained_identities,
            leaks.identities,
        )
    if leaks.trained_files:
        _log.warning(
            "%d query and gallery files are byte for byte files that were trained on: a leak", leaks.trained_files
        )


def _shared_files(data: IdentityData, train: Sequence[Record], test: Sequence[Record]) -> int:
    """How many files of the test are a training file; a file whose content is not known is read if its size fits."""
    paths = {record.path: data.image_path(record) for record in (*train, *test)}
    sizes = {path: file.stat().st_size for path, file in paths.items() if path not in data.contents}
    if sizes:
        of_known = {data.image_path(record).stat().st_size for record in test}
        wanted = [path for path, size in sizes.items() if size in of_known]
        with ThreadPoolExecutor() as threads:
            read = zip(wanted, threads.map(lambda path: _digest(data, path), wanted), strict=True)
            contents = {**data.contents, **{path: digest for path, digest in read if digest}}
    else:
        contents = dict(data.contents)
    trained = {contents.get(record.path, b"") for record in train} - {b""}
    return sum(contents.get(path, b"") in trained for path in {record.path for record in test})


def _digest(data: IdentityData, path: str) -> bytes:
    try:
        return content_digest(read_image_bytes(data.root / path))
    except DamagedImage:
        return b""
