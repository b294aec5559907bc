"""The exported encoder says what the network says, for any number of pictures, and never stands half written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from tiny_run import RunCommand

from dgaug.data.images import open_picture, to_pixels
from dgaug.errors import DgaugError
from dgaug.models import encoder
from dgaug.models.checkpoints import load_reid
from dgaug.models.encoder import export_encoder
from dgaug.models.ensemble import Ensemble
from dgaug.runs import Run
from dgaug.scores.features import features_of


def pictures_of(run: Run, count: int) -> tuple[list[Path], torch.Tensor]:
    """Query pictures as files, and as what the exported encoder takes."""
    paths = sorted((run.data_root() / "query").iterdir())[:count]
    pixels = np.stack([to_pixels(open_picture(path), (64, 32)) for path in paths])
    return paths, torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("count", [1, 5])
def test_torchscript_gives_the_features_of_evaluation(tiny_run: Run, tmp_path: Path, flip: bool, count: int) -> None:
    made = export_encoder(tiny_run.checkpoint, out=tmp_path / "encoder.pt", flip=flip)
    paths, pictures = pictures_of(tiny_run, count)
    extra = {"dgaug.json": ""}
    found = torch.jit.load(made.out, _extra_files=extra)(pictures)
    expected = features_of(load_reid(tiny_run.checkpoint).network, paths, (64, 32), title="", flip=flip)
    assert found.shape == (count, made.feature_length)
    assert torch.allclose(found, expected, atol=1e-5)
    described = json.loads(extra["dgaug.json"])
    assert (described["image_size"], described["parts"], described["flip"]) == ([64, 32], 2, flip)


def test_onnx_gives_the_features_of_evaluation(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    out = tmp_path / "encoder.onnx"
    said = json.loads(dgaug("export", tiny_run.teacher, "--to", "onnx", "--out", out, "--json").out)
    assert (said["image_size"], said["feature_length"]) == ([64, 32], 16)
    paths, pictures = pictures_of(tiny_run, 5)
    session = onnxruntime.InferenceSession(out)
    (found,) = session.run(None, {"pictures": pictures.numpy()})
    expected = features_of(load_reid(tiny_run.teacher).network, paths, (64, 32), title="")
    assert torch.allclose(torch.from_numpy(found), expected, atol=1e-5)
    assert json.loads(session.get_modelmeta().custom_metadata_map["dgaug"])["parts"] == 1


def test_several_teachers_are_exported_as_one(tiny_run: Run) -> None:
    members = [load_reid(path).network for path in (tiny_run.teacher, tiny_run.checkpoint)]
    whole = encoder.Encoder(Ensemble(members)).eval()
    _, pictures = pictures_of(tiny_run, 2)
    traced = torch.jit.trace(whole, pictures, check_trace=False)
    assert torch.allclose(traced(pictures[:1]), whole(pictures[:1]), atol=1e-6)


def test_an_encoder_that_says_something_else_is_not_written(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_another_batch(network: encoder.Encoder, example: torch.Tensor, path: Path, described: str) -> encoder.Run:
        path.write_bytes(b"what should not be left")
        fixed = network(example)
        return lambda pictures: fixed[: len(pictures)]

    monkeypatch.setitem(encoder._WRITERS, "torchscript", of_another_batch)
    with pytest.raises((DgaugError, RuntimeError)):
        export_encoder(tiny_run.teacher, out=tmp_path / "encoder.pt")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_and_options_of_the_other_kind_are_refused(
    tiny_run: Run, tmp_path: Path, dgaug: RunCommand
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "mine.png")
    export = ("export", tiny_run.teacher, "--to", "torchscript", "--out")
    assert "mine.png is already there" in dgaug(*export, tmp_path / "mine.png").error()
    assert "--limit says nothing for --to torchscript" in dgaug(*export, tmp_path / "new.pt", "--limit", 5).error()
    store = ("export", tiny_run.store, "--to", "csv", "--out", tmp_path / "table", "--no-flip")
    assert "--flip says nothing for --to csv" in dgaug(*store).error()
    assert "dataset.h5" in dgaug("export", tiny_run.store / "dataset.h5", *export[2:], tmp_path / "new.pt").error()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]


def test_onnx_that_is_not_installed_is_named_with_its_remedy(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "find_spec", lambda name: None)
    with pytest.raises(DgaugError, match=r"pip install 'dgaug\[onnx\]'"):
        export_encoder(tiny_run.teacher, to="onnx", out=tmp_path / "encoder.onnx")
