"""dgaug: from N labelled images of identities make N x N, measured, and proven on re-identification.

The functions below are what the commands call; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from dgaug.memory import keep_freed_memory
    from dgaug.models.export_encoder import export_encoder
    from dgaug.models.import_network import import_network
    from dgaug.models.import_published import import_published
    from dgaug.report.diagnosis import diagnose
    from dgaug.report.doctor import examine
    from dgaug.report.page import report_run
    from dgaug.scores.quality.score import score_fid
    from dgaug.scores.retrieval.evaluate import evaluate_reid
    from dgaug.store.export import export_store
    from dgaug.store.merge import export_merged
    from dgaug.store.read import open_store
    from dgaug.store.verify import verify
    from dgaug.studies.ablation import ablate
    from dgaug.studies.learning_curve import study
    from dgaug.studies.mixed import collate_mixed, mixed_dataset
    from dgaug.studies.train_reid import train_reid
    from dgaug.synthesis.draw import draw_grid, interpolate, swap
    from dgaug.synthesis.job import synthesize
    from dgaug.training.train import train

__all__ = [
    "ablate",
    "collate_mixed",
    "diagnose",
    "draw_grid",
    "evaluate_reid",
    "examine",
    "export_encoder",
    "export_merged",
    "export_store",
    "import_network",
    "import_published",
    "interpolate",
    "keep_freed_memory",
    "mixed_dataset",
    "open_store",
    "report_run",
    "score_fid",
    "study",
    "swap",
    "synthesize",
    "train",
    "train_reid",
    "verify",
]

_HOME = {
    "ablate": "dgaug.studies.ablation",
    "collate_mixed": "dgaug.studies.mixed",
    "diagnose": "dgaug.report.diagnosis",
    "draw_grid": "dgaug.synthesis.draw",
    "evaluate_reid": "dgaug.scores.retrieval.evaluate",
    "examine": "dgaug.report.doctor",
    "export_encoder": "dgaug.models.export_encoder",
    "export_merged": "dgaug.store.merge",
    "export_store": "dgaug.store.export",
    "import_network": "dgaug.models.import_network",
    "import_published": "dgaug.models.import_published",
    "interpolate": "dgaug.synthesis.draw",
    "keep_freed_memory": "dgaug.memory",
    "mixed_dataset": "dgaug.studies.mixed",
    "open_store": "dgaug.store.read",
    "report_run": "dgaug.report.page",
    "score_fid": "dgaug.scores.quality.score",
    "study": "dgaug.studies.learning_curve",
    "swap": "dgaug.synthesis.draw",
    "synthesize": "dgaug.synthesis.job",
    "train": "dgaug.training.train",
    "train_reid": "dgaug.studies.train_reid",
    "verify": "dgaug.store.verify",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("dgaug")
    if name not in _HOME:
        raise AttributeError(f"module 'dgaug' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
