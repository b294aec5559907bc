"""An independent judge of identity: any encoder that had no part in making the images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from dgaug.errors import DgaugError
from dgaug.runs import Run
from dgaug.scores.quality.score import score_fid

TINY = "test_efficientnet"


@pytest.fixture
def judge(tmp_path: Path) -> str:
    """A timm model with seeded random weights."""
    torch.manual_seed(0)
    save_file(timm.create_model(TINY, pretrained=False).state_dict(), tmp_path / "tiny.safetensors")
    return f"{TINY}={tmp_path / 'tiny.safetensors'}"


def test_a_judge_is_asked_about_generated_and_real_images(tiny_run: Run, judge: str, tmp_path: Path) -> None:
    result = score_fid(run=tiny_run.folder, metrics=["identity"], judge=judge, out=tmp_path / "out")
    scores = result["scores"]
    assert scores["identity_judged"] == 480, "pairs of two identities"
    assert 0 <= scores["identity_rank1_appearance"] + scores["identity_rank1_structure"] <= 1
    assert scores["identity_rank1_real"] > 0.3 > 1 / 6, "real images are found among those of their identity"
    assert scores["identity_cosine_real"] > scores["identity_cosine_appearance"]
    assert result["protocol"]["judge"]["name"] == TINY
    with Image.open(tmp_path / "out" / "worst-and-best.png") as sheet:
        assert np.asarray(sheet).std() > 10


@pytest.mark.parametrize("part", ["teacher/last.pt", "checkpoints/last.pt"])
def test_a_model_that_made_the_images_is_no_independent_judge(tiny_run: Run, part: str, tmp_path: Path) -> None:
    with pytest.raises(DgaugError, match="no independent judge; give a re-id checkpoint trained on real images only"):
        score_fid(run=tiny_run.folder, metrics=["identity"], judge=str(tiny_run.folder / part), out=tmp_path)


def test_judges_that_are_none_are_named(tiny_run: Run, tmp_path: Path) -> None:
    for judge, message in (("gone.pt", r"gone\.pt"), ("resnet81=gone.pt", "no model 'resnet81'")):
        with pytest.raises(DgaugError, match=message):
            score_fid(run=tiny_run.folder, judge=judge, out=tmp_path)
