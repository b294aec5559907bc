"""Making dgaug importable on a machine that has torch and little else, without a network.

The packages that are missing are unpacked from wheels that were carried along (`prepare.sh`); dgaug itself is used
where it lies, in the repository.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CARRIED = ROOT / "build/carried"
LINKED = {"dgaug": "dgaug", "dgaug_cli": "cli", "dgaug_configs": "configs"}
METADATA = "Metadata-Version: 2.1\nName: dgaug\nVersion: {version}\n"


def make_importable(wheels: Path, site: Path) -> dict[str, str]:
    """Put what is missing in `site` and at the front of the path; how each package came, by name."""
    site.mkdir(parents=True, exist_ok=True)
    came = {wheel.name.split("-")[0]: _unpacked(wheel, site) for wheel in sorted(wheels.glob("*.whl"))}
    came["dgaug"] = "installed" if _installed("dgaug") else _linked(site)
    for folder in (str(ROOT / "benchmarks"), str(site)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    importlib.invalidate_caches()
    return came


def unpack_market(packed: Path, out: Path) -> Path:
    """The training split of an archive of `prepare.sh`, in a data set of its own."""
    if not (out / "bounding_box_train").is_dir():
        out.mkdir(parents=True, exist_ok=True)
        with tarfile.open(packed) as archive:
            archive.extractall(out, filter="data")
    return out


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _unpacked(wheel: Path, site: Path) -> str:
    if _installed(wheel.name.split("-")[0].replace("_", "-")):
        return "there"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return "unpacked"


def _linked(site: Path) -> str:
    for name, folder in LINKED.items():
        if not (site / name).exists():
            (site / name).symlink_to(ROOT / folder)
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    version = next(line.split('"')[1] for line in lines if line.startswith("version = "))
    about = site / f"dgaug-{version}.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text(METADATA.format(version=version), encoding="utf-8")
    return "in place"
