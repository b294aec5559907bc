"""Step 5: real images at 128 x 64, from a training split to re-id with and without generated ones."""

from __future__ import annotations

from pathlib import Path

import real_data
import torch
from record import Record, Values
from safetensors.torch import load_file, save_file

from dgaug.device import use_device
from dgaug.files import read_json

STEP = "real images, 128 x 64, identities held out of the training split"
FULL = (
    "teacher.iterations=2000", "schedule.iterations=4000", "reid.iterations=1500", "behaviour.precision=bf16",
    "behaviour.graphs=true",
)  # fmt: skip
TINY = (
    "data.height=64", "data.width=32", "data.pad=2", "model.width=0.25", "model.backbone=small", "model.embedding=16",
    "teacher.iterations=8", "teacher.batch_size=8", "schedule.iterations=4", "schedule.batch_size=2",
    "reid.iterations=4", "reid.batch_size=8", "data.limit_identities=20",
)  # fmt: skip
NAME = "gpu-128x64"


def time_real_run(
    record: Record, data: Path, work: Path, encoder: Path | None, device: torch.device, *, short: bool
) -> None:
    """The step, where enough time is left for its first parts."""
    record.measure(STEP, "whole", lambda: real_run(record, data, work, encoder, device, short=short), needs=60)


def real_run(
    record: Record, data: Path, work: Path, encoder: Path | None, device: torch.device, *, short: bool
) -> Values:
    """Run `real_data.py` with what time is left; its own table grows beside this record."""
    work.mkdir(parents=True, exist_ok=True)
    weights = "none" if encoder is None or short else str(whole(encoder, work / "encoder.safetensors"))
    out = record.file.parent
    words = [str(data), "--weights", weights, "--pairs", "per-appearance:2" if short else "per-appearance:8"]
    words += ["--name", NAME, "--out", str(out), "--work", str(work / "run")]
    words += [word for setting in (TINY if short else FULL) for word in ("--set", setting)]
    try:
        with use_device(device):
            real_data.main.main(words, standalone_mode=False)
    finally:
        table = out / f"real-{NAME}.json"
        if table.is_file():
            for part, seconds in read_json(table)["seconds"].items():
                record.add(STEP, part, {"s": seconds})
    return {"table": f"real-{NAME}.md"}


def whole(encoder: Path, out: Path) -> Path:
    """Weights in half precision as a file in fp32."""
    tensors = load_file(encoder)
    save_file({name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}, out)
    return out
