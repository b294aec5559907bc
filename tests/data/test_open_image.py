from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from dgaug.data.images import DamagedImage, open_image, to_pixels
from dgaug.errors import DgaugError


@pytest.fixture
def photo() -> Image.Image:
    """A smooth colour image, 24 high and 16 wide, red growing downwards and green to the right."""
    rows, columns = np.mgrid[0:24, 0:16]
    return Image.fromarray(np.stack([rows * 10, columns * 15, np.full_like(rows, 60)], axis=-1).astype(np.uint8))


def pixels(path: Path) -> np.ndarray:
    image = open_image(path)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


@pytest.mark.parametrize(("mode", "suffix"), [("RGB", "bmp"), ("RGB", "tif"), ("RGBA", "png"), ("CMYK", "tif")])
def test_lossless_images_keep_their_colours(photo: Image.Image, tmp_path: Path, mode: str, suffix: str) -> None:
    photo.convert(mode).save(tmp_path / f"x.{suffix}")
    assert np.abs(pixels(tmp_path / f"x.{suffix}") - np.asarray(photo)).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_jpeg_colours_are_not_inverted(photo: Image.Image, tmp_path: Path, mode: str) -> None:
    photo.convert(mode).save(tmp_path / "x.jpg", quality=100, subsampling=0)
    assert np.abs(pixels(tmp_path / "x.jpg") - np.asarray(photo)).max() < 12


def test_grey_and_palette_become_rgb(photo: Image.Image, tmp_path: Path) -> None:
    photo.convert("L").save(tmp_path / "grey.png")
    assert (pixels(tmp_path / "grey.png") == np.asarray(photo.convert("L"))[..., None]).all()
    photo.quantize(32).save(tmp_path / "palette.png")
    assert (pixels(tmp_path / "palette.png") == np.asarray(photo.quantize(32).convert("RGB"))).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 257, 256 * 128], [128 * 257, 65535, 40000]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"x.{suffix}")
    assert pixels(tmp_path / f"x.{suffix}")[..., 0].tolist() == [[0, 1, 128], [128, 255, 156]]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (2, 1), (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255) if mode == "RGBA" else (0, 255))
    image.save(tmp_path / "x.png")
    assert pixels(tmp_path / "x.png").tolist() == [[[255] * 3, [0] * 3]]


def test_a_transparent_palette_colour_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "x.png", transparency=0)
    assert pixels(tmp_path / "x.png").tolist() == [[[255, 255, 255], [0, 0, 200]]]


def test_exif_rotation_is_applied(photo: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "x.png", exif=exif)
    assert (pixels(tmp_path / "x.png") == np.rot90(np.asarray(photo), k=-1)).all()


def test_the_content_decides_not_the_suffix(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "x.png", format="JPEG")
    assert open_image(tmp_path / "x.png").size == (16, 24)


def test_an_animation_gives_its_first_frame(photo: Image.Image, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "x.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert (pixels(tmp_path / "x.webp") == [255, 0, 0]).all()


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_cut_off_file_is_damaged(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DamagedImage, match=rf"x\.{suffix}: damaged image \(.+\)") as caught:
        open_image(path)
    assert caught.value.path == path
    assert isinstance(caught.value, DgaugError)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_tail_of_zeros_is_damage(photo: Image.Image, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    photo.resize((64, 128)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2].ljust(len(content), b"\0"))
    with pytest.raises(DamagedImage):
        open_image(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty file"), (b"hello", "not an image"), (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image")],
)
def test_what_is_no_image_is_damaged(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(DamagedImage, match=reason):
        open_image(tmp_path / "x.jpg")


def test_missing_files_folders_broken_links_and_pipes_are_damaged(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, reason in {
        "none": "no such file",
        "link": "no such file",
        "folder": "not a file",
        "pipe": "not a file",
    }.items():
        with pytest.raises(DamagedImage, match=reason):
            open_image(tmp_path / f"{name}.jpg")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("1", (8, 8)).save(tmp_path / "x.bmp")
    content = bytearray((tmp_path / "x.bmp").read_bytes())
    content[18:26] = struct.pack("<ii", 100_000, 100_000)
    (tmp_path / "x.bmp").write_bytes(content)
    with pytest.raises(DamagedImage, match="pixels"):
        open_image(tmp_path / "x.bmp")


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 2), dtype=np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(DamagedImage, match="floating-point"):
        open_image(tmp_path / "x.tif")


def test_pillow_still_refuses_truncated_files() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_pixels_have_the_height_first(photo: Image.Image) -> None:
    resized = to_pixels(photo, (48, 32))
    assert resized.shape == (48, 32, 3)
    assert resized.dtype == np.uint8
    assert resized.flags.writeable
    expected = np.asarray(photo.resize((32, 48), Image.Resampling.BICUBIC))
    assert (resized == expected).all()
