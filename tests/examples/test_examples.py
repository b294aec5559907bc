"""The examples, each a process of its own at tiny settings: they keep what they promise."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_run import IDENTITIES, IMAGES, IMAGES_PER_IDENTITY

from dgaug.data.normalisation import normalise
from dgaug.files import file_sha256
from dgaug.models.checkpoints import load_reid
from dgaug.models.reid import soft_labels
from dgaug.models.torchscript import TracedNetwork, trust
from dgaug.runs import Run
from dgaug.store.read import open_store

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(name: str, *arguments: str | Path, cwd: Path) -> str:
    """What a script says, started where it may write; it must end well and say nothing beside it."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Warning" not in ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def own_run(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The tiny run, to write into: a store under `examples/`."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    shutil.copytree(tiny_run.folder, folder, ignore=shutil.ignore_patterns("store"))
    return Run(folder)


def photographs(tiny_run: Run, folder: Path) -> Path:
    """The tiny run's training images under names that follow no published rule."""
    folder.mkdir()
    for number, image in enumerate(sorted((tiny_run.data_root() / "bounding_box_train").iterdir())):
        identity, camera = image.name.split("_")[:2]
        name = f"person{chr(ord('a') + int(identity) - 1)}-cam{camera[1]}-{number}.jpg"
        shutil.copyfile(image, folder / name)
    return folder


def test_a_folder_of_own_images_is_augmented(tmp_path: Path, tiny_run: Run, tiny_config: Path) -> None:
    folder = photographs(tiny_run, tmp_path / "photographs")
    pattern = "person(?P<identity>[a-z])-cam(?P<camera>[0-9])"
    output = run_example("augment_my_folder.py", folder, tiny_config, pattern, cwd=tmp_path)
    assert f"train: {IMAGES} images of {IDENTITIES} identities, 0 damaged" in output
    files = sorted((tmp_path / "generated/bounding_box_train").iterdir())
    assert len(files) == IMAGES * 5
    assert all(Image.open(file).size == (32, 64) for file in files)
    with (tmp_path / "generated/labels.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert {row["appearance_identity"] for row in rows} == set("abcdef")
    assert {row["camera"] for row in rows} == {"1", "2", "3"}
    assert all((tmp_path / "generated" / row["file"]).is_file() for row in rows)
    assert Image.open(tmp_path / "grid.png").width > 32 * IDENTITIES
    assert "<html" in (tmp_path / "runs/mine/report.html").read_text()


def test_the_example_draws_the_folder_that_it_describes(tmp_path: Path) -> None:
    code = "from pathlib import Path; from augment_my_folder import drawn_people; drawn_people(Path('people'))"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(EXAMPLES)}, check=True)
    assert {len(list(folder.iterdir())) for folder in (tmp_path / "people").iterdir()} == {8}
    assert len(list((tmp_path / "people").iterdir())) == 24


def test_a_plain_loop_learns_from_the_store(tmp_path: Path, own_run: Run) -> None:
    output = run_example("store_in_pytorch.py", own_run.folder, cwd=tmp_path)
    assert f"{IMAGES * 10} images of (64, 32, 3)" in output
    sums = re.search(r"sum to ([\d.]+) \.\.\. ([\d.]+)", output)
    assert sums is not None
    assert all(abs(float(text) - 1) <= 2e-3 for text in sums.groups())
    losses = re.findall(r"^([\w-]+): loss ([\d.]+) -> ([\d.]+)$", output, re.MULTILINE)
    assert [policy for policy, *_ in losses] == ["soft", "two-soft", "appearance"]
    assert all(float(last) < float(first) for _, first, last in losses)


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("mixed_plain_loop.py", "torch"),
        ("mixed_metric_learning.py", "pytorch_metric_learning"),
        ("mixed_lightning.py", "lightning"),
    ],
)
def test_real_and_generated_images_are_learned_from_in_one_loader(
    tmp_path: Path, own_run: Run, name: str, package: str
) -> None:
    pytest.importorskip(package)
    output = run_example(name, own_run.folder, cwd=tmp_path)
    losses = [float(text) for text in re.findall(r"^epoch \d: loss ([\d.]+)$", output, re.MULTILINE)]
    assert len(losses) == 4
    assert losses[-1] < losses[0]


def test_another_toolbox_reads_what_was_exported(tmp_path: Path, own_run: Run) -> None:
    output = run_example("feed_another_toolbox.py", own_run.folder, cwd=tmp_path)
    assert f"real: {IMAGES} images, {IDENTITIES} identities, 3 cameras" in output
    assert f"mixed: {IMAGES * 4} images, {IDENTITIES} identities, 3 cameras" in output
    assert "every label is that of the appearance donor" in output
    mixed = list((tmp_path / "Market-1501-generated/bounding_box_train").iterdir())
    assert len(mixed) == IMAGES * 4
    real = {file.name for file in (own_run.data_root() / "bounding_box_train").iterdir()}
    assert len(real & {file.name for file in mixed}) == IMAGES == IDENTITIES * IMAGES_PER_IDENTITY


def test_all_pairs_are_drawn_when_they_are_needed(tmp_path: Path, own_run: Run, tiny_run: Run) -> None:
    output = run_example("virtual_nxn_online.py", own_run.folder, cwd=tmp_path)
    assert f"{IMAGES**2} pairs of {IMAGES} images" in output
    assert "five pairs at once: (5, 64, 32, 3)" in output
    assert re.search(r"trained on 640 fresh images, \d+ a second, loss \d+\.\d+", output)
    virtual = open_store(own_run.folder / "examples/virtual")
    assert virtual.spec.codec == "codes"
    assert np.array_equal(virtual.pairs(), open_store(tiny_run.store).pairs())


def test_a_network_of_ones_own_makes_the_labels(tmp_path: Path, tiny_run: Run, tiny_config: Path) -> None:
    output = run_example("bring_my_own_teacher.py", tiny_run.data_root(), tiny_config, cwd=tmp_path)
    assert f"{IMAGES * 4} images labelled by my-teacher.pt" in output
    teacher, run = tmp_path / "my-teacher.pt", Run(tmp_path / "runs/my-teacher")
    assert run.teacher.read_bytes() == teacher.read_bytes()
    trust(torch.load(teacher, weights_only=True)["network"]["program"])
    model = load_reid(teacher)
    assert isinstance(model.network, TracedNetwork)
    store = open_store(run.store)
    assert store.spec.teacher_sha256 == file_sha256(teacher)
    assert model.class_names == store.sources.class_name
    drawn = store.batch(range(len(store)))
    assert drawn.labels is not None
    made = soft_labels(model.network, normalise(drawn.pixels))
    # The labels are those of the images before JPEG.
    assert float((made.argmax(dim=1) == drawn.labels.argmax(dim=1)).float().mean()) > 0.8
    torch.testing.assert_close(drawn.labels.sum(dim=1), torch.ones(len(store)), atol=2e-3, rtol=0)
