"""The page shows what a run has, names what it lacks, and takes every name for a name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pages import HOSTILE, ReadPage, copy_of
from PIL import Image
from tiny_run import IDENTITIES, RunCommand

from dgaug.data.recorded import read_run_data
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import load_generator
from dgaug.report import grid, images, page
from dgaug.report.page import report_run
from dgaug.runs import Run
from dgaug.scores.quality.structure_consistency import STRUCTURE_DONOR, structure_consistency
from dgaug.scores.retrieval import ranked_lists

SECTIONS = ("images", "between", "curves", "previews", "scores", "reid", "ranked", "settings")


@pytest.fixture(scope="module")
def whole_page(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> ReadPage:
    return ReadPage(report_run(tiny_run.folder, out=tmp_path_factory.mktemp("page") / "report.html"))


def test_the_page_has_a_cell_for_every_pair_with_donors_label_and_scores(whole_page: ReadPage) -> None:
    cells = whole_page.of("button", class_="cell")
    assert [(int(cell["data-row"]), int(cell["data-column"])) for cell in cells] == [
        (row, column) for row in range(IDENTITIES) for column in range(IDENTITIES)
    ]
    assert len(whole_page.of("img", **{"data-of": "cell"})) == IDENTITIES**2
    output = whole_page.sections["images"]
    for words in ("Soft label of the teacher", "SSIM to the true image", "teacher: appearance donor's identity"):
        assert output.count(words) == IDENTITIES**2, words


def test_the_grey_ssim_of_a_cell_is_that_of_the_scores(tiny_run: Run) -> None:
    model, data = load_generator(tiny_run.checkpoint), read_run_data(tiny_run)
    images = grid.generate_grid_images(model, data, data.splits["train"][:9:4])
    described = grid.described_grid(images, data, teacher=tiny_run.teacher, iteration=0)
    for row, cells in enumerate(described.cells):
        for column, cell in enumerate(cells):
            of_scores = structure_consistency(
                images.cells[row, column][None], images.donors[column][None], images.donors[row][None]
            )
            shown = dict(cell.scores)["grey SSIM to the structure donor"]
            assert shown == f"{of_scores[STRUCTURE_DONOR]['grey_ssim']:.3f}"


def test_the_page_needs_nothing_but_itself(whole_page: ReadPage) -> None:
    for tag, attributes in whole_page.elements:
        for name in ("src", "href", "srcset", "action", "data"):
            assert attributes.get(name, "data:").startswith(("data:", "#")), (tag, attributes)
    assert not whole_page.of("link", rel="stylesheet")
    assert "url(" not in whole_page.text
    assert "@import" not in whole_page.text


def test_every_image_and_curve_says_what_it_is(whole_page: ReadPage) -> None:
    assert len(whole_page.of("img")) > IDENTITIES**2
    assert all(image.get("alt") for image in whole_page.of("img"))
    assert len(whole_page.of("svg")) > 10
    assert all(chart["aria-label"] for chart in whole_page.of("svg"))


def test_what_is_not_made_yet_is_named_with_its_command(whole_page: ReadPage, tiny_run: Run) -> None:
    assert f"dgaug score-fid --run {tiny_run.folder}" in whole_page.sections["scores"]
    assert f"dgaug train-reid --run {tiny_run.folder}" in whole_page.sections["reid"]
    assert f"dgaug synthesize --run {tiny_run.folder}" not in whole_page.text, "that is done"
    assert "8 of 8 iterations" in whole_page.text
    assert "576 images" in whole_page.text


def test_a_run_stopped_before_its_first_checkpoint_has_a_page(tiny_run: Run, tmp_path: Path) -> None:
    run = copy_of(tiny_run, tmp_path / "begun", without=("checkpoints", "teacher", "samples", "store"))
    lines = run.log.read_text(encoding="utf-8").splitlines(keepends=True)
    run.log.write_text("".join(lines[:3]) + lines[3][:20], encoding="utf-8")
    read = ReadPage(report_run(run.folder))
    assert set(SECTIONS) <= read.sections.keys()
    for section in ("images", "between", "previews"):
        assert f"dgaug train --resume --out {run.folder}" in read.sections[section], section
    assert "in the phase “teacher”" in read.text
    assert "identification" in read.sections["curves"]


def test_a_run_that_only_has_settings_has_a_page(tiny_run: Run, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    shutil.copy(tiny_run.config, tmp_path / "bare")
    read = ReadPage(report_run(tmp_path / "bare"))
    assert set(SECTIONS) <= read.sections.keys()
    assert "embedding" in read.sections["settings"]


def test_re_id_models_that_were_stopped_are_counted_beside_their_command(tiny_run: Run, tmp_path: Path) -> None:
    run = copy_of(tiny_run, tmp_path / "stopped")
    for number, names in enumerate((["last.pt", "ranking.json"], ["last.pt"])):
        model = run.reid / f"seed{number}-augmented"
        model.mkdir(parents=True)
        for name in names:
            (model / name).write_text("{}", encoding="utf-8")
    read = ReadPage(report_run(run.folder))
    assert "unfinished: 1 model so far" in read.text
    assert f"dgaug train-reid --run {run.folder}" in read.sections["reid"]


def test_what_is_damaged_or_gone_takes_only_its_own_part(tiny_run: Run, tmp_path: Path) -> None:
    run = copy_of(tiny_run, tmp_path / "damaged", without=("data",))
    for file in (run.scores / "scores.json", run.reid / "results.json"):
        file.parent.mkdir()
        file.write_text("{half", encoding="utf-8")
    preview = min(run.samples.glob("*.png"))
    preview.write_bytes(preview.read_bytes()[:100])
    (run.store / "dataset.h5").write_bytes(b"not HDF5")
    run.teacher.write_bytes(b"")
    read = ReadPage(report_run(run.folder))
    assert "data" in read.sections["images"]
    assert "scores.json" in read.sections["scores"]
    assert "results.json" in read.sections["reid"]
    assert "iteration 8" in read.sections["previews"]
    assert "reconstruction" in read.sections["curves"]
    damaged = copy_of(tiny_run, tmp_path / "other")
    damaged.checkpoint.write_bytes(b"not a checkpoint")
    assert "damaged" in ReadPage(report_run(damaged.folder)).sections["images"]


def test_results_of_other_versions_are_shown_as_they_are(tiny_run: Run, tmp_path: Path) -> None:
    run = copy_of(tiny_run, tmp_path / "newer", without=("store", "data"))
    scores = {
        "frechet_x": 1.25,
        "frechet_x_floor": 1.0,
        "kernel_x": 2.0,
        "kernel_x_spread": 0.5,
        "new": {"a": {"b": 3}, "c": None},
        "odd": [1, "z"],
    }
    run.scores.mkdir()
    (run.scores / "scores.json").write_text(
        json.dumps({"scores": scores, "protocol": {"name": "clean", "x": {"y": []}}})
    )
    estimate = {"rank-1": {"mean": 0.5, "spread": 0.01, "seeds": 2}, "odd": 3}
    run.reid.mkdir()
    results = {
        "summary": {"augmented": estimate},
        "differences": {"real only": {"rank-1": {"mean": -0.02, "low": -0.05, "high": 0.01}}},
        "runs": [{"variant": "augmented", "seed": 0, "ranking": {"both": {"R1": 0.4321, "queries": 9}}}, 7],
    }
    (run.reid / "results.json").write_text(json.dumps(results))
    read = ReadPage(report_run(run.folder))
    for words in ("not FID", "a perfect generator", "2 ± 0.5", "odd", "1, z", "clean"):
        assert words in read.sections["scores"], words
    assert read.sections["scores"].count("not FID") == 1
    for words in ("50.0", "± 1.0", "-2.0", "-5.0 to +1.0", "43.2"):
        assert words in read.sections["reid"], words


def test_hostile_names_stay_names(tiny_run: Run, tmp_path: Path) -> None:
    run = copy_of(tiny_run, tmp_path / HOSTILE, without=("store",))
    data = run.folder / "data" / "bounding_box_train"
    for file in data.iterdir():
        file.rename(file.with_name(f"{file.stem}{HOSTILE}{file.suffix}"))
    (run.folder / "environment.json").write_text(json.dumps({HOSTILE: HOSTILE, "data": {"root": "data"}}))
    with run.log.open("a") as log:
        log.write(
            json.dumps({"phase": HOSTILE, "iteration": 1, "terms": {HOSTILE: 1.0}, "weights": {HOSTILE: 2}}) + "\n"
        )
    run.scores.mkdir()
    (run.scores / "scores.json").write_text(json.dumps({"scores": {HOSTILE: HOSTILE}, "protocol": {HOSTILE: HOSTILE}}))
    shutil.copy(max(run.samples.glob("0*.png")), run.scores / f"{HOSTILE}.png")
    path = report_run(run.folder, count=3)
    text = path.read_text(encoding="utf-8")
    read = ReadPage(path)
    assert not [tag for tag, result in read.elements if "onerror" in result or result.get("src") == "x"]
    assert read.text.count("onerror=") > 10
    assert len(read.of("button", class_="cell")) == 9, read.sections["images"]
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_name_that_is_not_utf8_is_written_as_its_escape(tiny_run: Run, tmp_path: Path) -> None:
    run = copy_of(tiny_run, tmp_path / "caf\udce9", without=("store", "data", "checkpoints"))
    assert "caf\\udce9" in ReadPage(report_run(run.folder)).text


def test_the_most_that_a_page_can_hold_is_bounded() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (256, 128, 3), dtype=np.uint8)
    small, wide = images.image_uri(noise), images.image_uri(noise.transpose(1, 0, 2).copy())
    sheet = images.sheet_uri(Image.fromarray(rng.integers(0, 256, (1500, 2000, 3), dtype=np.uint8)))
    assert max(len(small), len(wide)) <= 4 / 3 * images.IMAGE_BYTES + 40
    assert len(sheet) <= 4 / 3 * images.SHEET_BYTES + 40
    frames = 2 * grid.SLIDER_PAIRS * 2 * grid.SLIDER_STEPS
    shown = 2 * grid.LARGEST**2 + 2 * grid.LARGEST + frames + ranked_lists.LISTS * (1 + ranked_lists.LENGTH)
    sheets = images.MOST + 2 * (images.MOST // 2)
    assert 4 / 3 * (shown * images.IMAGE_BYTES + sheets * images.SHEET_BYTES) < 10_000_000 - 500_000


def test_many_gallery_images_are_left_to_eval_reid(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "CHEAP", 10)
    read = ReadPage(report_run(tiny_run.folder, out=tmp_path / "r.html", count=2))
    assert f"dgaug eval-reid {tiny_run.teacher} --data" in read.sections["ranked"]


def test_wrong_use_is_refused_before_anything_is_written(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    (tmp_path / "there.html").write_text("mine")
    with pytest.raises(DgaugError, match="already there"):
        report_run(tiny_run.folder, out=tmp_path / "there.html")
    assert (tmp_path / "there.html").read_text() == "mine"
    with pytest.raises(DgaugError, match="2 to 12"):
        report_run(tiny_run.folder, count=13)
    assert "no config.yaml" in dgaug("report", tmp_path).error()
    assert "no such run folder" in dgaug("report", tmp_path / "nowhere").error()


def test_the_command_takes_the_latest_run_trained_or_not(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dgaug: RunCommand
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no run" in dgaug("report").error()
    copy_of(tiny_run, tmp_path / "runs" / "00001-tiny", without=("store", "data", "checkpoints"))
    ended = dgaug("report", "--json")
    assert (ended.code, json.loads(ended.out)["report"]) == (0, "runs/00001-tiny/report.html")
    copy_of(tiny_run, tmp_path / "runs" / "00002-tiny", without=("store", "data"))
    copy_of(tiny_run, tmp_path / "runs" / "00003-tiny", without=("store", "data", "checkpoints"))
    assert json.loads(dgaug("report", "--json").out)["report"] == "runs/00002-tiny/report.html"
