"""Checkpoints: they come back as they were, and anything else is refused by name."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import Any

import pytest
import torch

from dgaug.errors import DgaugError
from dgaug.files import file_sha256
from dgaug.interrupts import Stopped
from dgaug.models import checkpoints
from dgaug.models.reid import ReidNetwork
from dgaug.runs import Run

NAMES = ["anna", "ben", "cleo"]


def architecture(**changed: Any) -> dict[str, Any]:
    return {"backbone": "small", "classes": 3, "dropouts": (0.5, 0.75), "pool": "max", "embedding": 8} | changed


def save_reid(path: Path, **changed: Any) -> ReidNetwork:
    described = architecture(**changed)
    network = ReidNetwork(**described)
    checkpoints.save(path, checkpoints.reid_content(network, described, NAMES, (64, 32)))
    return network.eval()


def rewrite(path: Path, **changed: object) -> None:
    torch.save(torch.load(path, weights_only=True) | changed, path)


def test_a_reid_network_comes_back_ready_for_use(tmp_path: Path) -> None:
    network = save_reid(tmp_path / "a.pt")
    model = checkpoints.load_reid(tmp_path / "a.pt")
    images = torch.randn(2, 3, 64, 32)
    assert all(torch.equal(a, b) for a, b in zip(model.network(images).logits, network(images).logits, strict=True))
    assert not model.network.training
    assert (model.class_names, model.image_size) == (NAMES, (64, 32))
    assert model.sha256 == file_sha256(tmp_path / "a.pt")


def test_a_generator_comes_back_with_its_settings_and_the_average(tiny_run: Run) -> None:
    model = checkpoints.load_generator(tiny_run.checkpoint)
    networks = torch.load(tiny_run.checkpoint, weights_only=True)["networks"]
    assert model.settings == tiny_run.settings()
    assert model.iteration == model.settings.schedule.iterations
    assert not model.generator.training
    assert not model.appearance.training
    loaded = model.generator.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in networks["averaged"].items())
    assert any(not torch.equal(loaded[name], tensor) for name, tensor in networks["generator"].items())


def test_one_kind_of_checkpoint_is_not_taken_for_the_other(tiny_run: Run, tmp_path: Path) -> None:
    with pytest.raises(DgaugError, match=r"holds dgaug\.reid, expected dgaug\.dgnet"):
        checkpoints.load_generator(tiny_run.teacher)
    save_reid(tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", format="dgaug.reid-state")
    with pytest.raises(DgaugError, match=r"holds dgaug\.reid-state, expected dgaug\.reid"):
        checkpoints.load_reid(tmp_path / "a.pt")


def test_the_appearance_encoder_of_a_generator_is_a_reid_network(tiny_run: Run) -> None:
    encoder, trained = checkpoints.load_reid(tiny_run.checkpoint), checkpoints.load_generator(tiny_run.checkpoint)
    images = torch.randn(2, 3, 64, 32)
    assert torch.equal(encoder.network(images).logits[1], trained.appearance(images).logits[1])
    assert (encoder.image_size, encoder.class_names) == ((64, 32), trained.class_names)


def test_weights_of_other_tools_are_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "theirs.pt")
    with pytest.raises(DgaugError, match=r"theirs\.pt holds something else"):
        checkpoints.load_reid(tmp_path / "theirs.pt")


def test_a_checkpoint_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    save_reid(tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", version=checkpoints.VERSION + 1)
    with pytest.raises(DgaugError, match="newer dgaug"):
        checkpoints.load_reid(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "changed",
    [
        {"architecture": {"classes": 3}},
        {"architecture": architecture(pool="max", colour="red")},
        {"architecture": None},
        {"image_size": "large"},
        {"class_names": None},
        {"network": {}},
        {"network": None},
        {"architecture": architecture(classes=4)},
    ],
)
def test_a_reid_checkpoint_with_a_part_missing_or_wrong_is_refused(tmp_path: Path, changed: dict[str, object]) -> None:
    save_reid(tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", **changed)
    with pytest.raises(DgaugError, match=r"a\.pt") as caught:
        checkpoints.load_reid(tmp_path / "a.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["settings", "networks", "class_names", "iteration"])
def test_a_generator_checkpoint_with_a_part_missing_is_refused(tiny_run: Run, tmp_path: Path, part: str) -> None:
    content = torch.load(tiny_run.checkpoint, weights_only=True)
    del content[part]
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(DgaugError, match=r"a\.pt: not a whole DG-Net checkpoint"):
        checkpoints.load_generator(tmp_path / "a.pt")


def test_a_teacher_of_other_identities_is_refused_by_number_and_by_name(tmp_path: Path) -> None:
    save_reid(tmp_path / "a.pt")
    model = checkpoints.load_reid(tmp_path / "a.pt")
    model.require(NAMES, (64, 32), source="people")
    with pytest.raises(DgaugError, match="knows 3 identities, people has 2"):
        model.require(NAMES[:2], (64, 32), source="people")
    with pytest.raises(DgaugError, match="'cleo' against 'dora'"):
        model.require(["anna", "ben", "dora"], (64, 32), source="people")
    with pytest.raises(DgaugError, match=r"sees images of 64 x 32 .* people has 128 x 64"):
        model.require(NAMES, (128, 64), source="people")


def test_saving_replaces_a_checkpoint_whole(tmp_path: Path) -> None:
    for value in (1, 2):
        checkpoints.save(tmp_path / "a.pt", {"format": "x", "version": 1, "value": value})
    assert checkpoints.load(tmp_path / "a.pt", "x")["value"] == 2
    assert [item.name for item in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize("cause", [KeyboardInterrupt(), Stopped(15), OSError(errno.ENOSPC, "no space left")])
def test_what_breaks_off_a_save_is_what_it_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: BaseException
) -> None:
    save_reid(tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()
    causes = [cause]

    class Disturbed(io.FileIO):
        def write(self, content: Any) -> int:
            if self.tell() and causes:
                raise causes.pop()
            return super().write(content)

    monkeypatch.setattr(Path, "open", lambda path, mode: Disturbed(path, mode.replace("b", "")))
    with pytest.raises(type(cause)):
        save_reid(tmp_path / "a.pt")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    assert (tmp_path / "a.pt").read_bytes() == before


def test_a_copy_is_equal_byte_for_byte(tiny_run: Run, tmp_path: Path) -> None:
    checkpoints.copy(tiny_run.teacher, tmp_path / "t.pt")
    assert (tmp_path / "t.pt").read_bytes() == tiny_run.teacher.read_bytes()
