"""The published training iteration, restated plainly from its description (method: order of one iteration).

What dgaug is measured against. Every choice here is the published one: sides a and b one after the other, nearest
upsampling and then a 5x5 convolution, eight small MLPs at every decode, deep copies of the encoders at every
iteration, gradients of copies and discriminator computed and thrown away, un-erased passes kept with their graph.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import cross_entropy, kl_div, l1_loss

from dgaug.models.decoder import AdaINParameters
from dgaug.models.discriminator import Discriminator
from dgaug.models.reid import ReidNetwork
from dgaug.models.structure_encoder import StructureEncoder
from dgaug.training.augmentation import sample_boxes
from dgaug.training.losses import Batch
from dgaug.training.networks import Networks

WEIGHTS = {
    "adversarial": 1,
    "reconstruction": 5,
    "same_identity": 5,
    "identification": 1,
    "real_fine": 0.4,
    "positive": 1,
    "generated_identity": 0.5,
    "structure_code": 1,
    "cycle": 2,
    "teacher": 2,
    "fine": 0.4,
}


def block(conv: Any, maps: Tensor) -> Tensor:
    """Reflection pad and convolution, in the layout the images came in."""
    pad: int = getattr(conv, "pad", 2)
    padded = functional.pad(maps, (pad,) * 4, mode="reflect") if pad else maps
    convolved: Tensor = conv.conv(padded)
    return convolved


def leaky(maps: Tensor) -> Tensor:
    return functional.leaky_relu(maps, 0.2)


def normalised(maps: Tensor) -> Tensor:
    return functional.instance_norm(maps)


def encode(encoder: StructureEncoder, images: Tensor) -> Tensor:
    """Structure code of images [B, 3, H, W]."""
    maps = images.mean(dim=1, keepdim=True)
    for layer in encoder.stem:
        maps = leaky(normalised(block(layer, maps)))
    for residual in encoder.residual:
        hidden = leaky(normalised(block(residual.first, maps)))
        maps = maps + normalised(block(residual.second, hidden))
    scales: Any = encoder.scales
    branches = [normalised(block(scales.plain, maps))]
    for reduce, dilated in zip(scales.reduce, scales.dilated, strict=True):
        branches.append(normalised(block(dilated, leaky(normalised(block(reduce, maps))))))
    return normalised(block(scales.fuse, torch.cat(branches, dim=1)))


def judge(discriminator: Discriminator, images: Tensor) -> list[Tensor]:
    """Patch scores of each scale."""
    scores: list[Tensor] = []
    scale: Any
    for index, scale in enumerate(discriminator.scales):
        if index:
            images = functional.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
        maps = images
        for layer in scale.stem:
            maps = leaky(block(layer, maps))
        for residual in scale.residual:
            maps = maps + block(residual.second, leaky(block(residual.first, maps)))
        scores.append(scale.score(maps))
    return scores


def separate_mlps(stacked: AdaINParameters) -> nn.ModuleList:
    """The eight MLPs, each on its own: block 1 scale, block 1 shift, block 2 scale, ..."""
    mlps = nn.ModuleList()
    for index in range(len(stacked.weights[0])):
        layers: list[nn.Module] = []
        for weight, bias in zip(stacked.weights, stacked.biases, strict=True):
            linear = nn.Linear(weight.shape[1], weight.shape[2])
            linear.weight.data.copy_(weight[index].detach().T)
            linear.bias.data.copy_(bias[index, 0].detach())
            layers += [linear, nn.LeakyReLU(0.2)]
        mlps.append(nn.Sequential(*layers[:-1]))
    return mlps


class Restated:
    """Networks with the weights of dgaug's, in their plain form, and the published iteration."""

    def __init__(self, networks: Networks, *, erasing: float) -> None:
        own = copy.deepcopy(networks)
        assert isinstance(own.teacher, ReidNetwork)
        self.encoder, self.decoder = own.generator.structure_encoder, own.generator.decoder
        self.mlps = separate_mlps(own.generator.adain).to(next(self.decoder.parameters()).device)
        self.discriminator, self.appearance, self.teacher = own.discriminator, own.appearance, own.teacher
        self.generator = nn.ModuleList([self.encoder, self.decoder, self.mlps])
        for network in (self.generator, self.discriminator, self.appearance, self.teacher):
            network.to(memory_format=torch.contiguous_format).train()
        self.erasing = erasing
        self._rng = np.random.default_rng(0)
        self.generator_optimizer, self.discriminator_optimizer = (
            torch.optim.Adam(network.parameters(), 1e-4, betas=(0.0, 0.999), weight_decay=5e-4)
            for network in (self.generator, self.discriminator)
        )
        self.appearance_optimizer = torch.optim.SGD(
            [
                {"params": self.appearance.backbone.parameters(), "lr": 0.002},
                {"params": self.appearance.heads.parameters(), "lr": 0.02},
            ],
            momentum=0.9,
            nesterov=True,
            weight_decay=5e-4,
        )

    def decode(self, structure: Tensor, appearance: Tensor) -> Tensor:
        """Images [B, 3, H, W]; the MLPs run again at every call."""
        maps = structure
        slices = appearance.chunk(len(self.decoder.blocks), dim=1)
        for index, (residual, code) in enumerate(zip(self.decoder.blocks, slices, strict=True)):
            scale, shift = self.mlps[2 * index](code).chunk(2, dim=1), self.mlps[2 * index + 1](code).chunk(2, dim=1)
            hidden = leaky(_adapted(block(residual.first, maps), scale[0], shift[0]))
            maps = maps + _adapted(block(residual.second, hidden), scale[1], shift[1])
        norm: Any
        for layer, norm in zip(self.decoder.upsample, self.decoder.norms, strict=True):
            maps = block(layer, functional.interpolate(maps, scale_factor=2.0, mode="nearest"))
            flat = maps.flatten(1)
            mean, deviation = (each.view(-1, 1, 1, 1) for each in (flat.mean(dim=1), flat.std(dim=1)))
            maps = (maps - mean) / (deviation + 1e-5)
            maps = leaky(maps * norm.gamma.view(1, -1, 1, 1) + norm.beta.view(1, -1, 1, 1))
        for layer in self.decoder.refine:
            maps = leaky(block(layer, maps))
        return block(self.decoder.colour, maps)

    def step(self, batch: Batch, *, encoder_learns: bool) -> dict[str, float]:
        """One iteration with every loss at its final weight; the unweighted terms, sides added."""
        x_a, x_b = (side.clone() for side in batch.images.chunk(2))
        p_a, p_b = batch.positives.chunk(2)
        y_a, y_b = batch.labels.chunk(2)
        decode, appearance = self.decode, self.appearance
        s_a, s_b = encode(self.encoder, x_a), encode(self.encoder, x_b)
        seen_a, seen_b = appearance(x_a), appearance(x_b)
        f_a, f_b = seen_a.appearance.detach(), seen_b.appearance.detach()
        x_ba, x_ab = decode(s_b, f_a), decode(s_a, f_b)
        again_a, again_b = decode(s_a, f_a), decode(s_b, f_b)
        seen_pa, seen_pb = appearance(p_a), appearance(p_b)
        same_a = decode(s_a, seen_pa.appearance.detach())
        same_b = decode(s_b, seen_pb.appearance.detach())
        real_a, real_b = appearance(self._erased(x_a)).logits, appearance(self._erased(x_b)).logits
        positive_a, positive_b = appearance(self._erased(p_a)).logits, appearance(self._erased(p_b)).logits

        report = self._train_discriminator(((x_a, x_ba.detach()), (x_b, x_ab.detach())))

        self.generator_optimizer.zero_grad()
        self.appearance_optimizer.zero_grad()
        frozen = copy.deepcopy(appearance)  # every parameter of the copy gets a gradient that nobody reads
        found_a, found_b = frozen(x_ba, dropout=False), frozen(x_ab, dropout=False)
        if encoder_learns:
            code_a, code_b = encode(self.encoder, x_ab.detach()), encode(self.encoder, x_ba.detach())
        else:
            copied = copy.deepcopy(self.encoder)
            code_a, code_b = encode(copied, x_ab), encode(copied, x_ba)
        cycle_a = decode(code_a, found_a.appearance.detach())
        cycle_b = decode(code_b, found_b.appearance.detach())
        live_a, live_b = appearance(x_ba.detach()).logits, appearance(x_ab.detach()).logits
        soft_a, soft_b = self._soft_label(x_ba.detach()), self._soft_label(x_ab.detach())
        terms = {
            "reconstruction": l1_loss(again_a, x_a) + l1_loss(again_b, x_b),
            "same_identity": l1_loss(same_a, x_a) + l1_loss(same_b, x_b),
            "adversarial": self._adversarial(x_ba) + self._adversarial(x_ab),
            "identification": cross_entropy(real_a[0], y_a) + cross_entropy(real_b[0], y_b),
            "real_fine": cross_entropy(real_a[1], y_a) + cross_entropy(real_b[1], y_b),
            "positive": cross_entropy(positive_a[0], y_a) + cross_entropy(positive_b[0], y_b),
            "generated_identity": cross_entropy(found_a.logits[0], y_a) + cross_entropy(found_b.logits[0], y_b),
            "structure_code": l1_loss(code_a, s_a.detach()) + l1_loss(code_b, s_b.detach()),
            "cycle": l1_loss(cycle_a, x_a) + l1_loss(cycle_b, x_b),
            "teacher": kl_div(live_a[0].log_softmax(1), soft_a, reduction="batchmean")
            + kl_div(live_b[0].log_softmax(1), soft_b, reduction="batchmean"),
            "fine": cross_entropy(live_a[1], y_b) + cross_entropy(live_b[1], y_a),
        }
        total = torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum()
        torch.autograd.backward(total)
        self.generator_optimizer.step()
        self.appearance_optimizer.step()
        return report | {name: term.item() for name, term in terms.items()} | {"total": total.item()}

    def _train_discriminator(self, sides: tuple[tuple[Tensor, Tensor], ...]) -> dict[str, float]:
        self.discriminator_optimizer.zero_grad()
        errors, penalties = [], []
        for real, fake in sides:
            real.requires_grad_()  # and stays so: the generator's backward pass computes image gradients too
            for result, wanted in zip(judge(self.discriminator, fake), judge(self.discriminator, real), strict=True):
                errors.append(result.square().mean() + (wanted - 1).square().mean())
                (slope,) = torch.autograd.grad(wanted.sum(), real, create_graph=True)
                penalties.append(slope.square().sum(dim=(1, 2, 3)).mean())
        error, penalty = torch.stack(errors).sum(), torch.stack(penalties).sum()
        torch.autograd.backward(error + 0.01 * penalty)
        self.discriminator_optimizer.step()
        return {"discriminator": error.item(), "gradient_penalty": penalty.item()}

    def _adversarial(self, fake: Tensor) -> Tensor:
        return torch.stack([2 * (scores - 1).square().mean() for scores in judge(self.discriminator, fake)]).sum()

    @torch.no_grad()
    def _soft_label(self, images: Tensor) -> Tensor:
        views: Iterator[Tensor] = (self.teacher(view).logits[0] for view in (images, images.flip(3)))
        added = torch.stack([logits.softmax(dim=1) for logits in views]).sum(dim=0)
        return added / added.sum(dim=1, keepdim=True)

    def _erased(self, images: Tensor) -> Tensor:
        erased = images.detach().clone()
        height, width = images.shape[2:]
        for image in erased:
            ((top, left, bottom, right),) = sample_boxes(1, (height, width), self.erasing, self._rng)
            image[:, top:bottom, left:right] = 0
        return erased


def _adapted(maps: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return normalised(maps) * scale[:, :, None, None] + shift[:, :, None, None]
