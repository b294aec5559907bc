"""Soft labels from a network of your own: any PyTorch module that was trained on your identities, wherever that was.

For whoever has a better re-id network than the teacher that dgaug trains by itself.

    python examples/bring_my_own_teacher.py                          # the embedded data, minutes on two CPU cores
    python examples/bring_my_own_teacher.py ../Market-1501 market1501

It writes my-teacher.pt and runs/my-teacher where it is started.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn
from torchvision.transforms import Normalize

import dgaug
from dgaug.data.images import open_image, to_pixels
from dgaug.data.layouts import open_data
from dgaug.data.records import class_names
from dgaug.data.toy import write_toy
from dgaug.errors import DgaugError
from dgaug.settings import load_settings

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main(data: str = "", config: str = "toy") -> None:
    """From a network to a run and a store whose labels it made."""
    # %% The data, and the size of image that the run will have
    if not data:
        data = "pedestrians"
        write_toy(Path(data), identities=24)
    size = load_settings(config).data.image_size

    # %% Your network. Here a timm model is trained in a moment; yours comes with its weights, and this cell is yours
    network, names = my_trained_network(Path(data), size)

    # %% Say what it takes and what its classes mean. It is given RGB images in 0..1: what else it wants goes in front
    wrapped = nn.Sequential(Normalize(MEAN, STD), network)
    teacher = dgaug.import_network(wrapped, "my-teacher.pt", class_names=names, image_size=size, force=True)

    # %% It teaches the generator, and labels what is synthesized; dgaug trains no teacher
    run = dgaug.train(data, config, teacher=teacher, out="runs/my-teacher", resume=True)
    made = dgaug.synthesize(run.folder, pairs="per-appearance:4")

    # %% What it says of generated images
    store = dgaug.open_store(made.store)
    for item in (store[k] for k in range(0, len(store), len(store) // 3)):
        donors = [store.sources.identity_name[row] for row in (item.appearance, item.structure)]
        ranked = zip(item.label_class[:3], item.label_probability[:3], strict=True)
        output = ", ".join(f"{store.sources.class_name[label]} {share:.2f}" for label, share in ranked)
        print(f"clothes of {donors[0]}, pose of {donors[1]}: {output}")
    print(f"{len(store)} images labelled by {teacher}")


def my_trained_network(data: Path, size: tuple[int, int]) -> tuple[nn.Module, list[str]]:
    """A network, and the identity of each of its classes in its own order (here against the alphabet's)."""
    content = open_data(data)
    records = content.splits["train"]
    names = class_names(records)[::-1]
    pixels = np.stack([to_pixels(open_image(content.image_path(record)), size) for record in records])
    images = Normalize(MEAN, STD)(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)
    labels = torch.tensor([names.index(record.identity) for record in records])
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", num_classes=len(names))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(60):
        rows = torch.randint(len(labels), (32,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images[rows]), labels[rows]).backward()
        optimizer.step()
    return network, names


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except DgaugError as error:
        sys.exit(f"error: {error}")
