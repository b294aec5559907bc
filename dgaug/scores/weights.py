"""Where the FID Inception weights are, and whether the file is the genuine one."""

from __future__ import annotations

import logging
from pathlib import Path

from dgaug.errors import DgaugError
from dgaug.files import file_sha256
from dgaug.models.weights import download, hub_cache

INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256_START = "6726825d"
INCEPTION_URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{INCEPTION_FILE}"

logger = logging.getLogger(__name__)


def inception_cached() -> bool:
    """Whether pytorch-fid's file is in the torch hub cache."""
    return _cached_inception().is_file()


def find_inception_weights(weights: Path | None = None) -> Path:
    """The FID Inception weights: the file given, or pytorch-fid's in the torch hub cache.

    Nothing is downloaded unless `weights` is the word `download`.

    Raises:
        DgaugError: no such file, or the download failed.
    """
    if weights == Path("download"):
        return download(INCEPTION_URL, _cached_inception())
    path = weights if weights is not None else _cached_inception()
    if not path.is_file():
        raise DgaugError(
            f"FID needs the Inception weights and there are none at {path}: fetch {INCEPTION_URL} to that place, "
            "--inception-weights FILE names another, --inception-weights download fetches it"
        )
    return path


def inception_sha256(path: Path) -> str:
    """sha256 of FID Inception weights; under the official name it must be the official one, else it is logged.

    Raises:
        DgaugError: the file has the official name and other contents.
    """
    digest = file_sha256(path)
    if digest.startswith(INCEPTION_SHA256_START):
        return digest
    if path.name == INCEPTION_FILE:
        raise DgaugError(
            f"{path}: expected a sha256 that starts with {INCEPTION_SHA256_START}, found {digest[:8]}; the file is "
            f"damaged: fetch it again from {INCEPTION_URL}"
        )
    logger.warning("%s is not pytorch-fid's file (sha256 %s): FID from it compares only with itself", path, digest)
    return digest


def _cached_inception() -> Path:
    return hub_cache(INCEPTION_URL)
