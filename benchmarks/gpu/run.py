"""What is worth measuring on a GPU, in two calls of at most eight minutes each, on a machine that has torch alone.

    benchmarks/gpu/prepare.sh ../Market-1501 ENCODER.safetensors      # where there is a network; fills build/carried
    python benchmarks/gpu/run.py 1 --out benchmarks/results/gpu       # on the GPU's machine
    python benchmarks/gpu/run.py 2 --out benchmarks/results/gpu
    python benchmarks/gpu/run.py 1 --rehearse                         # anywhere, tiny, on the CPU

Call 1: one training iteration; synthesis; does the GPU compute what the CPU computes. Call 2: training with the real
loader, an online feed, and with what time is left a real run at 128 x 64. Neither needs the other. After every line the
results are written (`call-N.json`, `call-N.md`); a line that fails, or for which too little time is left, is a note.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from bare import CARRIED, make_importable, unpack_market
from record import Record

BUILD = CARRIED.parent


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("call", type=int, choices=[1, 2], help="which call")
    parser.add_argument("--minutes", type=float, default=8.0, help="of the whole call (default: 8)")
    parser.add_argument("--out", type=Path, help="folder of the results; of a rehearsal: build/rehearsal")
    parser.add_argument("--carried", type=Path, default=CARRIED, help="what prepare.sh collected")
    parser.add_argument("--site", type=Path, default=BUILD / "site", help="where missing packages are unpacked")
    parser.add_argument("--work", type=Path, default=BUILD / "gpu-work", help="for what is made on the way")
    parser.add_argument(
        "--steps", default="", help="some of correctness,iteration,synthesis,compiled,loader,real; default: all"
    )
    parser.add_argument("--lines", default="", help="only lines that contain this regular expression")
    parser.add_argument("--rehearse", action="store_true", help="tiny and on the CPU: whether all of it runs")
    return parser.parse_args()


def main() -> None:
    """Prepare the machine, then measure until time is up."""
    began, asked = time.monotonic(), arguments()
    came = make_importable(asked.carried / "wheels", asked.site)
    out = asked.out or (BUILD / "rehearsal" if asked.rehearse else Path("benchmarks/results/gpu"))
    from machine import machine

    if not asked.rehearse and not torch.cuda.is_available():
        raise SystemExit("error: no CUDA device that this torch can use; --rehearse runs tiny on the CPU")
    device = torch.device("cpu" if asked.rehearse else "cuda")
    logging.getLogger("dgaug").setLevel(logging.WARNING)
    about = {"machine": machine(device=device), "command": " ".join(sys.argv)}
    if device.type == "cuda":
        about["CUDA"] = f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, driver {driver()}"
    record = Record(out, f"call-{asked.call}", about, asked.minutes, asked.lines)
    record.note(f"packages: {', '.join(f'{name} {how}' for name, how in came.items())}")
    record.note(f"prepared in {time.monotonic() - began:.0f} s")
    work = asked.work / f"call-{asked.call}"
    work.mkdir(parents=True, exist_ok=True)
    chosen = asked.steps.split(",") if asked.steps else []
    for name, step in steps(asked, record, device, work).items():
        if not chosen or name in chosen:
            step()
    record.note(f"the call took {time.monotonic() - began:.0f} s")


def driver() -> str:
    """Version of the card's driver, as nvidia-smi tells it."""
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=20).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


def steps(asked: argparse.Namespace, record: Record, device: torch.device, work: Path) -> dict[str, Callable[[], None]]:
    """The steps of a call by name, the most valuable first."""
    short = asked.rehearse
    if asked.call == 1:
        from correctness import check
        from iterations import COMPILED, WAYS, time_iterations
        from stores import time_stores

        size, batch, pairs = ((64, 32), 2, 16) if short else ((256, 128), 8, 20_000)
        iterations = partial(time_iterations, record, device, size=size, batch=batch, short=short)
        return {
            "iteration": lambda: iterations(ways=WAYS),
            "synthesis": lambda: time_stores(record, device, work / "store", pairs=pairs, short=short),
            "correctness": lambda: check(record, device, work),
            "compiled": lambda: iterations(ways=COMPILED),
        }
    from held_out import hold_out
    from loaders import time_training
    from real import time_real_run

    market = unpack_market(asked.carried / "market-train.tar.gz", work / "market")
    data = hold_out(market, work / "held-out")
    encoder = next(iter(sorted(asked.carried.glob("*.half.safetensors"))), None)
    return {
        "loader": lambda: time_training(record, data, work / "loader", device, short=short),
        "real": lambda: time_real_run(record, data, work / "real", encoder, device, short=short),
    }


if __name__ == "__main__":
    main()
