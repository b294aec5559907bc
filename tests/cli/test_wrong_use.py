"""Every mistake ends with exit code 2 and one line that says what, where and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tiny_run import RunCommand, finish_process, start_process, write_config

from dgaug.data.toy import write_toy
from dgaug.runs import Run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, without cached weights."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return folder


def make_file(name: str) -> Callable[[Path], None]:
    return lambda here: (here / name).write_text("years of work", encoding="utf-8") and None


def make_folder(here: Path) -> None:
    (here / "empty").mkdir()


def make_unknown_layout(here: Path) -> None:
    (here / "photos").mkdir()
    Image.new("RGB", (32, 64)).save(here / "photos" / "holiday.jpg")


def make_one_identity(here: Path) -> None:
    for number in range(3):
        path = here / "people" / "anna" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 64), (number, 0, 0)).save(path)


def make_damaged(here: Path) -> None:
    write_toy(here / "people", identities=2, images_per_identity=2, cameras=2)
    next((here / "people" / "bounding_box_train").iterdir()).write_bytes(b"\xff\xd8\xff half an image")


def nothing(here: Path) -> None:
    pass


UNTRAINED = "--set model.weights=none"
WRONG = [
    (f"train --data gone {UNTRAINED}", nothing, "gone: no such folder"),
    (f"train --data empty {UNTRAINED}", make_folder, "empty"),
    (f"train --data photos {UNTRAINED}", make_unknown_layout, "photos"),
    (f"train --data notes.txt {UNTRAINED}", make_file("notes.txt"), "notes.txt"),
    (f"train --data people {UNTRAINED}", make_one_identity, "1 training identity found, at least two are needed"),
    (f"train --data people {UNTRAINED}", make_damaged, "data.damaged=skip"),
    ("train --config market1500", nothing, "did you mean 'market1501'"),
    ("train --config gone.yaml", nothing, "unknown preset or missing file 'gone.yaml'"),
    ("train --config notes.txt", make_file("notes.txt"), "notes.txt"),
    ("train --set schedule.iteration=5", nothing, "did you mean 'iterations'"),
    ("train --set schedule.iterations=many", nothing, "schedule.iterations = 'many'"),
    ("train --set schedule", nothing, "expected section.name=value"),
    ("train --limit-identities 1", nothing, "data.limit_identities"),
    ("train --seed -1", nothing, "seed = -1"),
    ("train --teacher gone.pt", nothing, "gone.pt"),
    ("train --teacher notes.txt", make_file("notes.txt"), "notes.txt"),
    ("train --config toy --set model.backbone=resnet51", nothing, "unknown backbone 'resnet51'"),
    (
        "train --config toy --set model.backbone=mixer_s16_224",
        nothing,
        "gives no feature maps for images of any size",
    ),
    ("train --config market1501", nothing, "model.weights=none"),
    ("train --set model.start=gone.safetensors --out run", nothing, "pretrained generator not found"),
    ("train --out notes.txt/run --from-scratch", make_file("notes.txt"), "Not a directory"),
    ("train --out .", make_file("notes.txt"), "is not a run folder"),
    ("train --colour red", nothing, "No such option"),
    ("synthesize", nothing, "no run with a checkpoint under runs; run dgaug train first"),
    ("synthesize --run 3", nothing, "no run number 3"),
    ("synthesize --run gone", nothing, "no such run folder: gone"),
    ("synthesize --run empty", make_folder, "empty has no checkpoint"),
    ("synthesize --codec gif", nothing, "'gif' is not one of"),
    ("synthesize --shard-size 0", nothing, "0 is not in the range"),
    ("synthesize --checkpoint notes.txt --data empty --out store", make_file("notes.txt"), "notes.txt"),
    ("score-fid", nothing, "no run with a checkpoint under runs"),
    ("score-fid gone --real empty", make_folder, "gone is neither a store nor a folder"),
    ("score-fid empty", make_folder, "give --real DIR"),
    ("score-fid --protocol best", nothing, "unknown protocol 'best'"),
    ("score-fid --metrics lpips", nothing, "unknown metric 'lpips'"),
    ("train-reid", nothing, "no run with a checkpoint under runs"),
    ("train-reid --feed video", nothing, "unknown feed 'video'"),
    ("train-reid --data empty --feed none", make_folder, "--data needs --out"),
    ("train-reid --data empty --labels hard --out reid", make_folder, "unknown label policy 'hard'"),
    ("train-reid --data empty --model resnet --out reid", make_folder, "unknown model 'resnet'"),
    ("train-reid --data empty --identities-fraction 2 --out reid", make_folder, "data.identities_fraction = 2"),
    ("train-reid --data people --feed none --out reid", make_one_identity, "1 training identity found"),
    ("ablate --data gone --config toy", nothing, "gone: no such folder"),
    ("ablate --data people --config toy", make_one_identity, "1 training identity found"),
    ("ablate --config toy --images-per-identity 0", nothing, "data.images_per_identity = 0"),
    ("ablate --seeds 0", nothing, "0 is not in the range"),
    ("study --data gone --config toy", nothing, "gone: no such folder"),
    ("study --repeats 1", nothing, "--repeats 1: an interval needs at least 3 repeats"),
    ("study --fractions half", nothing, "--fractions half: expected numbers above 0"),
    ("study --config study --fractions 0.05,1", nothing, "without an image; the smallest fraction is 0.099"),
    ("train-reid --seeds 0", nothing, "0 is not in the range"),
    ("eval-reid gone.pt --data empty", make_folder, "gone.pt"),
    ("eval-reid gone.pt", nothing, "Missing option '--data'"),
    ("verify gone", nothing, "gone"),
    ("grid", nothing, "no run with a checkpoint"),
    ("swap a.jpg", nothing, "Missing argument 'STRUCTURE'"),
    ("config show market1500", nothing, "did you mean 'market1501'"),
    ("data check gone", nothing, "gone: no such folder"),
    ("data check people --pattern [", make_one_identity, "pattern"),
    ("data toy people --size 64", nothing, "expected HxW, such as 128x64"),
    ("data toy empty/../here.txt --size 0x0", nothing, "size"),
    ("data pack gone", nothing, "gone: no such folder"),
    ("paint", nothing, "No such command 'paint'"),
]


@pytest.mark.parametrize(("command", "prepare", "said"), WRONG, ids=[command for command, _, _ in WRONG])
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    here: Path, dgaug: RunCommand, command: str, prepare: Callable[[Path], None], said: str
) -> None:
    prepare(here)
    before = sorted(here.rglob("*"))
    assert said in dgaug(*command.split()).error()
    made = set(here.rglob("*")) - set(before)
    assert {path.name for path in made} <= {".lock"}


def test_a_real_process_ends_the_same_way(here: Path) -> None:
    ended = finish_process(start_process("train", "--data", "gone", *UNTRAINED.split(), cwd=here))
    assert ended.error() == f"error: {here / 'gone'}: no such folder"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("synthesize --pairs some", "expected pairs to be"),
        ("synthesize --pairs random:0", "random:0"),
        ("synthesize --pairs random:1000000", "at most 576"),
        ("synthesize --pairs csv:gone.csv", "gone.csv"),
        ("synthesize --pairs random:3", "pairs: all -> random:3"),
        ("synthesize --teacher gone.pt --out store", "gone.pt"),
        ("synthesize --teacher none --min-confidence 0.5 --out store", "--min-confidence needs a teacher"),
        ("score-fid --metrics fid", "pt_inception-2015-12-05-6726825d.pth"),
        ("score-fid --metrics frechet --encoder resnet18", "expected NAME=FILE"),
        ("score-fid --teacher gone.pt", "gone.pt"),
        ("train-reid --store gone", "gone"),
        ("train-reid --labels hard", "unknown label policy 'hard'"),
        ("train-reid --model vit", "unknown model 'vit'"),
        ("train-reid --set reid.iteration=1", "did you mean 'iterations'"),
        ("grid --count 7", "7 were asked for"),
        ("swap gone.jpg gone.jpg", "gone.jpg: damaged image (no such file)"),
    ],
)
def test_a_mistake_on_a_finished_run_is_one_line_too(
    here: Path, tiny_run: Run, dgaug: RunCommand, command: str, said: str
) -> None:
    name, *rest = command.split()
    assert said in dgaug(name, "--run", tiny_run.folder, *rest).error()
    assert not (tiny_run.folder / "reid").exists()


def test_a_run_without_checkpoint_is_told_from_a_trained_one(here: Path, tiny_run: Run, dgaug: RunCommand) -> None:
    run = here / "runs" / "00001-tiny"
    run.mkdir(parents=True)
    shutil.copy(tiny_run.config, run)
    assert "no run with a checkpoint" in dgaug("synthesize").error()
    assert "has no checkpoint" in dgaug("synthesize", "--run", "1").error()
    assert "--resume --out" in dgaug("synthesize", "--run", "1").error()


@pytest.mark.parametrize("name", ["score-fid", "train-reid"])
def test_a_run_without_a_store_says_which_command_comes_first(
    here: Path, tiny_run: Run, dgaug: RunCommand, name: str
) -> None:
    shutil.copytree(tiny_run.folder, here / "run", ignore=shutil.ignore_patterns("store"))
    assert "dgaug synthesize" in dgaug(name, "--run", here / "run").error()


@pytest.mark.parametrize("name", ["score-fid", "train-reid"])
def test_an_unfinished_store_is_told_from_a_finished_one(
    here: Path, tiny_run: Run, dgaug: RunCommand, name: str
) -> None:
    shutil.copytree(tiny_run.folder, here / "run")
    (here / "run" / "store" / "shards" / "000001.h5").unlink()
    assert "run the same `dgaug synthesize` command again" in dgaug(name, "--run", here / "run").error()


def test_a_teacher_of_other_identities_is_refused(here: Path, tiny_run: Run, dgaug: RunCommand) -> None:
    write_toy(here / "people", identities=3, images_per_identity=2, cameras=2)
    teacher = ("--teacher", tiny_run.teacher)
    config = write_config(here / "tiny.yaml")
    output = "the teacher knows 6 identities"
    assert output in dgaug("train", "--data", "people", "--config", config, *teacher, "--out", "run").error()
    assert not (here / "run").exists()
    checkpoint = ("--checkpoint", tiny_run.checkpoint, "--data", "people", "--out", "store")
    assert output in dgaug("synthesize", *checkpoint, *teacher).error()
    assert not (here / "store").exists()


def test_data_without_queries_are_refused(here: Path, tiny_run: Run, dgaug: RunCommand) -> None:
    shutil.copytree(tiny_run.data_root() / "bounding_box_train", here / "people" / "bounding_box_train")
    output = "has no query and no gallery split"
    command = ("train-reid", "--data", "people", "--feed", "none", "--config", tiny_run.config, "--out", "reid")
    assert output in dgaug(*command).error()
    assert output in dgaug("eval-reid", tiny_run.teacher, "--data", "people").error()


def test_nothing_is_overwritten_without_force(here: Path, dgaug: RunCommand) -> None:
    write_toy(here / "people", identities=2, images_per_identity=2, cameras=2)
    assert dgaug("data", "pack", "people").code == 0
    assert "--force" in dgaug("data", "pack", "people").error()
    assert dgaug("data", "pack", "people", "--force").code == 0
    (here / "mine").mkdir()
    (here / "mine" / "thesis.tex").touch()
    assert "mine" in dgaug("data", "toy", "mine", "--identities", "2").error()
