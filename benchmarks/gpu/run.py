"""Everything that is worth measuring on a GPU, in under half an hour, in parts that go on where they were stopped.

    python benchmarks/gpu/run.py ../Market-1501 --weights resnet50.pth --minutes 9
    python benchmarks/gpu/run.py people --rehearse            # on a CPU, tiny, into build/gpu

Part by part: a training iteration and synthesis against the published way, in fp32 and bf16, with the share of the
card's measured bf16 matrix rate; where their time goes; then Market-1501 at full size (`real_data.py`), its schedule
sized to what an iteration takes here; last a compiled iteration beside one that is not. A call ends after `--minutes`;
the same call again goes on. Results are written after each part, so a run that is cut off still tells.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

HERE = Path(__file__).parent
BENCHMARKS = HERE.parent
STATE = Path("build/gpu/state.json")
GRACE = 60.0
"""Seconds for saving, once time is up."""
FULL = (
    "data.height=256",
    "data.width=128",
    "behaviour.precision=bf16",
    "teacher.iterations=3000",
    "reid.iterations=3000",
)
TINY = (
    "data.height=64", "data.width=32", "data.pad=2", "model.width=0.25", "model.backbone=small", "model.embedding=16",
    "teacher.iterations=20", "teacher.batch_size=8", "schedule.batch_size=2", "reid.iterations=6", "reid.batch_size=8",
)  # fmt: skip


def throughput(*, rehearse: bool, out: Path) -> dict[str, list[str]]:
    """The commands that measure speed, the most important first."""
    device = "cpu" if rehearse else "cuda"
    few = ["--size", "64", "32", "--batch", "2", "--iterations", "1"] if rehearse else ["--iterations", "10"]
    small = ["--pairs", "16", "--contenders", "published,fp32"] if rehearse else ["--pairs", "1024"]
    ends = ["--device", device, "--out", str(out)]
    compiled = ["--contenders", "defaults,compiled", "--name", "compiled_iteration"]
    return {
        "training iteration": ["training_iteration.py", *few, *ends],
        "synthesis": ["synthesis.py", *small, *ends],
        "where the time goes": ["breakdown.py", *ends],
        "training iteration, compiled": ["training_iteration.py", *few, *compiled, *ends],
    }


def real_data(data: Path, weights: str, *, iterations: int, rehearse: bool, out: Path) -> list[str]:
    """The command of the real-data run."""
    chosen = [*(TINY if rehearse else FULL), f"schedule.iterations={iterations}"]
    words = ["real_data.py", str(data), "--weights", "none" if rehearse else weights, "--config", "market1501"]
    words += ["--pairs", "per-appearance:2" if rehearse else "per-appearance:10", "--name", "market-gpu"]
    words += ["--work", str(STATE.parent / "market"), "--out", str(out)]
    return [*words, *(word for setting in chosen for word in ("--set", setting))]


def iterations_for(minutes: float, results: Path) -> int:
    """How many DG-Net iterations fit, by what one took in the first part."""
    record = json.loads(results.read_text(encoding="utf-8"))
    return max(8, round(60 * minutes / record["runs"]["defaults"]["seconds"]))


def parts(
    data: Path, weights: str, state: dict[str, object], *, minutes: float, rehearse: bool, out: Path
) -> Iterator[tuple[str, list[str]]]:
    """What is to be done, in order; the length of the real-data run follows from the first part."""
    *first, last = throughput(rehearse=rehearse, out=out).items()
    yield from first
    if "iterations" not in state:
        device = "cpu" if rehearse else "cuda"
        state["iterations"] = 8 if rehearse else iterations_for(minutes, out / f"training_iteration-{device}.json")
    iterations = int(str(state["iterations"]))
    yield "real data", real_data(data, weights, iterations=iterations, rehearse=rehearse, out=out)
    yield last  # which may fail: it needs a compiler


def run(command: list[str], until: float) -> bool:
    """Run a part until it ends or time is up; whether it ended."""
    process = subprocess.Popen([sys.executable, str(BENCHMARKS / command[0]), *command[1:]])
    try:
        code = process.wait(timeout=max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
        return False
    if code:
        raise click.ClickException(f"{command[0]} ended with {code}")
    return True


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option("--weights", default="imagenet", show_default=True, help="Of ResNet-50: a file, or imagenet (the cache).")
@click.option("--minutes", default=9.0, show_default=True, help="Of this call.")
@click.option("--generator-minutes", default=8.0, show_default=True, help="Of DG-Net's training; its schedule follows.")
@click.option("--rehearse", is_flag=True, help="On the CPU, tiny: whether all of it runs.")
def main(data: Path, weights: str, minutes: float, generator_minutes: float, rehearse: bool) -> None:
    """Do what is left, until time is up."""
    until = time.monotonic() + 60 * minutes - GRACE
    out = STATE.parent / "rehearsal" if rehearse else BENCHMARKS / "results"
    STATE.parent.mkdir(parents=True, exist_ok=True)
    state: dict[str, object] = json.loads(STATE.read_text(encoding="utf-8")) if STATE.is_file() else {"done": []}
    done = state["done"]
    assert isinstance(done, list)
    for name, command in parts(data, weights, state, minutes=generator_minutes, rehearse=rehearse, out=out):
        if name in done:
            continue
        ended = run(command, until)
        done += [name] if ended else []
        STATE.write_text(json.dumps(state), encoding="utf-8")
        if not ended:
            click.echo(f"time is up in: {name}; the same command goes on", err=True)
            return
    click.echo(f"all parts are done; results in {out}")


if __name__ == "__main__":
    main()
