"""A store in a PyTorch training loop of your own: loader workers, soft labels, label policies, weights.

For whoever trains with a plain loop and wants generated images in it.

    python examples/store_in_pytorch.py                       # trains a small run on the embedded data first
    python examples/store_in_pytorch.py runs/00001-market1501

It writes the store examples/few under the run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

import dgaug
from dgaug.errors import DgaugError
from dgaug.store.policies import POLICIES


def main(run: str = "") -> None:
    """Train a small classifier on generated images alone, under three label policies."""
    # %% A store: each image's appearance on ten other images' structures
    folder = Path(run) if run else dgaug.train(out="runs/examples", resume=True).folder
    made = dgaug.synthesize(folder, pairs="per-appearance:10", out=folder / "examples/few")

    # %% It is a PyTorch data set; each worker opens the files for itself, however it was started
    store = dgaug.open_store(made.store)
    classes = len(store.sources.class_name)
    loader = DataLoader(store, batch_size=32, shuffle=True, num_workers=2, persistent_workers=True)

    # %% An item holds the image, its donors and the most probable classes of its soft label; a batch stacks them
    item, batch = store[0], next(iter(loader))
    print(f"{len(store)} images of {tuple(item.image.shape)}; the first wears", end=" ")
    print(f"{store.sources.path[item.appearance]} on {store.sources.path[item.structure]}")
    sums = soft_label(batch, classes).sum(dim=1)
    print(f"soft labels of a batch sum to {sums.min():.3f} ... {sums.max():.3f}")

    # %% Train: the policy is chosen here, where the store is read, and not where it was made
    for policy in ("soft", "two-soft", "appearance"):
        losses = train(loader, classes, policy)
        print(f"{policy}: loss {losses[0]:.3f} -> {losses[-1]:.3f}")


def soft_label(batch: Any, classes: int) -> Tensor:
    """The teacher's label over all classes [B, C] of stacked items; what is not stored is spread over the others."""
    others = max(1, classes - batch.label_class.shape[1])
    label = (batch.label_rest.float() / others)[:, None].repeat(1, classes)
    return label.scatter(1, batch.label_class, batch.label_probability)


def train(loader: DataLoader[Any], classes: int, policy: str, *, epochs: int = 4) -> list[float]:
    """The mean loss of each epoch."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 32, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d((4, 2)), nn.Flatten(), nn.Linear(256, classes)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(epochs):
        seen = []
        for batch in loader:
            label = soft_label(batch, classes)
            target = POLICIES[policy](label, batch.appearance_identity, batch.structure_identity)
            weight = label.amax(dim=1)  # an image counts as much as the teacher is sure; 1 would be all alike
            scores = network(batch.image.permute(0, 3, 1, 2) / 255)
            loss = (weight * functional.cross_entropy(scores, target, reduction="none")).sum() / weight.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append(loss.item())
        losses.append(sum(seen) / len(seen))
    return losses


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except DgaugError as error:
        sys.exit(f"error: {error}")
