"""Re-id models of the field by name: the arguments of `ReidNetwork`, and the settings of `reid` they train with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dgaug.settings import Settings

PCB_EMBEDDING = 256
"""Of a band (Sun et al., ECCV 2018)."""
RECIPES: dict[str, dict[str, object]] = {
    # Luo et al., CVPR workshops 2019: P x K batches, batch-hard triplets, smoothed labels; warm-up is everybody's.
    "bot": {"sampler": "balanced", "per_identity": 4, "metric": "triplet", "label_smoothing": 0.1},
}


def appearance_architecture(settings: Settings, classes: int) -> dict[str, Any]:
    """`ReidNetwork`'s arguments for the appearance encoder."""
    model = settings.model
    return {
        "backbone": model.backbone,
        "classes": classes,
        "dropouts": (model.prim_dropout, model.fine_dropout),
        "pool": "max",
        "embedding": model.embedding,
        "last_stride": model.last_stride,
    }


def teacher_architecture(settings: Settings, classes: int) -> dict[str, Any]:
    """`ReidNetwork`'s arguments for the one-head teacher."""
    one_head = {
        "dropouts": (settings.model.prim_dropout,),
        "pool": "avg",
        "last_stride": settings.teacher.last_stride,
    }
    return appearance_architecture(settings, classes) | one_head


def pcb_architecture(settings: Settings, classes: int) -> dict[str, Any]:
    """`ReidNetwork`'s arguments for PCB: six bands, each with a head of its own (Sun et al., ECCV 2018)."""
    embedding = min(PCB_EMBEDDING, settings.model.embedding)
    return teacher_architecture(settings, classes) | {"head": "stripes", "embedding": embedding, "last_stride": 1}


def bot_architecture(settings: Settings, classes: int) -> dict[str, Any]:
    """`ReidNetwork`'s arguments for the bag of tricks: BNNeck, no dropout (Luo et al., CVPR workshops 2019)."""
    return teacher_architecture(settings, classes) | {"head": "bnneck", "dropouts": (0.0,), "last_stride": 1}


ARCHITECTURES: dict[str, Callable[[Settings, int], dict[str, Any]]] = {
    "dgnet": appearance_architecture,
    "baseline": teacher_architecture,
    "pcb": pcb_architecture,
    "bot": bot_architecture,
}
