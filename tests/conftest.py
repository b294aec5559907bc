from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from dgaug_cli.main import main
from hypothesis import settings
from tiny_run import Ended, RunCommand, write_config

from dgaug.runs import Run
from dgaug.synthesis.job import synthesize
from dgaug.training.estimate import Timing, time_training
from dgaug.training.train import train

settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")

LONGEST_FIRST = (
    "tests/docs/test_commands.py",
    "tests/hostile/test_stopped_commands.py",
    "tests/training/test_resume.py",
    "tests/synthesis/test_ray_engine.py",
    "tests/studies/test_train_reid.py",
    "tests/models/test_published_networks.py",
    "tests/models/test_import_published.py",
    "tests/scores/quality/test_pytorch_fid.py",
    "tests/training/test_distributed.py",
    "tests/synthesis/test_local_engine.py",
    "tests/examples/test_examples.py",
    "tests/hostile/test_hostile_machine.py",
    "tests/examples/test_notebook.py",
    "tests/hostile/test_malformed_tables.py",
    "tests/cli/test_score_fid_command.py",
    "tests/studies/test_ablation.py",
    "tests/studies/test_learning_curve.py",
    "tests/scores/quality/test_score.py",
    "tests/report/test_page.py",
)
"""Files that take minutes. A process of `pytest -n` takes file by file, so none is left with a long one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first."""
    order = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Bits depend on the number of threads; processes that the tests start inherit it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def _timed_once() -> Iterator[None]:
    """Every `data check` times a few iterations: here the first, the others take its result."""
    with pytest.MonkeyPatch.context() as patch:
        first: list[Timing] = []

        def timed(*given: Any, **named: Any) -> Timing:
            if not first:
                first.append(time_training(*given, **named))
            return first[0]

        patch.setattr("dgaug.training.planner.time_training", timed)
        yield


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny settings as a file."""
    return write_config(tmp_path_factory.mktemp("config") / "tiny.yaml")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_config: Path) -> Run:
    """A complete run, trained and synthesized without a disturbance; the tests only read it."""
    run = train(config=tiny_config, out=tmp_path_factory.mktemp("runs") / "tiny")
    synthesize(run.folder, shard_size=96)
    return run


@pytest.fixture(scope="session")
def smaller_run(tmp_path_factory: pytest.TempPathFactory, tiny_run: Run) -> Run:
    """The tiny run with an eighth of its pairs, where every command is run again and again; the tests only read it."""
    run = Run(tmp_path_factory.mktemp("runs") / "smaller")
    shutil.copytree(tiny_run.folder, run.folder, ignore=shutil.ignore_patterns("store", "0*.pt"))
    synthesize(run.folder, pairs="grid:8x9")
    return run


@pytest.fixture
def dgaug(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> RunCommand:
    """Run a command to its exit in this process."""

    def run(*arguments: str | Path) -> Ended:
        monkeypatch.setattr("sys.argv", ["dgaug", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        output = capfd.readouterr()
        return Ended(int(ended.value.code or 0), output.out, output.err)

    return run
