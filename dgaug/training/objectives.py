"""The terms of DG-Net's loss (method: training losses); each returns an unweighted scalar.

An iteration sees two independent batches a and b of B pictures, side by side in one tensor [2B, ...]: row k and
row (k + B) mod 2B are partners. The published total adds the two sides; a mean over 2B rows is half of that sum,
so every term here is twice its mean.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SIDES = 2


def partners(rows: Tensor) -> Tensor:
    """The rows of the other batch: [2B, ...] with its halves exchanged."""
    return rows.roll(rows.shape[0] // SIDES, dims=0)


def reconstruction(picture: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of pictures or codes, both sides added."""
    return SIDES * functional.l1_loss(picture.float(), target.float())


def identification(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of class scores [2B, C] with labels [2B], both sides added."""
    return SIDES * functional.cross_entropy(logits.float(), labels)


def teacher_divergence(logits: Tensor, soft_label: Tensor) -> Tensor:
    """KL(soft label || softmax of the logits) summed over classes, mean over pictures, both sides added."""
    return SIDES * functional.kl_div(logits.float().log_softmax(dim=1), soft_label, reduction="batchmean")


def patch_error(scores: list[Tensor], target: float) -> Tensor:
    """Least squares of patch scores to a target (Mao et al., 2017); scales and sides added."""
    return SIDES * torch.stack([(maps.float() - target).square().mean() for maps in scores]).sum()


def discriminator_error(real: list[Tensor], generated: list[Tensor]) -> Tensor:
    """The discriminator's side: patch scores of real pictures to 1, of generated ones to 0."""
    return patch_error(real, 1) + patch_error(generated, 0)


def gradient_penalty(real: list[Tensor], pictures: Tensor) -> Tensor:
    """R1 (Mescheder et al., 2018): squared gradient norm of each scale's score at the real pictures.

    `pictures` [2B, 3, H, W] must require a gradient and be what `real` was computed from.
    """
    penalty = pictures.new_zeros(())
    for scores in real:
        (gradient,) = torch.autograd.grad(scores.float().sum(), pictures, create_graph=True)
        penalty = penalty + gradient.float().square().sum(dim=(1, 2, 3)).mean()
    return SIDES * penalty


def adversarial(generated: list[Tensor]) -> Tensor:
    """Generator's side: patch scores of generated pictures to 1, doubled as published."""
    return 2 * patch_error(generated, 1)
