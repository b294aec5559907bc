"""Images to bytes: those that Pillow makes of them, from several threads and in a process that was forked."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from dgaug.store.codecs import encode


def images(count: int) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(0)  # of all sizes, so that a longer one comes before a shorter one
    return [random.integers(0, 256, (8 + 7 * (i % 5), 8, 3), dtype=np.uint8) for i in range(count)]


def as_pillow(image: NDArray[np.uint8], codec: str) -> bytes:
    stream = io.BytesIO()
    options = {"quality": 90, "subsampling": 0} if codec == "jpeg" else {}
    PIL.Image.fromarray(image).save(stream, codec.upper(), **options)
    return stream.getvalue()


@pytest.mark.parametrize("codec", ["jpeg", "png"])
def test_bytes_are_those_of_pillow_in_several_threads(codec: str) -> None:
    given = images(200)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda image: encode(image, codec=codec, quality=90), given))
    assert made == [as_pillow(image, codec) for image in given]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_does_not_write_into_its_parents_image() -> None:
    first, second = images(2)
    encode(first, codec="jpeg", quality=90)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        for _ in range(100):
            encode(second, codec="jpeg", quality=90)
        os.write(write, b"done")
        os._exit(0)
    made = [encode(first, codec="jpeg", quality=90) for _ in range(100)]
    os.waitpid(child, 0)
    assert os.read(read, 4) == b"done"
    assert set(made) == {as_pillow(first, "jpeg")}
