"""The source images that the pairs of a store point to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from dgaug.data.records import Record, Role, class_names
from dgaug.errors import DgaugError
from dgaug.store.spec import StoreSpec


@dataclass(frozen=True, eq=False)
class Sources:
    """The N source images, sorted by path; pairs are rows of this table.

    Attributes:
        path: POSIX paths relative to the data root.
        identity: int32 [N], class index.
        identity_name: the identities as the data set writes them.
        camera: int32 [N], -1 unknown.
        class_name: the C class names in class order.
    """

    path: list[str]
    identity: NDArray[np.int32]
    identity_name: list[str]
    camera: NDArray[np.int32]
    class_name: list[str]

    def __len__(self) -> int:
        return len(self.path)

    @classmethod
    def of(cls, records: Iterable[Record]) -> Sources:
        """The sources of a training split; junk and distractors are no sources.

        Raises DgaugError where there is no image, or a path that is not UTF-8 or occurs twice.
        """
        kept = sorted((record for record in records if record.role is Role.IDENTITY), key=lambda record: record.path)
        if not kept:
            raise DgaugError("expected a training split with at least one identified image, found none")
        for before, record in zip([None, *kept], kept, strict=False):
            if before is not None and before.path == record.path:
                raise DgaugError(f"expected each image once in the training split, found '{record.path}' twice")
            if not _is_utf8(record.path) or not _is_utf8(record.identity):
                raise DgaugError(f"expected a UTF-8 file name, found {record.path!r}; rename the file")
        names = class_names(kept)
        index = {name: number for number, name in enumerate(names)}
        return cls(
            path=[record.path for record in kept],
            identity=np.array([index[record.identity] for record in kept], np.int32),
            identity_name=[record.identity for record in kept],
            camera=np.array([record.camera for record in kept], np.int32),
            class_name=names,
        )

    def digest(self) -> str:
        """The sha256 of the whole table."""
        table = [self.path, self.identity.tolist(), self.identity_name, self.camera.tolist(), self.class_name]
        return hashlib.sha256(json.dumps(table).encode()).hexdigest()

    def write(self, hdf5: h5py.File) -> None:
        """Write `source/*` and `class_name`."""
        text = h5py.string_dtype()
        hdf5.create_dataset("source/path", data=self.path, dtype=text)
        hdf5.create_dataset("source/identity", data=self.identity)
        hdf5.create_dataset("source/identity_name", data=self.identity_name, dtype=text)
        hdf5.create_dataset("source/camera", data=self.camera)
        hdf5.create_dataset("class_name", data=self.class_name, dtype=text)

    @classmethod
    def read(cls, hdf5: h5py.File) -> Sources:
        """The sources in `source/*` and `class_name`.

        Raises KeyError where one is missing, DgaugError where they contradict each other or a path leads out of the
        data set's folder.
        """
        paths: list[str] = hdf5["source/path"].asstr()[:].tolist()
        outside = next((path for path in paths if path.startswith("/") or ".." in path.split("/")), None)
        if outside is not None:
            raise DgaugError(f"expected sources inside their data set, found {outside!r} in {hdf5.filename}; refused")
        sources = cls(
            path=paths,
            identity=hdf5["source/identity"][:].astype(np.int32),
            identity_name=hdf5["source/identity_name"].asstr()[:].tolist(),
            camera=hdf5["source/camera"][:].astype(np.int32),
            class_name=hdf5["class_name"].asstr()[:].tolist(),
        )
        if not len(sources) == len(sources.identity) == len(sources.identity_name) == len(sources.camera):
            raise DgaugError(f"expected columns of source of one length in {hdf5.filename}, found others")
        if ((sources.identity < 0) | (sources.identity >= len(sources.class_name))).any():
            raise DgaugError(f"expected identities that class_name of {hdf5.filename} has, found others")
        return sources


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def settings_digest(spec: StoreSpec, sources: Sources, part: int) -> str:
    """The sha256 that ties the shards of a part to their job: it goes over all its settings and sources."""
    return hashlib.sha256(json.dumps([spec.digested(part), sources.digest()], sort_keys=True).encode()).hexdigest()
