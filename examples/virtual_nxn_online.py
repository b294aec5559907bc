"""All N x N pairs without an image on disk: each is drawn on the training device at the moment it is needed.

For whoever trains on every pair there is: 167 million images of Market-1501 would take about 1.5 TB.

    python examples/virtual_nxn_online.py                       # trains a small run on the embedded data first
    python examples/virtual_nxn_online.py runs/00001-market1501

It writes the store examples/virtual under the run.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch

import dgaug
from dgaug.device import default_device
from dgaug.errors import DgaugError
from dgaug.studies.feeds import StoreFeed

STEPS, BATCH = 20, 32


def main(run: str = "") -> None:
    """Open all pairs, look at a few, and train on fresh ones."""
    # %% A store of codes: what the images are drawn from, for each of the N sources, and the decoder
    folder = Path(run) if run else dgaug.train(out="runs/examples", resume=True).folder
    made = dgaug.synthesize(folder, pairs="all", codec="codes", teacher="none", out=folder / "examples/virtual")

    # %% Open it with the teacher, which labels each image when it is drawn; both work on the device
    device = default_device()
    store = dgaug.open_store(made.store, device=device, teacher=folder / "teacher/last.pt")
    bytes_on_disk = sum(file.stat().st_size for file in made.store.rglob("*") if file.is_file())
    print(f"{len(store)} pairs of {len(store.sources)} images, {bytes_on_disk / len(store):.0f} bytes a pair on disk")

    # %% Any pair by its number, k = appearance * N + structure: here the first appearance on five structures
    drawn = store.batch([0 * len(store.sources) + structure for structure in range(5)])
    print(f"five pairs at once: {tuple(drawn.pixels.shape)} on {drawn.pixels.device.type}")

    # %% A feed: the batch of an iteration is fresh pairs, a function of the seed and the iteration alone
    feed = StoreFeed(store, batch_size=BATCH, seed=0, policy="soft")
    again = feed(7).images
    assert torch.equal(again, feed(7).images)
    assert not torch.equal(again, feed(8).images)

    # %% Train on it; nothing is read from an image file
    classes = len(store.sources.class_name)
    features = int(np.prod(drawn.pixels.shape[1:]))
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(features, classes)).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    begun = time.perf_counter()
    for iteration in range(STEPS):
        batch = feed(iteration)
        loss = torch.nn.functional.cross_entropy(network(batch.images), batch.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    rate = STEPS * BATCH / (time.perf_counter() - begun)
    print(f"trained on {STEPS * BATCH} fresh images, {rate:.0f} a second, loss {loss.item():.3f}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except DgaugError as error:
        sys.exit(f"error: {error}")
