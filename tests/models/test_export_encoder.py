"""The exported encoder says what the network says, for any number of images, and never stands half written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from tiny_run import RunCommand, tiny_settings
from torch import nn

from dgaug.data.images import open_image, to_pixels
from dgaug.errors import DgaugError
from dgaug.models import export_encoder as encoder
from dgaug.models.architectures import ARCHITECTURES
from dgaug.models.backbones import _pool_rows, pool_bands
from dgaug.models.checkpoints import copy_teachers, load_reid, reid_content, save
from dgaug.models.export_encoder import export_encoder
from dgaug.models.import_network import import_network
from dgaug.models.reid import Ensemble, ReidNetwork
from dgaug.runs import Run
from dgaug.scores.retrieval.features import features_of


def images_of(run: Run, count: int) -> tuple[list[Path], torch.Tensor]:
    """Query images as files, and as what the exported encoder takes."""
    paths = sorted((run.data_root() / "query").iterdir())[:count]
    pixels = np.stack([to_pixels(open_image(path), (64, 32)) for path in paths])
    return paths, torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("count", [1, 5])
def test_torchscript_gives_the_features_of_evaluation(tiny_run: Run, tmp_path: Path, flip: bool, count: int) -> None:
    made = export_encoder(tiny_run.checkpoint, out=tmp_path / "encoder.pt", flip=flip)
    paths, images = images_of(tiny_run, count)
    extra = {"dgaug.json": ""}
    result = torch.jit.load(made.out, _extra_files=extra)(images)
    expected = features_of(load_reid(tiny_run.checkpoint).network, paths, (64, 32), title="", flip=flip)
    assert result.shape == (count, made.feature_length)
    assert torch.allclose(result, expected, atol=1e-5)
    described = json.loads(extra["dgaug.json"])
    assert (described["image_size"], described["parts"], described["flip"]) == ([64, 32], 2, flip)


def test_onnx_gives_the_features_of_evaluation(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    out = tmp_path / "encoder.onnx"
    output = json.loads(dgaug("export", tiny_run.teacher, "--to", "onnx", "--out", out, "--json").out)
    assert (output["image_size"], output["feature_length"]) == ([64, 32], 16)
    paths, images = images_of(tiny_run, 5)
    session = onnxruntime.InferenceSession(out)
    (result,) = session.run(None, {"pictures": images.numpy()})
    expected = features_of(load_reid(tiny_run.teacher).network, paths, (64, 32), title="")
    assert torch.allclose(torch.from_numpy(result), expected, atol=1e-5)
    assert json.loads(session.get_modelmeta().custom_metadata_map["dgaug"])["parts"] == 1


def test_several_teachers_are_exported_as_one(tiny_run: Run) -> None:
    members = [load_reid(path).network for path in (tiny_run.teacher, tiny_run.checkpoint)]
    whole = encoder.Encoder(Ensemble(members)).eval()
    _, images = images_of(tiny_run, 2)
    traced = torch.jit.trace(whole, images, check_trace=False)
    assert torch.allclose(traced(images[:1]), whole(images[:1]), atol=1e-6)


def test_an_encoder_that_says_something_else_is_not_written(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_another_batch(network: encoder.Encoder, example: torch.Tensor, path: Path, described: str) -> encoder.Run:
        path.write_bytes(b"what should not be left")
        fixed = network(example)
        return lambda images: fixed[: len(images)]

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
    assert "--limit has no effect with --to torchscript" in dgaug(*export, tmp_path / "new.pt", "--limit", 5).error()
    store = ("export", tiny_run.store, "--to", "csv", "--out", tmp_path / "table", "--no-flip")
    assert "--flip has no effect with --to csv" in dgaug(*store).error()
    assert "dataset.h5" in dgaug("export", tiny_run.store / "dataset.h5", *export[2:], tmp_path / "new.pt").error()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]


def test_onnx_that_is_not_installed_is_named_with_its_remedy(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "find_spec", lambda name: None)
    with pytest.raises(DgaugError, match=r"pip install 'dgaug\[onnx\]'"):
        export_encoder(tiny_run.teacher, to="onnx", out=tmp_path / "encoder.onnx")


def checkpoint_of(kind: str, folder: Path, size: tuple[int, int], backbone: str = "small") -> Path:
    """A checkpoint with an untrained network, of a kind that dgaug trains or imports."""
    torch.manual_seed(0)
    path, names = folder / f"{kind}.pt", ["a", "b", "c"]
    if kind == "outside":
        import_network(Outside().eval(), path, class_names=names, image_size=size)
        return path
    settings = tiny_settings(model={"backbone": backbone})
    members = []
    for name in ("baseline", "pcb") if kind == "ensemble" else (kind,):
        architecture = ARCHITECTURES[name](settings, len(names))
        network = ReidNetwork(**architecture, weights="none")
        for norm in network.modules():
            if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
                norm.running_mean.normal_(std=0.1)
        members.append(folder / f"{name}.pt")
        save(members[-1], reid_content(network, architecture, names, size))
    copy_teachers(members, path) if kind == "ensemble" else None
    return path


class Outside(nn.Module):
    """A network from elsewhere: images to class scores and features."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classify = nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.layers(images)
        return self.classify(features), features


@pytest.mark.parametrize("size", [(64, 32), (96, 48), (112, 64)])  # maps of 4, 6 and 7 rows: bands that overlap or not
@pytest.mark.parametrize("to", encoder.KINDS)
@pytest.mark.parametrize("kind", [*ARCHITECTURES, "ensemble", "outside"])
def test_every_model_has_every_form_for_any_number_of_images(
    kind: str, to: str, size: tuple[int, int], tmp_path: Path
) -> None:
    checkpoint = checkpoint_of(kind, tmp_path, size)
    made = export_encoder(checkpoint, to=to, out=tmp_path / f"encoder.{to}")
    images = torch.rand(7, 3, *size, generator=torch.Generator().manual_seed(1))
    expected = encoder.Encoder(load_reid(checkpoint).network).eval()(images)
    for count in (1, 2, 5, 7):
        if to == "onnx":
            session = onnxruntime.InferenceSession(made.out)
            (result,) = map(torch.from_numpy, session.run(None, {"pictures": images[:count].numpy()}))
        else:
            result = torch.jit.load(made.out)(images[:count])
        assert result.shape == (count, made.feature_length)
        assert torch.allclose(result, expected[:count], atol=1e-5)


def test_bands_of_an_exported_network_are_those_of_training() -> None:
    maps = torch.randn(2, 3, 7, 5, generator=torch.Generator().manual_seed(0))
    for kind in ("max", "avg"):
        for bands in (1, 3, 4, 6, 9):
            plain, traced = pool_bands(maps, bands, kind=kind), _pool_rows(maps, bands, kind)
            assert torch.allclose(plain, traced, atol=1e-6)


def test_an_export_that_fails_is_one_line(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dgaug: RunCommand
) -> None:
    def failing(network: encoder.Encoder, example: torch.Tensor, path: Path, described: str) -> encoder.Run:
        path.write_bytes(b"what should not be left")
        raise RuntimeError("Traceback of TorchScript:\n  in forward\nRuntimeError: an operator that nobody knows\n")

    monkeypatch.setitem(encoder._WRITERS, "torchscript", failing)
    out = tmp_path / "encoder.pt"
    output = dgaug("export", tiny_run.teacher, "--to", "torchscript", "--out", out).error()
    assert "cannot be written as torchscript, try --to onnx" in output
    assert output.endswith("an operator that nobody knows")
    assert list(tmp_path.iterdir()) == []
