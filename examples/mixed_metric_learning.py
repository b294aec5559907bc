"""Real and generated images with pytorch-metric-learning: its sampler, miner and loss.

For whoever learns embeddings: a generated image counts as another one of its appearance donor.

    python examples/mixed_metric_learning.py                       # trains a small run on the embedded data first
    python examples/mixed_metric_learning.py runs/00001-market1501

It writes the store examples/few under the run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from pytorch_metric_learning.samplers import MPerClassSampler
from torch import nn
from torch.utils.data import DataLoader

import dgaug
from dgaug.errors import DgaugError
from dgaug.runs import Run

EPOCHS, BATCH, PER_IDENTITY = 4, 24, 4


def main(run: str = "") -> None:
    """Learn an embedding from batches of four images of each of six identities."""
    # %% A run, and a store: each image's appearance on ten other images' structures
    folder = Path(run) if run else dgaug.train(out="runs/examples", resume=True).folder
    made = dgaug.synthesize(folder, pairs="per-appearance:10", out=folder / "examples/few")

    # %% One label for each image: that of the appearance donor
    dataset = dgaug.mixed_dataset(made.store, Run(folder).data_root(), labels="appearance", ratio=1.0)

    # %% Miner and loss as they are
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 32, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d((4, 2)), nn.Flatten(), nn.Linear(256, 32)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    miner, criterion = BatchHardMiner(), TripletMarginLoss(margin=0.3)
    for epoch in range(EPOCHS):
        # %% The identities of this epoch's images fill the batches
        dataset.set_epoch(epoch)
        sampler = MPerClassSampler(dataset.identities(), PER_IDENTITY, BATCH, length_before_new_iter=len(dataset))
        losses = []
        for batch in DataLoader(dataset, BATCH, sampler=sampler, collate_fn=dgaug.collate_mixed):
            features = network(batch.image)
            loss = criterion(features, batch.identity, miner(features, batch.identity))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.3f}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except DgaugError as error:
        sys.exit(f"error: {error}")
