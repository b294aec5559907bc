"""Checkpoints in the published file format become a run that gives the published numbers."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dgaug.data.prepare import read_data
from dgaug.data.records import class_names
from dgaug.data.toy import write_toy
from dgaug.errors import DgaugError
from dgaug.models import checkpoints
from dgaug.models.import_published import import_published
from dgaug.models.reid import soft_labels
from dgaug.runs import Run

PARITY = Path(__file__).parents[1] / "parity"
SEED, CLASSES, FEW = 1, 751, 6
TOLERANCE = 1e-4

Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def recipe() -> Iterator[ModuleType]:
    """The module that writes seeded checkpoints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(PARITY)])
        import seeded_checkpoints

        yield seeded_checkpoints


@pytest.fixture(scope="module")
def seeded(recipe: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeded")
    recipe.main(SEED, folder)
    return folder


@pytest.fixture(scope="module")
def imported(seeded: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return import_published(seeded, tmp_path_factory.mktemp("runs") / "published")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of as many identities as the small checkpoints know."""
    folder = tmp_path_factory.mktemp("people") / "toy"
    write_toy(folder, identities=FEW, images_per_identity=2, cameras=2)
    return folder


def networks_in(path: Path) -> dict[str, Tensors]:
    networks: dict[str, Tensors] = torch.load(path, weights_only=True)["networks"]
    return networks


def tensors_in(path: Path) -> Tensors:
    content: Tensors = torch.load(path, weights_only=True)
    return content


def few_classes(tensors: Tensors) -> Tensors:
    """The same network for the first identities only."""
    return {
        name: tensor[:FEW].clone() if ".classifier.0." in f".{name}" else tensor for name, tensor in tensors.items()
    }


@pytest.fixture(scope="module")
def released(seeded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like what is released: layers of its own, names of several GPUs, no discriminator, no ImageNet classifier."""
    folder = tmp_path_factory.mktemp("released")
    for name in ("checkpoints", "teacher"):
        (folder / name).mkdir()
    generator = tensors_in(seeded / "gen_00100000.pt")["a"]
    layers = {f"enc_content.model.4.model.{k}.model.2.{leaf}.weight": torch.ones(2) for k in range(4) for leaf in "gW"}
    torch.save({"a": generator | layers | {"author.note": torch.ones(1)}}, folder / "checkpoints" / "gen_00050000.pt")
    torch.save({"a": {}}, folder / "checkpoints" / "gen_00060000.pt")
    encoder = few_classes(tensors_in(seeded / "id_00100000.pt")["a"])
    old = {f"module.{name}": tensor for name, tensor in encoder.items() if not name.endswith("num_batches_tracked")}
    torch.save({"a": old}, folder / "checkpoints" / "id_00050000.pt")
    teacher = few_classes(tensors_in(seeded / "teacher" / "net_last.pth"))
    kept = {name: tensor for name, tensor in teacher.items() if not name.startswith("model.fc.")}
    torch.save(kept, folder / "teacher" / "net_last.pth")
    (folder / "teacher" / "opts.yaml").write_text("droprate: 0.5\nstride: 2\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("part", ["generator", "appearance", "teacher"])
def test_an_imported_run_gives_the_published_numbers(imported: Run, recipe: ModuleType, part: str) -> None:
    with np.load(PARITY / f"expected_seed{SEED}.npz") as file:
        expected = dict(file)
    model = checkpoints.load_generator(imported.checkpoint)
    inputs = recipe.inputs(SEED)
    drawn = torch.from_numpy(expected["decode(x_a,x_b)"])
    result: Tensors = {}
    if part == "generator":
        structure, seen = model.generator.structure(inputs["x_a"]), torch.from_numpy(expected["appearance(x_b)"])
        result = {"structure(x_a)": structure, "decode(x_a,x_b)": model.generator(structure, seen)}
    elif part == "appearance":
        network = checkpoints.load_reid(imported.checkpoint).network
        output = model.appearance(inputs["x_b"])
        result = {"appearance(x_b)": output.appearance, "prim(x_b)": output.logits[0], "fine(x_b)": output.logits[1]}
        result |= {"reid_feature(x_b)": network.features(inputs["x_b"])}
    else:
        teacher = checkpoints.load_reid(imported.teacher).network
        result = {
            "teacher_logits(x_b)": teacher(inputs["x_b"]).logits[0],
            "teacher_q(fake)": soft_labels(teacher, drawn),
        }
    for name, tensor in result.items():
        wanted = torch.from_numpy(expected[name])
        assert float((tensor - wanted).norm() / wanted.norm()) < TOLERANCE, name


def test_an_imported_run_is_a_run_folder(imported: Run, seeded: Path) -> None:
    model = checkpoints.load_generator(imported.checkpoint)
    assert model.iteration == 100_000
    assert model.settings == imported.settings()
    assert (model.settings.name, model.settings.schedule.iterations) == ("dgnet-published", 100_000)
    about = json.loads((imported.folder / "environment.json").read_text(encoding="utf-8"))
    assert about["versions"].keys() >= {"dgaug", "torch"}
    assert about["imported"]["sha256"].keys() == {path.name for path in seeded.rglob("*.p*")}
    assert str(seeded) not in json.dumps(about)
    assert not imported.knows_data()
    with pytest.raises(DgaugError, match=r"knows no data set .* --data DIR"):
        imported.data_root()


def test_the_average_is_the_generator_and_optimisers_start_fresh(imported: Run) -> None:
    content = torch.load(imported.checkpoint, weights_only=True)
    networks = content["networks"]
    assert content["optimizers"] == {}
    assert networks.keys() == {"generator", "averaged", "appearance", "discriminator"}
    assert all(torch.equal(networks["averaged"][name], tensor) for name, tensor in networks["generator"].items())


def test_without_data_the_classes_have_a_number_and_no_names(imported: Run) -> None:
    for model in (checkpoints.load_reid(imported.teacher), checkpoints.load_reid(imported.checkpoint)):
        assert model.class_names is None
        assert model.network.classes == CLASSES
        model.require([f"{k:04d}" for k in range(CLASSES)], (256, 128), source="people")
        with pytest.raises(DgaugError, match="knows 751 identities, people has 3"):
            model.require(["a", "b", "c"], (256, 128), source="people")
    assert checkpoints.load_generator(imported.checkpoint).class_names is None


def test_the_same_import_again_is_already_complete_and_another_is_refused(
    imported: Run, seeded: Path, released: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="dgaug")
    before = imported.checkpoint.stat().st_mtime_ns
    assert import_published(seeded, imported.folder).folder == imported.folder
    assert "already complete" in caplog.text
    assert imported.checkpoint.stat().st_mtime_ns == before
    for other in ({"directory": released}, {"directory": seeded, "teacher_stride": 2}):
        with pytest.raises(DgaugError, match=r"exists, not from these files and data; .* with --force"):
            import_published(out=imported.folder, **other)


def test_files_like_the_released_ones_are_read_and_what_was_dropped_is_said(
    released: Path, seeded: Path, imported: Run, people: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="dgaug")
    left = tmp_path / ".run.part" / "checkpoints"
    left.mkdir(parents=True)
    (left / "00010000.pt").touch()
    run = import_published(released, tmp_path / "run", data=people)
    assert {item.name for item in tmp_path.iterdir()} == {"run"}
    assert {item.name for item in (run.folder / "checkpoints").iterdir()} == {"last.pt"}

    notes = {note.partition(": ")[0]: note for note in caplog.messages}
    dropped = notes["gen_00050000.pt"]
    assert "16 tensors that no network reads (such as dec.model.1." in dropped
    assert "8 tensors of layers inside the residual blocks that this architecture has not" in dropped
    assert "1 tensors unknown here (such as author.note)" in dropped
    assert "2 tensors of the ImageNet classifier" in notes["id_00050000.pt"]
    assert "last stride 2, by its opts.yaml" in notes["net_last.pth"]
    assert "the discriminator is a fresh one" in caplog.text

    names = class_names(read_data(people, run.settings().data).splits["train"])
    model, teacher = checkpoints.load_generator(run.checkpoint), checkpoints.load_reid(run.teacher)
    assert model.class_names == teacher.class_names == names
    assert run.data_root() == people
    assert (run.settings().data.root, run.settings().teacher.last_stride) == (str(people), 2)
    assert (model.iteration, model.settings.schedule.iterations) == (50_000, 100_000)
    same, other = networks_in(run.checkpoint), networks_in(imported.checkpoint)
    assert all(torch.equal(tensor, other["generator"][name]) for name, tensor in same["generator"].items())
    backbone = [name for name in same["appearance"] if name.startswith("backbone.") and "num_batches" not in name]
    assert all(torch.equal(same["appearance"][name], other["appearance"][name]) for name in backbone)
    write_toy(tmp_path / "others", identities=FEW, images_per_identity=3, cameras=2)
    with pytest.raises(DgaugError, match="not from these files and data"):
        import_published(released, run.folder, data=tmp_path / "others")


class Code:
    """What a plain file of weights must not hold."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("broken-in"),)


def one_head(folder: Path) -> None:
    replace(folder / "id_00100000.pt", {"a": tensors_in(folder / "teacher" / "net_last.pth")})


def code(folder: Path) -> None:
    replace(folder / "id_00100000.pt", {"a": Code()})


def half_a_file(folder: Path) -> None:
    content = (folder / "id_00100000.pt").read_bytes()[:1_000_000]
    (folder / "id_00100000.pt").unlink()
    (folder / "id_00100000.pt").write_bytes(content)


def other_key(folder: Path) -> None:
    replace(folder / "id_00100000.pt", tensors_in(folder / "id_00100000.pt")["a"])


def no_pair(folder: Path) -> None:
    (folder / "id_00100000.pt").rename(folder / "id_00090000.pt")


def lacking(folder: Path) -> None:
    tensors = tensors_in(folder / "gen_00100000.pt")["a"]
    del tensors["dec.model.6.conv.bias"]
    replace(folder / "gen_00100000.pt", {"a": tensors})


def misshapen(folder: Path) -> None:
    tensors = tensors_in(folder / "gen_00100000.pt")["a"]
    replace(folder / "gen_00100000.pt", {"a": tensors | {"mlp_w2.model.0.fc.weight": torch.zeros(512, 3)}})


def other_teacher(folder: Path) -> None:
    teacher = folder / "teacher" / "net_last.pth"
    replace(teacher, few_classes(tensors_in(teacher)))


def other_options(folder: Path) -> None:
    (folder / "teacher" / "opts.yaml").write_text("stride: 3", encoding="utf-8")


def replace(path: Path, content: object) -> None:
    path.unlink()
    torch.save(content, path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (one_head, r"id_00100000\.pt: tensor 'classifier1\.classifier\.0\.bias' is missing; readable are two-head"),
        (code, r"id_00100000\.pt is not a plain checkpoint \(it holds more than tensors"),
        (half_a_file, r"id_00100000\.pt"),
        (other_key, r"id_00100000\.pt: not a published DG-Net file"),
        (no_pair, r"holds no gen_N\.pt with an id_N\.pt of the same number"),
        (lacking, r"gen_00100000\.pt: .* tensor 'dec\.model\.6\.conv\.bias' is missing"),
        (misshapen, r"gen_00100000\.pt: .* 'mlp_w2\.model\.0\.fc\.weight' has the shape \[512, 3\], .* \[512, 2048\]"),
        (other_teacher, r"net_last\.pth: the teacher knows 6 identities, the appearance encoder 751"),
        (other_options, r"opts\.yaml: expected stride: 1 or 2, found 3"),
    ],
)
def test_files_that_do_not_fit_are_refused_by_name_and_nothing_is_made(
    seeded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(seeded, tmp_path / "theirs", copy_function=lambda source, target: Path(target).symlink_to(source))
    spoil(tmp_path / "theirs")
    with pytest.raises(DgaugError, match=said) as caught:
        import_published("theirs", "run")
    assert "\n" not in str(caught.value)
    assert [item.name for item in tmp_path.iterdir()] == ["theirs"]


def test_data_of_another_number_of_identities_are_refused(seeded: Path, people: Path, tmp_path: Path) -> None:
    with pytest.raises(DgaugError, match=r"know 751 identities, the training split of .* has 6"):
        import_published(seeded, tmp_path / "run", data=people)
    assert list(tmp_path.iterdir()) == []


def test_force_replaces_a_run_and_nothing_else(seeded: Path, tmp_path: Path) -> None:
    for name in ("config.yaml", "store/dataset.h5", "checkpoints/last.pt"):
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(DgaugError, match=r"holds thesis\.tex, which is no part of a run"):
        import_published(seeded, tmp_path / "mine", force=True)
    run = import_published(seeded, tmp_path / "run", force=True)
    assert checkpoints.load_generator(run.checkpoint).iteration == 100_000
    assert {item.name for item in run.folder.iterdir()} == {
        ".lock",
        "checkpoints",
        "config.yaml",
        "environment.json",
        "teacher",
    }
    assert {item.name for item in tmp_path.iterdir()} == {"mine", "run"}
