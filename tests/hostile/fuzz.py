"""Coverage-guided fuzzing of what reads files of others: bytes that reach new lines of a reader breed the next ones.

    python tests/hostile/fuzz.py manifest -max_total_time=60      # one reader; options are libFuzzer's
    make fuzz                                                     # all of them, ten minutes each

A reader returns, or raises DgaugError. Anything else, ten seconds or three gigabytes end the fuzzer, and what it read
then lies in `crash-...`; such bytes become a test beside this file. Needs atheris (`pip install 'dgaug[fuzz]'`).
"""

from __future__ import annotations

import io
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris
import numpy as np
import torch
from archives import archive, members
from numpy.lib import _format_impl as npy
from torch._weights_only_unpickler import Unpickler

with atheris.instrument_imports(include=["dgaug", "PIL", "yaml"]):
    from PIL import Image

    from dgaug.data.images import decode_image
    from dgaug.data.layouts import open_data
    from dgaug.data.patterned import compile_pattern
    from dgaug.errors import DgaugError
    from dgaug.models.weights import read_tensors
    from dgaug.report.curves import read_curves
    from dgaug.report.tables import read_reid, read_scores
    from dgaug.scores.quality.feature_statistics import Given
    from dgaug.settings import load_settings
    from dgaug.store.sources import Sources
    from dgaug.synthesis.pairs import parse_pairs

# Came with torch and numpy, which are not instrumented as a whole
Unpickler.load = atheris.instrument_func(Unpickler.load)
npy._read_array_header = atheris.instrument_func(npy._read_array_header)
npy.read_array = atheris.instrument_func(npy.read_array)

Reader = Callable[[Path], object]
MANIFEST = b"path,identity,camera,split,role\na.png,0001,1,train,identity\nb.png,0002,2,query,\n"
TABLES = {
    "manifest": MANIFEST,
    "oml": b"label,path,split,is_query,is_gallery,camera\n1,a.png,train,,,1\n2,b.png,validation,True,0,\n",
    "wildlife": b"image_id,identity,path,split,bbox\n1,anna,a.png,train,\n2,unknown,b.png,test,\n",
    "boxmot": b"dataset: market1501\npath: .\ntrain: train\nquery: query\ngallery: gallery\n",
}
SETTINGS = (
    b"name: mine\ndata: {height: 64, width: 32}\nschedule: {iterations: 9, milestones: [3, 5]}\nloss: {cycle: 1.5}\n"
)
FIGURES = (
    b'{"scores": {"fid": 1.5, "fid_spread": 0.1, "curve": {"9": 2}}, "protocol": {"seed": 0}, "differences": {}, '
    b'"runs": [{"variant": "augmented", "ranking": {"prim": {"sum_valid_queries/mAP": 0.5}}}], '
    b'"summary": {"real only": {"mAP": {"mean": 0.5, "spread": null}}}}'
)
LINE = b'{"phase": "dgnet", "iteration": 1, "terms": {"total": 2.5, "cycle": 1e-3}, "weights": {"cycle": 0.5}}\n'
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")


def torch_file() -> dict[str, bytes]:
    """The records of a small checkpoint."""
    stream = io.BytesIO()
    torch.save({"state_dict": {"a.weight": torch.zeros(2, 3), "a.count": torch.tensor(1)}}, stream)
    return members(stream.getvalue())


def statistics_file() -> dict[str, bytes]:
    """The arrays of small statistics."""
    stream = io.BytesIO()
    np.savez(stream, mu=np.zeros(2), sigma=np.eye(2), count=np.array(9), encoder_sha256=np.array("ab"))
    return members(stream.getvalue())


def images() -> list[bytes]:
    """A small image in each format."""
    streams = [io.BytesIO() for _ in FORMATS]
    for stream, name in zip(streams, FORMATS, strict=True):
        Image.effect_noise((8, 16), 50).convert("RGB").save(stream, name)
    return [stream.getvalue() for stream in streams]


def people(folder: Path) -> Path:
    """Two images for manifests and lists of pairs to name."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 16)).save(folder / name)
    (folder / "manifest.csv").write_bytes(b"path,identity\na.png,1\nb.png,2\n")
    return folder


def reader_of(name: str, folder: Path) -> tuple[Callable[[bytes], object], list[bytes]]:
    """The function of bytes that is fuzzed under a name, and what its first mutations start from."""
    path = folder / {"checkpoint": "x.pt", "statistics": "x.npz", "boxmot": "x.yaml"}.get(name, "x.csv")

    def of_file(read: Reader, wrap: Callable[[bytes], bytes] = bytes) -> Callable[[bytes], object]:
        def read_bytes(content: bytes) -> object:
            path.write_bytes(wrap(content))
            return read(path)

        return read_bytes

    if name in TABLES:
        people(folder)
        return of_file(open_data), [TABLES[name]]
    if name == "pairs":
        sources = Sources.of(open_data(people(folder)).splits["train"])

        def pairs(path: Path) -> object:
            result = parse_pairs(f"csv:{path}").over(sources)
            return result.slice(0, result.count)

        return of_file(pairs), [b"appearance,structure\n0,1\na.png,b.png\n1,1\n"]
    if name == "checkpoint":
        records = torch_file()
        pickled = next(record for record in records if record.endswith("data.pkl"))
        return of_file(read_tensors, lambda content: archive({**records, pickled: content})), [records[pickled]]
    if name == "statistics":
        arrays = statistics_file()
        return of_file(Given.load, lambda content: archive({**arrays, "mu.npy": content})), [arrays["mu.npy"]]
    texts: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {
        "settings": (of_file(load_settings), [SETTINGS]),
        "figures": (of_file(lambda path: (read_scores(path), read_reid(path))), [FIGURES]),
        "log": (of_file(read_curves), [LINE * 2]),
        "picture": (lambda content: decode_image(content, Path("x")), images()),
        "pattern": (
            lambda content: compile_pattern(content.decode("utf-8", "replace")),
            [rb"(?P<identity>[a-z]+)_c(?P<camera>\d+)"],
        ),
    }
    return texts[name]


READERS = (*TABLES, "pairs", "settings", "checkpoint", "statistics", "figures", "log", "picture", "pattern")


def main() -> None:
    """Fuzz the reader that is named first."""
    if sys.argv[1:] == ["--list"]:
        print(*READERS)
        return
    if len(sys.argv) < 2 or sys.argv[1] not in READERS:
        sys.exit(f"error: name a reader: {', '.join(READERS)}")
    name = sys.argv.pop(1)
    warnings.simplefilter("ignore")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    read, seeds = reader_of(name, folder)
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)

    def try_one(content: bytes) -> None:
        with suppress(DgaugError):
            read(content)

    limits = ["-timeout=10", "-rss_limit_mb=3000", "-max_len=4096", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, *sys.argv[1:], str(corpus)], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
