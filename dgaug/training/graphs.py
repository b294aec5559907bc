"""A training iteration as CUDA graphs: recorded once, then launched as a whole.

An iteration launches thousands of small kernels, and the host needs longer to launch them than the GPU to run them. A
CUDA graph launches them together. There are two for each kind of iteration, because the discriminator is updated
between its own gradients and the generator's; optimisers, averages and everything that changes with the iteration
(learning rates, the seed of dropout) stay outside. What changes inside is copied into tensors that the graphs read:
images, labels, erased boxes, the numbers of structure inputs, weights of the terms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dgaug.errors import DgaugError
from dgaug.training.losses import Batch, Plan, Terms

if TYPE_CHECKING:
    from dgaug.training.dgnet import DGNet, FirstHalf

WARM_UP = 3
"""Ordinary iterations of a kind before it is recorded: cuDNN chooses its algorithms, optimisers make their state."""

_Kind = tuple[Any, ...]
Made = tuple[Terms, list[tuple[Tensor, "Tensor | None"]]]
"""Terms, and parameters with their gradients."""


class IterationGraphs:
    """The graphs of every kind of iteration seen so far.

    A kind is what graphs cannot change: shapes, which terms have a weight, who learns from the structure term.
    """

    def __init__(self) -> None:
        self._seen: Counter[_Kind] = Counter()
        self._graphs: dict[_Kind, CapturedIteration] = {}
        self._pool: Any = None

    def of(self, model: DGNet, batches: Sequence[Batch], plans: Sequence[Plan]) -> CapturedIteration | None:
        """The graphs of this kind of iteration; None while it is new, and for gradients that add up."""
        if len(batches) > 1:
            return None
        (batch,), (plan,) = batches, plans
        kind = (batch.images.shape, tuple(plan.weights), plan.encoder_learns)
        if kind not in self._graphs:
            self._seen[kind] += 1
            if self._seen[kind] <= WARM_UP:
                return None
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            try:
                self._graphs[kind] = CapturedIteration(model, batch, plan, self._pool)
            except RuntimeError as problem:
                reason = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
                raise DgaugError(
                    f"behaviour.graphs: this GPU did not record an iteration as a CUDA graph: {reason}; "
                    "resume without it: --resume --set behaviour.graphs=false"
                ) from problem
        return self._graphs[kind]


class CapturedIteration:
    """Both halves of one kind of iteration. Recording runs nothing, so it changes no weight."""

    def __init__(self, model: DGNet, batch: Batch, plan: Plan, pool: Any) -> None:
        self._model = model
        self._batch = Batch(*(tensor.clone() for tensor in batch))
        self._boxes = plan.boxes.to(batch.images.device)
        self._weights = torch.zeros(len(plan.weights), device=batch.images.device)
        weights = dict(zip(plan.weights, self._weights.unbind(), strict=True))
        self._greys = plan.greys.to(batch.images.device)
        self._plan = Plan(weights, self._boxes, plan.encoder_learns, self._greys)
        self._half: FirstHalf | None = None
        self._first = record(self._discriminator_half, pool)
        self._second = record(self._generator_half, pool)

    def discriminator_half(self, batch: Batch, plan: Plan) -> Terms:
        """As `DGNet.discriminator_half`: generated images and the discriminator's gradients."""
        for mine, given in zip(self._batch, batch, strict=True):
            mine.copy_(given, non_blocking=True)
        self._boxes.copy_(plan.boxes, non_blocking=True)
        self._greys.copy_(plan.greys, non_blocking=True)
        self._weights.copy_(torch.tensor(list(plan.weights.values())), non_blocking=True)
        return self._first.replayed()

    def generator_half(self) -> Terms:
        """As `DGNet.generator_half`: the gradients of generator and appearance encoder."""
        return self._second.replayed()

    def _discriminator_half(self) -> Made:
        self._half = self._model.discriminator_half([self._batch], [self._plan])
        return self._half.terms, _gradients(self._model, "discriminator")

    def _generator_half(self) -> Made:
        assert self._half is not None
        half, self._half = self._half, None  # its graph ends here
        terms = self._model.generator_half([self._batch], half, [self._plan], None)
        return terms, _gradients(self._model, "generator", "appearance")


@dataclass(frozen=True)
class Recorded:
    """A graph and the tensors that it writes."""

    replay: Callable[[], object]
    made: Made

    def replayed(self) -> Terms:
        """Launch it; the terms, and gradients at their parameters."""
        self.replay()
        terms, gradients = self.made
        for parameter, gradient in gradients:
            parameter.grad = gradient
        return dict(terms)


def record(work: Callable[[], Made], pool: Any) -> Recorded:
    """Record what some work launches, in a memory pool that all graphs share.

    They may share it because each writes all that it reads, but for the second half of an iteration, which follows
    its first at once.
    """
    graph = torch.cuda.CUDAGraph()
    # Threads that load images may allocate pinned memory meanwhile: only this thread must not.
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        made = work()
    return Recorded(graph.replay, made)


def _gradients(model: DGNet, *names: str) -> list[tuple[Tensor, Tensor | None]]:
    """Parameters of optimisers, each with the tensor that holds its gradient."""
    return [(parameter, parameter.grad) for parameter in model.parameters(*names)]
