"""Real and generated images with Lightning: a module that takes soft targets and weights.

For whoever trains with Lightning (pip install lightning).

    python examples/mixed_lightning.py                       # trains a small run on the embedded data first
    python examples/mixed_lightning.py runs/00001-market1501

It writes the store examples/few under the run.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

import dgaug
from dgaug.errors import DgaugError
from dgaug.runs import Run
from dgaug.studies.mixed import MixedBatch, MixedDataset

EPOCHS = 4


class Classifier(lightning.LightningModule):
    """A small network over the identities."""

    def __init__(self, dataset: MixedDataset) -> None:
        super().__init__()
        self.dataset = dataset
        self.losses: list[float] = []
        self.network = nn.Sequential(
            nn.Conv2d(3, 32, 5, stride=4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d((4, 2)),
            nn.Flatten(),
            nn.Linear(256, len(dataset.class_names)),
        )

    def training_step(self, batch: MixedBatch, number: int) -> Tensor:
        """The weighted cross-entropy of a batch."""
        loss = functional.cross_entropy(self.network(batch.image), batch.target, reduction="none")
        mean = (batch.weight * loss).sum() / batch.weight.sum()
        self.losses.append(mean.item())
        return mean

    def on_train_epoch_start(self) -> None:
        """Other generated images in each epoch."""
        self.dataset.set_epoch(self.current_epoch)
        self.losses.clear()

    def on_train_epoch_end(self) -> None:
        """What was learned."""
        print(f"epoch {self.current_epoch}: loss {sum(self.losses) / len(self.losses):.3f}")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def main(run: str = "") -> None:
    """Fit the module."""
    # %% A run, and a store: each image's appearance on ten other images' structures
    folder = Path(run) if run else dgaug.train(out="runs/examples", resume=True).folder
    made = dgaug.synthesize(folder, pairs="per-appearance:10", out=folder / "examples/few")

    # %% The data set; Lightning puts a DistributedSampler around it where there are several devices
    dataset = dgaug.mixed_dataset(made.store, Run(folder).data_root(), labels="soft", ratio=1.0)
    loader = DataLoader(dataset, batch_size=32, shuffle=True, collate_fn=dgaug.collate_mixed)

    # %% Fit
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(0)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = lightning.Trainer(max_epochs=EPOCHS, logger=False, accelerator="auto", devices=1, **quiet)
    trainer.fit(Classifier(dataset), loader)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except DgaugError as error:
        sys.exit(f"error: {error}")
