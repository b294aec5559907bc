"""`dgaug score-fid` against pytorch-fid on the same files and weights: seconds, peak memory, and that both agree.

    python benchmarks/scores.py
    python benchmarks/scores.py --counts 200,5000

Two folders of seeded JPEG files (128 x 64) and seeded random Inception weights in the form of pytorch-fid's file. Each
command runs as a user runs it, in a process of its own, its start included; dgaug has no statistics kept from before.
The Fréchet step is timed here on the same statistics. Memory is dgaug's own with an encoder that costs next to nothing
and gives as many numbers as Inception, so that many images take little time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import scipy
import torch
from machine import machine, peak_bytes
from packaging.version import Version
from PIL import Image
from pytorch_fid.fid_score import calculate_frechet_distance
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from torchvision.models.inception import Inception3
from training_iteration import RESULTS

from dgaug.scores.quality.encoders import INCEPTION_FILE, Encoder
from dgaug.scores.quality.feature_metrics import Features, frechet_scores
from dgaug.scores.quality.feature_statistics import Encoding, statistics_of
from dgaug.scores.quality.fid_protocols import Preparation
from dgaug.scores.quality.frechet import Gaussian, frechet_distance, frechet_of_features
from dgaug.scores.quality.image_sets import ImageSet

SIZE = (128, 64)
DIMENSION = 2048
AGREE = 1e-3
DIFFERENT = 1000
"""Different images of the memory's measure, which come again and again."""
MEMORY_COUNTS = (2_000, 10_000, 20_000)
"""At 10,000 the features that are kept one by one reach their limit."""
THEIRS, OURS = "pytorch-fid", "dgaug score-fid"

Runs = dict[str, dict[str, Any]]


def write_images(folder: Path, count: int, seed: int) -> None:
    """Smooth coloured images, JPEG quality 90."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        small = random.normal(128, 30 * (seed + 1), (8, 4, 3)).clip(0, 255).astype(np.uint8)
        image = Image.fromarray(small).resize(SIZE[::-1], Image.Resampling.BICUBIC)
        image.save(folder / f"{number:06d}.jpg", quality=90)


def write_weights(torch_home: Path) -> Path:
    """Seeded weights in the hub cache; the path of the same file under a name that promises no checksum."""
    network = Inception3(1008, aux_logits=False, init_weights=False)
    generator = torch.Generator().manual_seed(0)
    state = network.state_dict()
    for tensor in state.values():
        if tensor.ndim == 4:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
    cached = torch_home / "hub" / "checkpoints" / INCEPTION_FILE
    cached.parent.mkdir(parents=True)
    torch.save(state, torch_home / "inception.pth")
    cached.symlink_to(torch_home / "inception.pth")
    return torch_home / "inception.pth"


def timed(command: list[str], torch_home: Path) -> dict[str, Any]:
    """Seconds, processor seconds, peak memory and output of a process, which must end well."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, env=os.environ | {"TORCH_HOME": str(torch_home)}, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            raise click.ClickException(f"{' '.join(command)}: {err.read()}")
        processor = usage.ru_utime + usage.ru_stime
        peak = usage.ru_maxrss * 1024
        return {"seconds": seconds, "processor_seconds": processor, "peak_bytes": peak, "output": out.read()}


def commands(folder: Path, count: int) -> Runs:
    """Both commands on two folders of `count` images each; an error unless they agree."""
    home, place = folder / "torch", folder / str(count)
    for seed, side in enumerate(("real", "generated")):
        write_images(place / side, count, seed)
    sides = [str(place / "real"), str(place / "generated")]
    ours = [sys.executable, "-m", "dgaug", "score-fid", sides[1], "--real", sides[0], "--metrics", "fid", "--json"]
    ours += ["--inception-weights", str(home / "inception.pth"), "--out", str(place / "scores")]
    result = {OURS: timed(ours, home), THEIRS: timed([sys.executable, "-m", "pytorch_fid", *sides], home)}
    result[OURS]["fid"] = json.loads(result[OURS].pop("output"))["scores"]["fid"]
    printed = re.search(r"FID:\s*(\S+)", result[THEIRS].pop("output"))
    result[THEIRS]["fid"] = float(printed[1]) if printed else float("nan")
    apart = abs(result[OURS]["fid"] - result[THEIRS]["fid"])
    if not apart <= AGREE:
        raise click.ClickException(f"the commands disagree on {count} + {count} images: {result}")
    click.echo(f"{count} + {count}: {result}", err=True)
    return result


def frechet_steps(count: int) -> dict[str, float]:
    """Seconds of the Fréchet step of `count` + `count` images: pytorch-fid's and dgaug's, as its command takes it."""
    random = np.random.default_rng(0)
    sides = [random.standard_normal((count, DIMENSION)) @ np.diag(random.uniform(0.1, 1, DIMENSION)) for _ in range(2)]
    moments = [(side.mean(axis=0), np.cov(side, rowvar=False)) for side in sides]
    gaussians = [Gaussian(torch.from_numpy(mean), torch.from_numpy(covariance)) for mean, covariance in moments]
    features = [torch.from_numpy(side) for side in sides]
    steps: dict[str, Callable[[], float]] = {
        THEIRS: lambda: float(calculate_frechet_distance(*moments[0], *moments[1])),
        "dgaug, from moments": lambda: frechet_distance(*gaussians),
    }
    if count <= DIMENSION:
        steps["dgaug, from features (what its command does for so few)"] = lambda: frechet_of_features(*features)
    seconds, values = {}, {}
    for name, step in steps.items():
        began = time.perf_counter()
        values[name] = step()
        seconds[name] = time.perf_counter() - began
    if max(values.values()) - min(values.values()) > AGREE:
        raise click.ClickException(f"the Fréchet steps disagree: {values}")
    click.echo(f"Fréchet step, {count} + {count}: {seconds}", err=True)
    return seconds


def held_by(count: int) -> int:
    """Peak memory of this process after the distance of `count` + `count` images in features of full length."""
    torch.manual_seed(0)
    weights = torch.randn(3 * 8 * 4, DIMENSION)

    def extract(pixels: Tensor) -> Tensor:
        small = adaptive_avg_pool2d(pixels.permute(0, 3, 1, 2).float() / 255, (8, 4))
        return (small.flatten(1) @ weights).relu()

    encoder = Encoder("projection", DIMENSION, "seed 0", extract)
    with tempfile.TemporaryDirectory() as place:
        sides = []
        for seed, title in enumerate(("real", "generated")):
            folder = Path(place) / title
            write_images(folder, DIFFERENT, seed)
            files = sorted(folder.iterdir())
            images = ImageSet("folder", folder, [files[number % DIFFERENT] for number in range(count)])
            rows = np.arange(count)
            encoding, nothing = Encoding(Path(place) / "statistics"), Preparation()
            sides.append(
                statistics_of(
                    images,
                    rows,
                    encoder,
                    preparation=nothing,
                    encoding=encoding,
                    title=title,
                    digest=images.digest(rows),
                )
            )
        frechet_scores(Features(encoder, sides[1], sides[0]), 0)
    return peak_bytes()


def memory() -> dict[int, int]:
    """Dgaug's peak memory by number of images on each side, each in a process of its own."""
    result = {}
    for count in MEMORY_COUNTS:
        command = [sys.executable, __file__, "--memory-of", str(count)]
        result[count] = int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        click.echo(f"memory, {count}: {result[count] / 1e9:.3f} GB", err=True)
    return result


def table(
    runs: dict[int, dict[str, dict[str, Any]]], steps: dict[int, dict[str, float]], held: dict[int, float]
) -> str:
    """The results as Markdown tables; ratios are to pytorch-fid."""
    columns = ("whole command, images", "way", "s", "times faster", "processor s", "peak, GB", "FID")
    rows = [f"| {' | '.join(columns)} |", "|---|---|---:|---:|---:|---:|---:|"]
    for count, result in runs.items():
        for name in (THEIRS, OURS):
            run, faster = result[name], result[THEIRS]["seconds"] / result[name]["seconds"]
            cells = f"{run['seconds']:.1f} | {faster:.2f} | {run['processor_seconds']:.0f} "
            cells += f"| {run['peak_bytes'] / 1e9:.2f} | {run['fid']:.4f}"
            rows.append(f"| {count:,} + {count:,} | {name} | {cells} |")
    rows += ["", "| Fréchet step, images | way | s | times faster |", "|---|---|---:|---:|"]
    for count, seconds in steps.items():
        rows += [
            f"| {count:,} + {count:,} | {name} | {each:.3g} | {seconds[THEIRS] / each:.1f} |"
            for name, each in seconds.items()
        ]
    rows += ["", "| dgaug's memory, images on each side | peak, GB |", "|---:|---:|"]
    return "\n".join([*rows, *(f"| {count:,} | {peak / 1e9:.3f} |" for count, peak in held.items())])


@click.command(context_settings={"show_default": True})
@click.option("--counts", default="200,1000", help="Images on each side of the whole commands.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the .md and .json files.")
@click.option("--memory-of", hidden=True, type=int, help="Only measure the memory of this many images, here.")
def main(counts: str, out: Path, memory_of: int | None) -> None:
    """Time both commands and both Fréchet steps, and measure memory."""
    if memory_of is not None:
        click.echo(held_by(memory_of))
        return
    if Version(scipy.__version__) >= Version("1.18"):
        raise click.ClickException(f"SciPy {scipy.__version__} stops pytorch-fid's Fréchet step; take SciPy below 1.18")
    numbers = [int(count) for count in counts.split(",")]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_weights(folder / "torch")
        runs = {count: commands(folder, count) for count in numbers}
        steps = {count: frechet_steps(count) for count in (200, 5000)}
        held = memory()
    where = (
        f"{machine('scipy')}. Images of {SIZE[0]} x {SIZE[1]}, seeded random "
        "Inception weights; one run each, the commands one after the other, load average before "
        f"{load:.1f}. dgaug's command also gives the distance at "
        "three smaller counts and the real-against-real floor at each."
    )
    text = f"# Scores\n\n{where}\n\n{table(runs, steps, held)}\n"
    out.mkdir(parents=True, exist_ok=True)
    (out / "scores-cpu.md").write_text(text, encoding="utf-8")
    record = {
        "machine": machine("scipy"),
        "load_before": load,
        "commands": runs,
        "frechet_seconds": steps,
        "memory_bytes": held,
    }
    (out / "scores-cpu.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
