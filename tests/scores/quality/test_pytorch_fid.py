"""On the same files and weights, the whole command gives the figure of `python -m pytorch_fid`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy
import torch
from numpy.typing import NDArray
from packaging.version import Version
from PIL import Image
from pytorch_fid.fid_score import compute_statistics_of_path, get_activations
from pytorch_fid.inception import InceptionV3
from random_inception import put_in_hub_cache
from scipy.linalg import sqrtm
from torchmetrics.image.kid import poly_mmd

from dgaug.scores.quality.feature_statistics import Statistics
from dgaug.scores.quality.score import score_fid

COUNT = 12


class Compared(NamedTuple):
    real: Path
    generated: Path
    weights: Path
    scores: dict[str, Any]
    statistics: dict[str, Path]


def write_images(folder: Path, seed: int, saturation: float) -> None:
    """PNG files of smooth coloured noise, 64 x 32."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    for number in range(COUNT):
        small = (128 + saturation * random.standard_normal((8, 4, 3))).clip(0, 255).astype(np.uint8)
        Image.fromarray(small).resize((32, 64), Image.Resampling.BICUBIC).save(folder / f"{number}.png")


@pytest.fixture(scope="module")
def torch_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("torch")


@pytest.fixture(scope="module")
def compared(torch_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    folder, weights = tmp_path_factory.mktemp("images"), put_in_hub_cache(torch_home)
    write_images(folder / "real", 0, 30)
    write_images(folder / "generated", 1, 60)
    scores = score_fid(
        folder / "generated",
        real=folder / "real",
        metrics=["fid", "kid"],
        inception_weights=weights,
        out=folder / "out",
    )["scores"]
    kept = {side: next((folder / "out" / "statistics").glob(f"{side}-*.npz")) for side in ("real", "generated")}
    return Compared(folder / "real", folder / "generated", weights, scores, kept)


def activations(folder: Path, torch_home: Path) -> NDArray[np.float64]:
    """What pytorch-fid's own reading and network give [N, 2048]."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(torch_home))
        network = InceptionV3([3]).eval()
    result = get_activations(sorted(folder.iterdir()), network, 50, 2048, "cpu", 0)
    return np.asarray(result, dtype=np.float64)


def test_fid_is_that_of_pytorch_fid_features_with_the_matrix_root_of_scipy(
    compared: Compared, torch_home: Path
) -> None:
    real, generated = (activations(folder, torch_home) for folder in (compared.real, compared.generated))
    # All of both covariances lies in the span of the images, where the root costs nothing.
    basis, _ = np.linalg.qr(np.concatenate((real, generated)).T)
    covariance, other = (np.cov(features @ basis, rowvar=False) for features in (real, generated))
    root_trace = np.trace(np.real(sqrtm(covariance @ other)))
    expected = np.square(real.mean(axis=0) - generated.mean(axis=0)).sum()
    expected += np.trace(covariance) + np.trace(other) - 2 * root_trace
    assert expected > 1
    assert compared.scores["fid"] == pytest.approx(float(expected), abs=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(Version(scipy.__version__) >= Version("1.18"), reason="this SciPy stops pytorch-fid's command")
def test_fid_is_that_of_the_pytorch_fid_command(compared: Compared, torch_home: Path) -> None:
    command = [sys.executable, "-m", "pytorch_fid", str(compared.real), str(compared.generated), "--device", "cpu"]
    environment = os.environ | {"TORCH_HOME": str(torch_home), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=True)
    result = re.search(r"FID:\s*(\S+)", done.stdout)
    assert result, done.stdout
    assert compared.scores["fid"] == pytest.approx(float(result[1]), abs=1e-3)


def test_kid_is_that_of_torchmetrics_on_the_same_subsets(compared: Compared) -> None:
    real, generated = (Statistics.load(compared.statistics[side]).features for side in ("real", "generated"))
    random = np.random.default_rng(0)
    subsets = [
        [features[torch.from_numpy(random.choice(COUNT, COUNT // 2, replace=False))] for features in (real, generated)]
        for _ in range(100)
    ]
    expected = torch.stack([poly_mmd(first.double(), second.double()) for first, second in subsets])
    assert compared.scores["kid"] == pytest.approx(float(expected.mean()), rel=1e-9)
    assert compared.scores["kid_spread"] == pytest.approx(float(expected.std(correction=0)), rel=1e-9)
    assert expected.mean() > 0.01


def test_pytorch_fid_reads_our_statistics_and_we_read_its(compared: Compared, tmp_path: Path) -> None:
    mean, covariance = compute_statistics_of_path(str(compared.statistics["real"]), None, 50, 2048, "cpu")
    features = Statistics.load(compared.statistics["real"]).features.double().numpy()
    np.testing.assert_allclose(mean, features.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(covariance, np.cov(features, rowvar=False), rtol=1e-6, atol=1e-9)
    np.savez(tmp_path / "theirs.npz", mu=mean, sigma=covariance)
    again = score_fid(
        compared.generated,
        real=tmp_path / "theirs.npz",
        metrics=["fid"],
        inception_weights=compared.weights,
        out=compared.generated.parent / "again",
    )
    assert again["scores"] == {"fid": pytest.approx(compared.scores["fid"], abs=1e-4)}
    assert again["protocol"]["real"]["kind"] == "statistics"


def test_value_and_floor_are_given_at_several_counts(compared: Compared) -> None:
    by_count = compared.scores["fid_by_count"]
    assert list(by_count) == ["3", "6"]
    assert compared.scores["fid_floor"] == by_count["6"]["real"]
    assert all(result["generated"] > result["real"] for result in by_count.values())
