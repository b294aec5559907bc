"""Images that are cut, changed, huge or none: read right or called damaged, in bounded memory and time."""

from __future__ import annotations

import io
import os
import random
import re
import resource
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from bounds import within
from hypothesis import given, target
from hypothesis import strategies as st
from ledger import times, trials, tried, way
from PIL import Image
from tiny_run import RunCommand, finish_process, start_cold

from dgaug.data.images import DamagedImage, decode_image, to_pixels

SIZE = (40, 60)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def animation(format: str) -> bytes:
    frames = [Image.new("RGB", SIZE, (40 * turn, 0, 0)) for turn in range(4)]
    return encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=50)


def photo(mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    return Image.fromarray(noise).convert(mode)


def sixteen_bit() -> Image.Image:
    return Image.fromarray(np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE[1], SIZE[0]) * 27)


def with_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(photo(), "JPEG", exif=exif)


GOOD: dict[str, bytes] = {
    "jpeg": encoded(photo(), "JPEG"),
    "progressive jpeg": encoded(photo(), "JPEG", progressive=True),
    "jpeg with exif": with_exif(),
    "cmyk jpeg": encoded(photo("CMYK"), "JPEG"),
    "grey jpeg": encoded(photo("L"), "JPEG"),
    "png": encoded(photo(), "PNG"),
    "png with alpha": encoded(photo("RGBA"), "PNG"),
    "grey png with alpha": encoded(photo("LA"), "PNG"),
    "palette png": encoded(photo().quantize(16), "PNG"),
    "palette png with transparency": encoded(photo().quantize(16), "PNG", transparency=b"\x80" * 16),
    "16-bit png": encoded(sixteen_bit(), "PNG"),
    "1-bit png": encoded(photo("1"), "PNG"),
    "animated png": animation("PNG"),
    "gif": encoded(photo(), "GIF"),
    "animated gif": animation("GIF"),
    "webp": encoded(photo(), "WEBP"),
    "lossless webp": encoded(photo("RGBA"), "WEBP", lossless=True),
    "animated webp": animation("WEBP"),
    "bmp": encoded(photo(), "BMP"),
    "tiff": encoded(photo(), "TIFF"),
    "deflated tiff": encoded(photo(), "TIFF", compression="tiff_deflate"),
    "lzw tiff": encoded(photo(), "TIFF", compression="tiff_lzw"),
    "16-bit tiff": encoded(sixteen_bit(), "TIFF"),
    "1 x 1": encoded(Image.new("RGB", (1, 1)), "PNG"),
    "60,000 x 2": encoded(Image.new("RGB", (60_000, 2)), "JPEG"),
    "2 x 60,000": encoded(Image.new("RGB", (2, 60_000)), "PNG"),
}

QUIET = [name for name in sorted(GOOD) if not name.endswith("tiff")]


def test_every_kind_of_image_is_read_in_rgb() -> None:
    for name, content in GOOD.items():
        image = decode_image(content, Path(name))
        assert image.mode == "RGB"
        assert to_pixels(image, (64, 32)).shape == (64, 32, 3)
        tried("image: of every kind", "read")


def read_or_refused(content: bytes, fault: str) -> None:
    try:
        with within(20):
            image = decode_image(content, Path("x.jpg"))
    except DamagedImage:
        tried(fault, "refused")
    else:
        assert image.mode == "RGB"
        tried(fault, "read")


@pytest.mark.parametrize("name", GOOD)
def test_an_image_cut_anywhere_is_refused_or_read(name: str) -> None:
    content = GOOD[name]
    parts = times(16, 256)
    for piece in range(parts):
        kept = content[: len(content) * piece // parts]
        read_or_refused(kept, "image: cut off")
        read_or_refused(kept.ljust(len(content), b"\0"), "image: zeros from a byte on")


@pytest.mark.parametrize("name", [name for name in GOOD if "jpeg" in name or "png" in name])
def test_an_image_whose_end_is_missing_or_zeros_is_refused(name: str) -> None:
    """As a broken download and a power cut leave it; formats without an end or a checksum cannot tell the latter."""
    content = GOOD[name]
    for piece in range(1, 32):
        kept = content[: len(content) * piece // 32]
        for left in (kept, kept.ljust(len(content), b"\0")):
            with pytest.raises(DamagedImage):
                decode_image(left, Path("x.jpg"))
            tried("image: jpeg or png without its end, or with zeros there", "refused")


@pytest.mark.parametrize("name", GOOD)
def test_changed_bytes_are_refused_or_read(name: str) -> None:
    """A mutator that continues from what got furthest: headers are changed more often than pixels."""
    chance = random.Random(name)
    pool = [GOOD[name]]
    for _ in range(times(25, 1000)):
        content = bytearray(chance.choice(pool))
        for _ in range(chance.choice((1, 1, 2, 4))):
            place = chance.randrange(min(len(content), chance.choice((32, 256, len(content)))))
            kind = chance.randrange(4)
            if kind == 0:
                content[place] ^= 1 << chance.randrange(8)
            elif kind == 1:
                content[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
            elif kind == 2:
                del content[place : place + chance.randint(1, 8)]
            else:
                content[place:place] = content[place : place + chance.randint(1, 8)]
            if not content:
                content = bytearray(b"\0")
        try:
            with within(20):
                decode_image(bytes(content), Path("x.jpg"))
        except DamagedImage:
            tried("image: bytes changed", "refused")
        else:
            tried("image: bytes changed", "read")
            if len(pool) < 50:
                pool.append(bytes(content))


@trials(60, 3000)
@given(st.sampled_from(sorted(GOOD)), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6))
def test_headers_of_any_bytes_are_refused_or_read(name: str, changes: list[tuple[int, int]]) -> None:
    content = bytearray(GOOD[name])
    for place, value in changes:
        content[place % len(content)] = value
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read_or_refused(bytes(content), "image: headers of any bytes")
    target(float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before), label="memory")


def png_of(width: int, height: int, *, raw: bytes = b"", depth: int = 8, kind: int = 2) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def bombs() -> Iterator[tuple[str, bytes]]:
    yield "a png of 50,000 x 50,000", png_of(50_000, 50_000, raw=bytes(1_000_000))
    yield "a png of 2 billion x 1", png_of(2**31 - 1, 1)
    yield "a png without width", png_of(0, 10)
    yield "a gif of 65,535 x 65,535", GOOD["gif"][:6] + b"\xff\xff\xff\xff" + GOOD["gif"][10:]
    yield "a bmp of 2 billion", GOOD["bmp"][:18] + struct.pack("<ii", 2**31 - 1, 2**31 - 1) + GOOD["bmp"][26:]
    tiff = bytearray(GOOD["tiff"])
    at = next(at for kind in (3, 4) if (at := tiff.find(struct.pack("<HHI", 256, kind, 1))) >= 0)
    tiff[at + 2 : at + 12] = struct.pack("<HII", 4, 1, 2**32 - 1)
    yield "a tiff of 4 billion", bytes(tiff)
    yield "a png of 10,000 x 10,000", png_of(10_000, 10_000)
    jpeg = bytearray(GOOD["jpeg"])
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = b"\xff\xff\xff\xff"
    yield "a jpeg of 65,535 x 65,535", bytes(jpeg)
    text = zlib.compress(bytes(300_000_000), 9)
    chunk = b"zTXta\0\0" + text
    packed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    yield "a png with 300 MB of text", GOOD["png"][:33] + packed + GOOD["png"][33:]


@pytest.mark.parametrize(("name", "content"), list(bombs()), ids=[name for name, _ in bombs()])
def test_a_bomb_is_refused_before_it_takes_memory(tmp_path: Path, name: str, content: bytes) -> None:
    """In a real process that may have little memory more than Python and its libraries."""
    folder = tmp_path / "anna"
    folder.mkdir()
    (folder / "bomb.png").write_bytes(content)
    ended = finish_process(start_cold("data", "check", tmp_path))
    assert ended.code == 1, ended
    assert "damaged image anna/bomb.png" in ended.err
    assert "Traceback" not in ended.err
    assert "Warning" not in ended.err, "one clear line, not a library's warning"
    tried("image: decompression bomb", way(ended.code))


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


STRANGE: dict[str, Callable[[Path], object]] = {
    "a folder": lambda path: path.mkdir(),
    "a pipe": lambda path: os.mkfifo(path),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": link("nowhere"),
    "a link to the folder": link("."),
    "a link to a device": link("/dev/zero"),
    "an empty file": lambda path: path.touch(),
    "a text": lambda path: path.write_text("no image"),
    "a page": lambda path: path.write_text("<html><script>alert(1)</script>"),
    "an eps": lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(canary) (w) file\n"),
    "a png": lambda path: path.write_bytes(GOOD["png"]),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_called_an_image_and_is_none_is_called_damaged(
    tmp_path: Path, refused_or_done: RunCommand, name: str
) -> None:
    folder = tmp_path / "bounding_box_train"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"000{number}_c1_0.jpg").write_bytes(GOOD["jpeg"])
    STRANGE[name](folder / "0003_c1_0.jpg")
    expected = 0 if name in ("a folder", "a png", "a link to the folder") else 1
    ended = refused_or_done("data", "check", tmp_path)
    assert ended.code == expected, ended
    assert ("damaged image bounding_box_train/0003_c1_0.jpg" in ended.err) == (expected == 1)
    tried("image: a thing of its name that is none", way(ended.code))


def test_folders_that_link_to_one_another_are_refused(tmp_path: Path, refused_or_done: RunCommand) -> None:
    for name in "abcdefghijkl":
        (tmp_path / name).mkdir()
        (tmp_path / name / "0001_c1_0.jpg").write_bytes(GOOD["jpeg"])
    for name in "abcdefghijkl":
        for other in "abcdefghijkl":
            (tmp_path / name / f"to {other}").symlink_to(tmp_path / other)
    assert "ways of links" in refused_or_done("data", "check", tmp_path).error()
    tried("folders: twelve that link to one another", "refused")


def test_folders_in_one_another_without_end_are_refused(
    tmp_path: Path, refused_or_done: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(1500):
        os.mkdir("a")
        os.chdir("a")
    refused_or_done("data", "check", tmp_path).error()
    os.chdir("/")
    subprocess.run(["rm", "-r", tmp_path / "a"], check=True)
    tried("folders: 1,500 in one another", "refused")


def test_a_folder_of_damaged_images_is_reported_line_by_line(tmp_path: Path) -> None:
    """In a real process, where what a library prints by itself would be seen; libtiff's lines cannot be held back."""
    chance = random.Random(0)
    folder = tmp_path / "bounding_box_train"
    folder.mkdir()
    for number in range(times(200, 5000)):
        content = bytearray(GOOD[chance.choice(QUIET)])
        for _ in range(4):
            content[chance.randrange(min(len(content), 300))] = chance.randrange(256)
        (folder / f"{number:05d}_c1_0.jpg").write_bytes(content)
    ended = finish_process(start_cold("data", "check", tmp_path))
    assert ended.code == 1
    planned = r"timing iterations: |few images of each identity: |the ImageNet weights |next: |estimate: |other work "
    ours = rf"{planned}|reading images: |no query and gallery: |train: (damaged image bounding_box_train/|[\d,]+ )"
    shown = r"\S+ \(market1501\): [\d,]+ images "
    odd = [line for line in ended.err.splitlines() if not re.match(f"{ours}|{shown}", line)]
    assert odd == []
    tried("image: a folder of changed ones, in a real process", "one line each", number + 1)
