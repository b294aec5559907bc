"""dgaug: from N labelled pictures of identities make N x N, measured, and proven on re-identification.

The functions below are what the commands call; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from dgaug.memory import keep_freed_memory
    from dgaug.models.encoder import export_encoder
    from dgaug.models.outside import import_network
    from dgaug.report.doctor import examine
    from dgaug.report.page import report_run
    from dgaug.scores.ablation import ablate
    from dgaug.scores.evaluation import evaluate_reid
    from dgaug.scores.quality import score_fid
    from dgaug.scores.twins import train_reid
    from dgaug.store.export import export_store
    from dgaug.store.read import open_store
    from dgaug.store.verify import verify
    from dgaug.synthesis.drawing import draw_grid, swap
    from dgaug.synthesis.interpolation import interpolate
    from dgaug.synthesis.job import synthesize
    from dgaug.training.importing import import_published
    from dgaug.training.train import train

__all__ = [
    "ablate",
    "draw_grid",
    "evaluate_reid",
    "examine",
    "export_encoder",
    "export_store",
    "import_network",
    "import_published",
    "interpolate",
    "keep_freed_memory",
    "open_store",
    "report_run",
    "score_fid",
    "swap",
    "synthesize",
    "train",
    "train_reid",
    "verify",
]

_HOME = {
    "ablate": "dgaug.scores.ablation",
    "draw_grid": "dgaug.synthesis.drawing",
    "evaluate_reid": "dgaug.scores.evaluation",
    "examine": "dgaug.report.doctor",
    "export_encoder": "dgaug.models.encoder",
    "export_store": "dgaug.store.export",
    "import_network": "dgaug.models.outside",
    "import_published": "dgaug.training.importing",
    "interpolate": "dgaug.synthesis.interpolation",
    "keep_freed_memory": "dgaug.memory",
    "open_store": "dgaug.store.read",
    "report_run": "dgaug.report.page",
    "score_fid": "dgaug.scores.quality",
    "swap": "dgaug.synthesis.drawing",
    "synthesize": "dgaug.synthesis.job",
    "train": "dgaug.training.train",
    "train_reid": "dgaug.scores.twins",
    "verify": "dgaug.store.verify",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("dgaug")
    if name not in _HOME:
        raise AttributeError(f"module 'dgaug' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
