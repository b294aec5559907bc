"""Run folders: numbering, finding, locking, and what every run records about itself."""

from __future__ import annotations

import fcntl
import platform
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from dgaug.errors import DgaugError
from dgaug.files import read_json, write_json, write_text
from dgaug.settings import Settings, load_settings

RUNS = Path("runs")
PARTS = {
    "config.yaml",
    "environment.json",
    "records.csv",
    "log.jsonl",
    "report.html",
    "checkpoints",
    "teacher",
    "samples",
    "tensorboard",
    "wandb",
    "mlflow.db",
    "mlruns",
    "store",
    "scores",
    "reid",
}
"""What a run folder holds, apart from its data (design: run folder)."""
_NUMBERED = re.compile(r"(\d+)-.+")


class Run:
    """One experiment folder (design: run folder)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.records = folder / "records.csv"
        self.checkpoint = folder / "checkpoints" / "last.pt"
        self.teacher = folder / "teacher" / "last.pt"
        self.samples = folder / "samples"
        self.log = folder / "log.jsonl"
        self.store = folder / "store"
        self.scores = folder / "scores"
        self.reid = folder / "reid"

    def settings(self) -> Settings:
        """What `config.yaml` holds."""
        if not self.config.is_file():
            raise DgaugError(f"{self.folder} is not a run folder: it has no config.yaml")
        return load_settings(self.config)

    def data_description(self) -> dict[str, object]:
        """What `environment.json` says of the run's data: root, layout, images, fingerprint, records."""
        path = self.folder / "environment.json"
        recorded = read_json(path).get("data")
        if not isinstance(recorded, dict):
            raise DgaugError(
                f"{self.folder} knows no data set ({path.name} names none); give one with --data DIR, --real DIR in "
                "score-fid"
            )
        return recorded

    def data_root(self) -> Path:
        """What opens the run's data: a folder or a manifest (the embedded data move with the run)."""
        recorded = self.data_description()
        root = str(recorded.get("root"))
        if root == "data":
            return self.folder / "data"
        if recorded.get("layout") == "manifest" and "records" not in recorded:
            # Written by 0.1 before it recorded the manifest: there the settings alone know its name.
            given = self.settings().data.root
            if given is not None and Path(given).suffix.lower() == ".csv" and Path(given).parent == Path(root):
                return Path(given)
        return Path(root)

    def data_folder(self) -> Path:
        """The folder that the paths of the run's data start from."""
        if folder := self.data_description().get("folder"):
            return Path(str(folder))
        root = self.data_root()
        return root.parent if root.suffix.lower() == ".csv" and not root.is_dir() else root

    def knows_data(self) -> bool:
        """Whether `environment.json` names data: an imported run may have none."""
        return isinstance(read_json(self.folder / "environment.json").get("data"), dict)

    def record_data(self, data: dict[str, object]) -> None:
        """The same data lie elsewhere now."""
        path = self.folder / "environment.json"
        write_json(path, read_json(path) | {"data": data})

    def begin(self, settings: Settings, data: dict[str, object]) -> None:
        """Write the settings and the environment of the run."""
        write_json(self.folder / "environment.json", environment(settings.seed) | {"data": data})
        # Last, because it is what makes the folder a run.
        self.record_settings(settings)

    def record_settings(self, settings: Settings) -> None:
        """Write `config.yaml`."""
        write_text(self.config, f"# dgaug train --config {self.config}\n{settings.to_yaml()}")


def new_run(name: str, parent: Path = RUNS) -> Run:
    """The next number under `parent`, created."""
    number = 1 + max((number for number, _ in _numbered(parent)), default=0)
    while True:
        folder = parent / f"{number:05d}-{name}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1  # another process was faster
            continue
        return Run(folder)


def find_run(text: str = "latest", parent: Path = RUNS) -> Run:
    """A run by path, by number, or the `latest` one that has a checkpoint.

    Raises:
        DgaugError: there is none; names where was looked.
    """
    if text == "latest":
        for folder in reversed(numbered_runs(parent)):
            if Run(folder).checkpoint.is_file():
                return Run(folder)
        raise DgaugError(f"no run with a checkpoint under {parent}; run dgaug train first, or give --run FOLDER")
    if text.isdigit():
        for number, folder in _numbered(parent):
            if number == int(text):
                return Run(folder)
        raise DgaugError(f"no run number {int(text)} under {parent}")
    run = Run(Path(text))
    if not run.folder.is_dir():
        raise DgaugError(f"no such run folder: {text}")
    return run


def newest_run(parent: Path = RUNS) -> Run | None:
    """The run with the highest number, trained or not."""
    return Run(max(_numbered(parent))[1]) if _numbered(parent) else None


def numbered_runs(parent: Path = RUNS) -> list[Path]:
    """The folders of the numbered runs, in the order of their numbers."""
    return [folder for _, folder in sorted(_numbered(parent))]


@contextmanager
def locked(folder: Path, *, what: str) -> Iterator[None]:
    """Hold a folder for one writer; the kernel frees the lock when the process ends, however it ends.

    Raises:
        DgaugError: another process holds it.
    """
    with lock(folder) as mine:
        if not mine:
            raise DgaugError(f"another process is writing the {what} {folder}; wait for it, or use --out")
        yield


@contextmanager
def lock(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Lock a folder if no other process has; whether it did. `wait`: until it is free."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def environment(seed: int) -> dict[str, object]:
    """Versions, device, TF32 (None: no GPU), git commit and seed, for `environment.json`."""
    import torch

    from dgaug.cuda_math import tf32_is_on
    from dgaug.device import default_device

    packages = ("dgaug", "torch", "torchvision", "timm", "numpy", "h5py", "pillow")
    device = default_device()
    on_cuda = device.type == "cuda"
    return {
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in packages},
        "device": torch.cuda.get_device_name(device) if on_cuda else platform.processor() or platform.machine(),
        "tf32": tf32_is_on() if on_cuda else None,
        "threads": torch.get_num_threads(),
        "git_commit": _git_commit(),
        "seed": seed,
    }


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return finished.stdout.strip() or None


def _numbered(parent: Path) -> list[tuple[int, Path]]:
    if not parent.is_dir():
        return []
    matches = [(_NUMBERED.fullmatch(folder.name), folder) for folder in parent.iterdir() if folder.is_dir()]
    return [(int(match[1]), folder) for match, folder in matches if match]
