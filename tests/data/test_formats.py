"""Which files are images: one answer for every command."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image
from tiny_run import RunCommand

from dgaug.data import formats
from dgaug.data.check import check_data, who_was_read
from dgaug.data.images import open_image
from dgaug.data.layouts import open_data
from dgaug.data.listing import list_images
from dgaug.data.summary import left_out
from dgaug.runs import Run

SAVED = {
    "JPEG": (".jpg", ".JPEG", ".jfif", ".jpe", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".PNM"),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".TIFF"),
    "WEBP": (".webp",),
    "JPEG2000": (".jp2", ".j2k"),
    "TGA": (".tga",),
    "PCX": (".pcx",),
    "SGI": (".sgi",),
}
IMAGE = Image.radial_gradient("L").resize((32, 64)).convert("RGB")


def save(path: Path, form: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    IMAGE.save(path, format=form)


def test_every_ending_that_is_decoded_is_listed_and_read(tmp_path: Path) -> None:
    for form, endings in SAVED.items():
        for ending in endings:
            save(tmp_path / f"{form}{ending}", form)
    if "AVIF" in Image.SAVE:
        save(tmp_path / "AVIF.avif", "AVIF")
    names = list_images(tmp_path)
    assert names == sorted(path.name for path in tmp_path.iterdir())
    for name in names:
        assert open_image(tmp_path / name).size == (32, 64), name


def test_without_an_ending_or_a_decoder_for_it_the_content_decides(tmp_path: Path) -> None:
    for name in ("anna/1", "anna/frame.0002", "anna/IMG.HEIC", "anna/raw.avif"):
        save(tmp_path / name, "JPEG" if name != "anna/raw.avif" else "PNG")
    (tmp_path / "anna/README").write_text("a text")
    (tmp_path / "anna/real.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "anna/empty").touch()
    save(tmp_path / "anna/2.jpg.bak", "JPEG")
    data = open_data(tmp_path)
    assert [record.path for record in data.splits["train"]] == [
        "anna/1",
        "anna/IMG.HEIC",
        "anna/frame.0002",
        "anna/raw.avif",
    ]
    assert left_out(data) == Counter({"": 2, ".bak": 1, ".heic": 1})


def test_what_is_left_out_is_listed_by_ending_and_count(tmp_path: Path, dgaug: RunCommand) -> None:
    for name in ("anna/1.jpg", "anna/2.jpg", "bert/1.jpg"):
        save(tmp_path / name, "JPEG")
    (tmp_path / "cleo").mkdir()
    for name in ("cleo/1.heic", "cleo/2.HEIC", "bert/clip.mp4", "anna/Thumbs.db", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    data = open_data(tmp_path)
    sentence = "3 files (.heic 2, .mp4 1) left out, no image that dgaug decodes; pip install pillow-heif reads .heic"
    assert any(problem.startswith(sentence) for problem in check_data(data).problems)
    assert any(line.startswith("5 files (.heic 2, ") for line in who_was_read(data))
    ended = dgaug("train-reid", "--data", tmp_path, "--feed", "none", "--out", tmp_path / "reid")
    assert sentence in ended.err


def test_a_plug_in_for_heic_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = ModuleType("pillow_heif")

    def register_heif_opener() -> None:
        Image.register_open("HEIF", Image.OPEN["BMP"][0], lambda start: start.startswith(b"BM"))
        Image.register_extension("HEIF", ".heic")

    monkeypatch.setattr(plugin, "register_heif_opener", register_heif_opener, raising=False)
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "EXTENSION", dict(Image.EXTENSION))
    formats._formats.cache_clear()
    formats._suffixes.cache_clear()
    try:
        assert "HEIF" in formats.formats_of("x.heic")
        assert formats.is_image("gone.heic"), "by its ending"
    finally:
        formats._formats.cache_clear()
        formats._suffixes.cache_clear()


def test_score_fid_takes_the_same_files_for_images(tmp_path: Path, tiny_run: Run, dgaug: RunCommand) -> None:
    from dgaug.scores.quality.image_sets import ImageSet

    for number, file in enumerate(sorted((tiny_run.data_root() / "query").iterdir())):
        ending = (".jfif", "", ".jpe", ".0001", ".txt")[number % 5]
        (tmp_path / "a").mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / "a" / f"{number}{ending}")
    data, plain = open_data(tmp_path), ImageSet.open(tmp_path)
    assert plain.files == [data.image_path(record) for record in data.splits["train"]]
    assert 0 < len(plain) < sum(1 for _ in (tmp_path / "a").iterdir())


def test_images_of_one_colour_and_of_almost_no_contrast_are_named(tmp_path: Path) -> None:
    for name in ("anna/1.png", "anna/2.png", "bert/1.png"):
        save(tmp_path / name, "PNG")
    Image.new("RGB", (32, 64), (7, 80, 9)).save(tmp_path / "bert/blank.png")
    faint = Image.new("RGB", (32, 64), (7, 80, 9))
    faint.putpixel((3, 3), (7, 86, 9))
    faint.save(tmp_path / "anna/faint.png")
    clear = Image.new("RGB", (32, 64), (7, 80, 9))
    clear.putpixel((3, 3), (7, 89, 9))
    clear.save(tmp_path / "anna/clear.png")
    problems = check_data(open_data(tmp_path)).problems
    assert "train: 1 image of one colour, a failed crop or a blank frame: bert/blank.png" in problems
    assert "train: 1 image of almost no contrast, below 8 levels: anna/faint.png" in problems
    assert not any("clear.png" in problem for problem in problems if "contrast" in problem)


def test_the_largest_and_the_smallest_identities_are_shown(tmp_path: Path) -> None:
    for name, count in {"unknown": 40, "anna": 2, "bert": 3, **{f"p{k}": 5 for k in range(9)}}.items():
        for k in range(count):
            save(tmp_path / name / f"{k}.png", "PNG")
    assert who_was_read(open_data(tmp_path))[0] == (
        "train: 2 to 40 images of each identity; most: unknown (40), p0 (5), p1 (5), p2 (5), p3 (5) and 7 more; "
        "fewest: anna (2), bert (3), p8 (5), p7 (5), p6 (5) and 7 more"
    )
