"""Weight files: found where they should be, refused with a remedy, never executed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_run import finish_process, start_process

from dgaug.errors import DgaugError
from dgaug.files import file_sha256
from dgaug.models.backbones import create_backbone
from dgaug.models.weights import read_checkpoint, read_tensors


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.mkdir, (str(self.marker), 0o777)


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_a_checkpoint_that_carries_code_is_refused_and_not_run(tmp_path: Path, suffix: str) -> None:
    path, marker = tmp_path / f"evil{suffix}", tmp_path / "ran"
    torch.save({"network": Trap(marker)}, path)
    for read in (read_checkpoint, read_tensors, lambda file: create_backbone("small", weights=str(file))):
        with pytest.raises(DgaugError, match="not a plain checkpoint"):
            read(path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), "the trap does not work"


def test_imagenet_weights_that_are_not_there_name_the_path_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(DgaugError, match=r"model\.weights=none") as caught:
        create_backbone("resnet50", weights="imagenet")
    assert str(tmp_path / "hub" / "checkpoints" / "resnet50-11ad3fa6.pth") in str(caught.value)


def test_timm_weights_that_are_not_there_name_the_path_and_the_way_out(tmp_path: Path) -> None:
    arguments = ["train", "--out", tmp_path / "run", "--set", "model.backbone=tf_efficientnet_lite0"]
    command = [*arguments, "--set", "model.weights=imagenet", "--from-scratch"]
    ended = finish_process(start_process(*command, HF_HUB_CACHE=str(tmp_path / "hub"), HF_HUB_OFFLINE="1"))
    assert str(tmp_path / "hub") in ended.error()
    assert "model.weights=none" in ended.error()
    assert not (tmp_path / "run").exists()


def test_a_weight_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DgaugError, match=r"not found: .*gone\.pth.*model\.weights=none"):
        create_backbone("resnet50", weights=str(tmp_path / "gone.pth"))


def test_the_small_backbone_has_no_imagenet_weights() -> None:
    with pytest.raises(DgaugError, match=r"'small' has no ImageNet weights.*none"):
        create_backbone("small", weights="imagenet")


@pytest.mark.parametrize("form", ["pt", "state_dict", "safetensors", "several gpus"])
def test_weights_are_read_from_every_usual_form_of_file(tmp_path: Path, form: str) -> None:
    trained = create_backbone("small")
    state = {name: tensor + 1 for name, tensor in trained.state_dict().items() if "num_batches" not in name}
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pt")
    with_classifier = state | {"fc.weight": torch.zeros(5, 5)}
    if form == "safetensors":
        save_file({name: tensor.contiguous() for name, tensor in with_classifier.items()}, path)
    elif form == "state_dict":
        torch.save({"state_dict": with_classifier, "epoch": 3}, path)
    elif form == "several gpus":
        torch.save({f"module.{name}": tensor for name, tensor in with_classifier.items()}, path)
    else:
        torch.save(with_classifier, path)
    loaded = create_backbone("small", weights=str(path)).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_weights_of_another_network_are_refused_with_what_does_not_fit(tmp_path: Path) -> None:
    state = create_backbone("small").state_dict()
    first = next(iter(state))
    lacking = {name: tensor for name, tensor in state.items() if name != first}
    torch.save(lacking, tmp_path / "lacking.pt")
    torch.save(state | {first: torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(DgaugError, match=f"1 tensors missing and 0 of another shape \\(first: {first}\\)"):
        create_backbone("small", weights=str(tmp_path / "lacking.pt"))
    with pytest.raises(DgaugError, match="0 tensors missing and 1 of another shape"):
        create_backbone("small", weights=str(tmp_path / "other.pt"))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + bytes(100)])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("a.pt", "a.safetensors"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DgaugError, match=name):
            read_tensors(path)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"w": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(DgaugError, match="cannot read"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [[torch.zeros(1)], torch.zeros(1), {"a": 1}])
def test_a_file_of_something_else_than_tensors_by_name_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(DgaugError, match="not a"):
        read_tensors(tmp_path / "a.pt")


def test_a_files_hash_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
