"""A data set for the Hugging Face Hub: WebDataset tars by split, and a dataset card."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import yaml

from dgaug.data.names import SPLITS
from dgaug.data.records import IdentityData
from dgaug.files import whole, write_text
from dgaug.store.export_formats import add_sample
from dgaug.store.export_rows import row_labels
from dgaug.store.merge_images import jpegs
from dgaug.store.merge_plan import Entry, Plan
from dgaug.store.policies import policy_classes
from dgaug.store.read import StoreDataset

CARD = "README.md"
Shard = tuple[str, list[Entry]]
_AT_ONCE = 64
_LICENSES = (
    "apache-2.0",
    "mit",
    "cc0-1.0",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0",
)
_TEXT = """
# {title}

Images for re-identification made by dgaug {version}: {generated:,} **generated** images{beside}.
This is synthetic data: the field `generated` of each image says so.

## What was generated from what

Each generated image joins the appearance of one real image (clothing, colour, texture) with the structure of another
(pose, body, viewpoint, background). `appearance` and `structure` name both by their paths in the source data.

| | |
|---|---|
| source images | {sources:,} of {identities:,} identities |
| pairs in the store | {pairs} |
| image size | {height} x {width} |
| generator (sha256) | `{generator}` |
| teacher of the labels (sha256) | `{teacher}` |
| label policy | `{labels}` |
{selected}| licence of the source images, as given by who made this | {license} |

## Fields

`jpg`: the image. `json`: `identity`, `camera` (-1: unknown), `role`, `generated`, `appearance`, `structure`, and the
label: `label_identity` with `label_probability`, and `label_rest`, the mass of all other identities. Images are in the
order of the store: shuffle when reading.

    from datasets import load_dataset

    data = load_dataset("PATH OF THIS FOLDER")

## Responsible use

Generated images show the clothing and the bodies of the people in the source images. Whatever restricts the use of
those restricts the use of these: the licence above, the consent that was given, the law on personal data. Do not
identify or track people who have not agreed, do not call these images anonymous, and keep the field `generated` when
you pass them on.
"""


def shards_of(plan: Plan, size: int) -> list[Shard]:
    """The tars in their order, each with its images."""
    result = []
    for split in SPLITS:
        entries = [one for one in plan.entries if one.split == split]
        for number, start in enumerate(range(0, len(entries), size)):
            name = f"data/{split.replace('-', '_')}-{number:05d}.tar"
            result.append((name, entries[start : start + size]))
    return result


def write_shards(
    folder: Path,
    store: StoreDataset,
    data: IdentityData | None,
    shards: list[Shard],
    *,
    labels: str,
    done: Callable[[int], None],
) -> None:
    """Write the tars that are not there yet: KEY.jpg and KEY.json for each image.

    Raises:
        DgaugError: an image of the store is damaged.
        OSError: the disk is full.
    """
    written = 0
    for name, entries in shards:
        path = folder / name
        if not path.is_file():
            with whole(path) as aside, tarfile.open(aside, "w", format=tarfile.USTAR_FORMAT) as tar:
                for key, (content, described) in enumerate(_samples(store, data, entries, labels)):
                    add_sample(tar, key, content, described)
                    if key % _AT_ONCE == 0:
                        done(written + key)
        written += len(entries)
        done(written)


def write_card(
    folder: Path, store: StoreDataset, plan: Plan, shards: list[Shard], *, labels: str, license: str, selected: str = ""
) -> None:
    """Write the dataset card; `license` is that of the source images, `selected` a sentence about what a judge kept."""
    spec, real = store.spec, sum(one.row is None for one in plan.entries)
    splits = list(dict.fromkeys(name.rpartition("-")[0].rpartition("/")[2] for name, _ in shards))
    known = license.lower() in _LICENSES
    head = {
        "license": license.lower() if known else "other",
        **({} if known else {"license_name": license}),
        "tags": ["synthetic", "re-identification", "dgaug"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*.tar"} for split in splits],
            }
        ],
    }
    text = _TEXT.format(
        title="Generated images for re-identification",
        version=spec.dgaug_version,
        generated=len(plan.entries) - real,
        beside=f" beside {real:,} real ones" if real else ", no real ones",
        sources=len(store.sources),
        identities=len(store.sources.class_name),
        pairs=spec.pairs,
        height=spec.image_size[0],
        width=spec.image_size[1],
        generator=spec.generator_sha256,
        teacher=spec.teacher_sha256 or "none",
        labels=labels,
        selected=f"| choice of images | {selected} |\n" if selected else "",
        license=" ".join(license.split()).replace("|", "/"),
    )
    write_text(folder / CARD, f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n{text}")


def _samples(
    store: StoreDataset, data: IdentityData | None, entries: list[Entry], labels: str
) -> Iterator[tuple[bytes, dict[str, object]]]:
    waiting = iter(entries)
    names = policy_classes(labels, store.sources.class_name)
    while batch := list(islice(waiting, _AT_ONCE)):
        made = [one for one in batch if one.row is not None]
        images = iter(jpegs(store, made))
        texts = iter(_labels(store, made, labels, names))
        for one in batch:
            if one.row is None:
                assert data is not None
                content, label = data.image_path(one.record).read_bytes(), ([one.person], [1.0], 0.0)
            else:
                content, label = next(images), next(texts)
            yield content, _described(store, one, label)


def _labels(
    store: StoreDataset, made: list[Entry], labels: str, names: list[str]
) -> list[tuple[list[str], list[float], float]]:
    if not made:
        return []
    top = row_labels(store, labels, np.array([one.row for one in made], np.int64))
    shares = top.probability.astype(float).tolist()
    classes = ([names[number] for number in row] for row in top.classes.tolist())
    return list(zip(classes, shares, top.rest.astype(float).tolist(), strict=True))


def _described(store: StoreDataset, one: Entry, label: tuple[list[str], list[float], float]) -> dict[str, object]:
    # Of one type in every sample: `datasets` takes the types from the first.
    made = one.row is not None
    return {
        "identity": one.person,
        "camera": one.record.camera,
        "role": one.record.role.value,
        "generated": made,
        "appearance": store.sources.path[one.appearance] if made else one.record.path,
        "structure": store.sources.path[one.structure] if made else one.record.path,
        "label_identity": label[0],
        "label_probability": label[1],
        "label_rest": label[2],
    }
