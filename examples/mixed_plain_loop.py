"""Real and generated images in one DataLoader, and a training loop without any framework.

For whoever has a PyTorch loop: two lines give batches of images, soft targets and weights.

    python examples/mixed_plain_loop.py                       # trains a small run on the embedded data first
    python examples/mixed_plain_loop.py runs/00001-market1501

It writes the store examples/few under the run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

import dgaug
from dgaug.errors import DgaugError
from dgaug.runs import Run

EPOCHS = 4


def main(run: str = "") -> None:
    """Train a small classifier on real images and as many generated ones."""
    # %% A run, and a store: each image's appearance on ten other images' structures
    folder = Path(run) if run else dgaug.train(out="runs/examples", resume=True).folder
    made = dgaug.synthesize(folder, pairs="per-appearance:10", out=folder / "examples/few")

    # %% The two lines
    dataset = dgaug.mixed_dataset(made.store, Run(folder).data_root(), labels="soft", ratio=1.0)
    loader = DataLoader(dataset, batch_size=32, shuffle=True, collate_fn=dgaug.collate_mixed)

    # %% A batch: images, a distribution over the identities for each, and which of them are generated
    batch = next(iter(loader))
    print(f"{dataset.real} real and {dataset.generated} generated images of {len(dataset.class_names)} identities")
    print(f"a batch of {tuple(batch.image.shape)} with {int(batch.generated.sum())} generated images")

    # %% Train: cross-entropy takes the targets as they are
    torch.manual_seed(0)
    network = small_network(len(dataset.class_names))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for epoch in range(EPOCHS):
        dataset.set_epoch(epoch)  # other generated images in each epoch
        losses = []
        for batch in loader:
            loss = functional.cross_entropy(network(batch.image), batch.target, reduction="none")
            loss = (batch.weight * loss).sum() / batch.weight.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.3f}")


def small_network(outputs: int) -> nn.Module:
    """Two layers; a real one has more."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d((4, 2)), nn.Flatten(), nn.Linear(256, outputs)
    )


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except DgaugError as error:
        sys.exit(f"error: {error}")
