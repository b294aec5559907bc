"""An export of the images that a judge keeps: which, counted, for every form, or one clear line."""

from __future__ import annotations

import csv
import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_run import RunCommand

import dgaug as library
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import load_reid
from dgaug.progress import silent
from dgaug.runs import Run
from dgaug.studies.feeds import Labelling, open_source
from dgaug.studies.selection import Selection, score_file, selected
from dgaug.training.batches import LabelledImages


@pytest.fixture(scope="module")
def kept(tiny_run: Run, images: LabelledImages, judge: Path) -> list[int]:
    """The rows that `train-reid --select judge:FILE,keep=0.25` trains with."""
    source = open_source(tiny_run.store, images, Labelling("appearance", False, None, None))
    half, _ = selected(source, Selection(judge, 0.25), load_reid(judge), images, progress=silent)
    score_file(source.store, load_reid(judge)).unlink()
    assert half.fitting.rows is not None
    return [int(row) for row in half.fitting.rows]


@pytest.fixture
def store(tiny_run: Run, tmp_path: Path) -> Path:
    """A copy of the run: what a judge's scores are kept in lies beside the store."""
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    return Run(tmp_path / "run").store


def numbers(folder: Path, pattern: str = "*.jpg") -> list[int]:
    return sorted(int(re.findall(r"\d{7,}", path.name)[-1]) for path in folder.rglob(pattern))


def test_every_form_holds_the_images_that_training_would_use(
    store: Path, judge: Path, kept: list[int], tmp_path: Path, dgaug: RunCommand
) -> None:
    select = ("--select", f"judge:{judge},keep=0.25")
    made = json.loads(dgaug("export", store, "--to", "folders", *select, "--out", tmp_path / "f", "--json").out)
    assert (made["select"]["kept"], made["select"]["left_out"], made["pictures"]) == (144, 432, 144)
    assert numbers(tmp_path / "f") == kept
    ended = dgaug("export", store, "--to", "csv", *select, "--limit", "9", "--out", tmp_path / "c")
    assert "selected by the judge: 144 images kept, 432 left out" in ended.err
    with (tmp_path / "c" / "labels.csv").open(encoding="utf-8", newline="") as stream:
        assert [int(row["picture"]) for row in csv.DictReader(stream)] == kept[:9]
    dgaug("export", store, "--to", "webdataset", *select, "--shard-size", "100", "--out", tmp_path / "w")
    in_tars = []
    for path in sorted((tmp_path / "w").glob("*.tar")):
        with tarfile.open(path) as tar:
            in_tars.append([int(name[:-4]) for name in tar.getnames() if name.endswith(".jpg")])
    assert in_tars == [kept[:100], kept[100:]]


@pytest.mark.parametrize(("tool", "options"), [("market", {}), ("huggingface", {"license": "mit"})])
def test_real_and_selected_images_in_one_data_set(
    store: Path, judge: Path, kept: list[int], tmp_path: Path, tool: str, options: dict[str, Any]
) -> None:
    data = Run(store.parent).data_root() if tool == "market" else None
    select = f"judge:{judge},keep=0.25"
    made = library.export_merged(store, data, tool=tool, out=tmp_path / "all", select=select, ratio=1000, **options)
    assert made.select is not None
    assert (made.generated, made.select["kept"], made.select["left_out"]) == (144, 144, 432)
    assert "selected by the judge: 144 images kept, 432 left out" in made.notes[-1]
    if tool == "market":
        assert numbers(tmp_path / "all" / "bounding_box_train", "*s1_" + "[0-9]" * 7 + "_00.jpg") == kept
        few = library.export_merged(store, data, out=tmp_path / "few", select=select, ratio=1)
        assert few.generated == 24
        chosen = numbers(tmp_path / "few" / "bounding_box_train", "*s1_" + "[0-9]" * 7 + "_00.jpg")
        assert set(chosen) < set(kept)
    else:
        card = (tmp_path / "all" / "README.md").read_text(encoding="utf-8")
        assert "selected by the judge: 144 images kept, 432 left out" in card
    again = library.export_merged(store, data, tool=tool, out=tmp_path / "all", select=select, ratio=1000, **options)
    assert again.already_complete
    with pytest.raises(DgaugError, match=r"select: judge:.*,keep=0\.25,.* -> judge:.*,keep=0\.5,"):
        library.export_merged(
            store, data, tool=tool, out=tmp_path / "all", select=f"judge:{judge}", ratio=1000, **options
        )


def test_a_store_in_no_run_needs_the_real_images(
    store: Path, judge: Path, kept: list[int], tmp_path: Path, dgaug: RunCommand
) -> None:
    shutil.copytree(store, tmp_path / "alone" / "store")
    command = ("export", tmp_path / "alone" / "store", "--to", "folders", "--out", tmp_path / "out")
    command += ("--select", f"judge:{judge},keep=0.25")
    assert "lies in no run's folder: give them with --with DATA" in dgaug(*command).error()
    assert not (tmp_path / "out").exists()
    assert dgaug(*command, "--with", Run(store.parent).data_root()).code == 0
    assert numbers(tmp_path / "out") == kept


def test_wrong_use_is_one_line_and_writes_nothing(
    store: Path, tiny_run: Run, judge: Path, tmp_path: Path, dgaug: RunCommand
) -> None:
    data = ("--with", Run(store.parent).data_root())
    for words, said in (
        (("--to", "folders", "--select", "judge:"), "expected judge:FILE,keep=0.5"),
        (("--for", "market", *data, "--select", f"judge:{judge},keep=2"), "a share above 0 and up to 1"),
        (("--for", "market", *data, "--select", "best"), "is not random, confidence or judge:FILE,keep=0.5"),
        (("--to", "folders", "--select", "judge:gone.pt"), "gone.pt"),
        (("--to", "csv", "--select", f"judge:{tiny_run.teacher}"), "is the teacher"),
        (("--to", "csv", "--select", f"judge:{tiny_run.checkpoint}"), "is the generator of"),
        (("--to", "csv", "--select", "confidence"), "--select confidence has no effect with --to csv"),
    ):
        assert said in dgaug("export", store, *words, "--out", tmp_path / "out").error()
        assert not list(tmp_path.glob("out*"))
    with pytest.raises(DgaugError, match=r"--select judge:FILE,keep=0\.5 with --to csv, found 'random'"):
        library.export_store(store, to="csv", out=tmp_path / "out", select="random")


def test_scores_that_cannot_be_kept_are_made_again(
    store: Path, judge: Path, kept: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(np, "savez", full)
    library.export_store(store, to="folders", out=tmp_path / "out", select=f"judge:{judge},keep=0.25")
    assert numbers(tmp_path / "out") == kept
    assert not list(store.parent.glob("*judged*"))
