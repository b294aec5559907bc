"""Whatever a caller has set for NumPy and torch changes no result, ends in no traceback and is left as found."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import assert_same_checkpoint, write_config

import dgaug
from dgaug.errors import DgaugError
from dgaug.runs import Run
from dgaug.scores.retrieval.ranking import evaluate_ranking


@contextmanager
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def raising() -> Iterator[None]:
    with np.errstate(all="raise"):
        yield


SURROUNDINGS: dict[str, Callable[[], Any]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "float64": float64,
    "seterr": raising,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default device": lambda: torch.device("meta"),
}


def state() -> dict[str, Any]:
    return {
        "random": torch.get_rng_state().tolist(),
        "numpy random": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "python random": random.getstate(),
        "seed": torch.initial_seed(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "threads": torch.get_num_threads(),
        "errors": np.geterr(),
    }


Everything = Callable[[Path], dict[str, Any]]


@pytest.fixture(scope="module")
def everything(smaller_run: Run) -> Everything:
    """A call of every public function that computes; what came out, by function."""

    def call(out: Path) -> dict[str, Any]:
        run, store, data = smaller_run.folder, smaller_run.store, smaller_run.data_root()
        files = sorted(data.glob("bounding_box_train/*"))[:2]
        config = write_config(out / "tiny.yaml", teacher={"iterations": 2}, schedule={"iterations": 2})
        result: dict[str, Any] = {}
        result["train"] = dgaug.train(data, config, out=out / "run", set="reid.iterations=2")
        made = dgaug.synthesize(run, pairs="random:5", out=out / "store", codec="codes")
        virtual = dgaug.open_store(made.store, teacher=smaller_run.teacher)
        result["open_store"] = [virtual[0].image.tolist(), virtual[0].label_class.tolist()]
        result["batch"] = dgaug.open_store(made.store).batch([1, 2]).pixels.tolist()
        result["score_fid"] = dgaug.score_fid(
            store, real=data, metrics=["frechet", "ssim"], teacher=smaller_run.teacher, out=out / "s"
        )
        result["train_reid"] = dgaug.train_reid(run, twin=False, set=["reid.iterations=2"], out=out / "reid")
        result["evaluate_reid"] = dgaug.evaluate_reid(smaller_run.teacher, data=data).ranking
        result["verify"] = dgaug.verify(store).ok
        result["export_store"] = dgaug.export_store(store, to="csv", out=out / "csv") is not None
        result["swap"] = dgaug.swap(*files, run=run, out=out / "swap.png").read_bytes()
        result["draw_grid"] = dgaug.draw_grid(run=run, out=out / "grid.png").read_bytes()
        result["report_run"] = dgaug.report_run(run, out=out / "page.html").is_file()
        return result

    return call


@pytest.fixture(scope="module")
def usual(
    everything: Callable[[Path], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("usual")
    return folder, everything(folder)


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_what_a_caller_has_set_changes_nothing_and_stays(
    everything: Everything, usual: tuple[Path, dict[str, Any]], tmp_path: Path, name: str
) -> None:
    torch.manual_seed(123)
    with SURROUNDINGS[name]():
        before = state()
        found = everything(tmp_path)
        assert state() == before
    folder, wanted = usual
    assert_same_checkpoint(found.pop("train").checkpoint, folder / "run/checkpoints/last.pt")
    for function, result in wanted.items():
        if function != "train":
            assert found[function] == result, function


def test_every_public_function_is_entered_that_way() -> None:
    entered = {name for name in dgaug.__all__ if hasattr(getattr(dgaug, name), "__wrapped__")}
    assert set(dgaug.__all__) - entered == {"keep_freed_memory", "collate_mixed"}  # the latter stacks what it is given


@pytest.mark.parametrize("name", [name for name in SURROUNDINGS if name != "default device"])
def test_a_ranking_is_the_same(name: str) -> None:
    rng = np.random.default_rng(0)
    features, ids, cameras = rng.standard_normal((40, 8)).astype(np.float32), np.arange(40) % 5, np.arange(40) % 2
    arguments = features[:10], ids[:10], cameras[:10], features, ids, cameras
    wanted = evaluate_ranking(*arguments)
    with SURROUNDINGS[name]():
        assert evaluate_ranking(*arguments) == wanted


def test_the_version_is_that_of_the_project() -> None:
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert re.findall('^version = "(.+)"$', project, re.MULTILINE) == [dgaug.__version__]


def test_a_setting_can_be_given_as_the_flag_names_it(tmp_path: Path) -> None:
    wrong = "schedule.iteration=3"
    for given in ({"set": wrong}, {"set": [wrong]}, {"overrides": wrong}):
        with pytest.raises(DgaugError, match=r"schedule\.iteration\b.*iterations"):
            dgaug.train(out=tmp_path / "run", **given)
    with pytest.raises(DgaugError, match=r"expected section\.name=value"):
        dgaug.train(out=tmp_path / "run", set={"schedule.iterations": 3})
