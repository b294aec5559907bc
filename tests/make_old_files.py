"""How `old_files.tar.xz` was made, by commit b44ef3f and its modules; see `test_old_files.py`.

    git worktree add ../b44ef3f b44ef3f
    PYTHONPATH=../b44ef3f:../b44ef3f/tests python tests/make_old_files.py FOLDER
    cd FOLDER && tar -cJf ../old_files.tar.xz run/config.yaml run/environment.json run/log.jsonl run/data \\
        run/checkpoints/last.pt run/teacher/last.pt run/store run/scores/scores.json run/reid/results.json codes parts
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from dgaug.scores.twins import train_reid
from tiny_run import write_config

from dgaug.errors import Interrupted
from dgaug.models import checkpoints
from dgaug.scores.quality import score_fid
from dgaug.synthesis.job import synthesize
from dgaug.training.train import train


def stop(title: str, done: int, *_: Any) -> None:
    """Stop DG-Net after two iterations."""
    if title == "DG-Net" and done == 2:
        os.kill(os.getpid(), signal.SIGTERM)


def thin(content: Any, keep: int) -> None:
    """Set all but one of so many weights to zero: an archive of them is small."""
    if isinstance(content, torch.Tensor):
        if content.is_floating_point() and content.numel() > 64:
            content.mul_((torch.arange(content.numel()) % keep == 0).reshape(content.shape))
        return
    for each in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        thin(each, keep)


def main() -> None:
    """Make a run, three stores, scores and results."""
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    out.mkdir(parents=True)
    config = write_config(
        out / "tiny.yaml",
        schedule={"iterations": 4, "batch_size": 2, "ramp_start": 0.0, "ramp_length": 0.5},
        teacher={"iterations": 4, "batch_size": 8},
        reid={"iterations": 2, "batch_size": 8},
    )
    run = out / "run"
    with suppress(Interrupted):
        train(config=config, out=run, progress=stop)
    for path in (run / "checkpoints" / "last.pt", run / "teacher" / "last.pt"):
        content = torch.load(path, weights_only=True)
        thin(content.get("optimizers", {}), 1024)
        thin(content, 64)
        checkpoints.save(path, content)
    synthesize(run, pairs="random:40")
    synthesize(run, pairs="random:20", codec="codes", out=out / "codes")
    synthesize(run, pairs="random:10", out=out / "parts")
    synthesize(run, pairs="grid:2x3", out=out / "parts", add=True)
    score_fid(run=run, metrics=["frechet", "structure"])
    train_reid(run, twin=False)


if __name__ == "__main__":
    main()
