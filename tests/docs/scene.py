"""A folder like the one in which a reader of the docs types: a run, data sets beside it, images, other models."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import timm
from safetensors.torch import save_file
from tiny_run import TINY

from dgaug.data.prepare import read_data
from dgaug.runs import Run

PLACEHOLDERS = {
    "DIR": "../Market-1501",
    "OTHER": "../DukeMTMC-reID",
    "RUN": "runs/00001-market1501",
    "STORE": "runs/00001-market1501/store",
    "MODEL": "market/last.pt",
    "FILE": "market/last.pt",
    "SHELL": "bash",
    "N": "2",
}
BESIDE = ("Market-1501", "DukeMTMC-reID", "VeRi")
TIMM = "tf_efficientnet_lite0"
SHORT = ("teacher.iterations=2", "schedule.iterations=2", "reid.iterations=2")
FEWER = {
    "random:50000": "random:400",
    "random:3000": "random:400",
    "random:5000": "random:400",
    "random:1000000": "random:400",
}
"""Designs that the tiny run has too few images for."""


def with_placeholders(command: str) -> str:
    """The command with names in place of what the reader puts in."""
    for word, name in PLACEHOLDERS.items():
        command = re.sub(rf"(?<![\w.-]){word}(?![\w-])", name, command)
    return command.replace(" …", "").replace(" ...", "")


def tiny(command: list[str]) -> list[str]:
    """The arguments of a command at the tiny settings."""
    few = [FEWER.get(word, word) for word in command]
    starts = {"train", "ablate", "demo"} & {few[0]} or (few[0] == "train-reid" and "--config" in few)
    sections = {name: values for name, values in TINY.items() if isinstance(values, dict)} if starts else {}
    settings = [f"{name}.{key}={value}" for name, values in sections.items() for key, value in values.items()]
    if starts:
        settings += ["model.start=none", "checkpoint.every=9", *SHORT]
    elif few[0] == "train-reid":
        settings += SHORT[-1:]
    seeds = ["--seeds", "1"] if few[0] == "ablate" else []
    return [*few, *(word for setting in settings for word in ("--set", setting)), *seeds]


def build(folder: Path, run: Run, text: str) -> Path:
    """The scene for a block of commands; returns the folder to stand in."""
    here = folder / "here"
    here.mkdir(parents=True)
    data = run.data_root()
    for name in BESIDE:
        (folder / name).symlink_to(data)
    for name in sorted(_runs(text)):
        made = here / "runs" / name
        shutil.copytree(run.folder, made)
        if re.search(r"synthesize(?!.*--add)|dgaug train\b", text) and "train-reid" not in text.partition("\n")[0]:
            shutil.rmtree(made / "store")
    shutil.copytree(run.store, here / "store")
    (here / "market").mkdir()
    shutil.copy(run.teacher, here / "market" / "last.pt")
    _images(here, data, run)
    if TIMM in text:
        save_file(timm.create_model(TIMM, num_classes=0).state_dict(), here / f"{TIMM}.safetensors")
    if "generated" in text and "--out generated" not in text:
        _some_images(here / "generated", data, run)
    return here


def _runs(text: str) -> set[str]:
    """The runs that a block speaks of."""
    named = set(re.findall(r"runs/(\d[\w-]*)/", text)) | set(re.findall(r"runs/(\d{5}-[\w-]+)", text))
    return (named or {"00001-market1501"}) | ({"00003-toy"} if re.search(r"(report|--run) 3\b", text) else set())


def _images(here: Path, data: Path, run: Run) -> None:
    records = read_data(data, run.settings().data, splits=("train",)).splits["train"]
    for name, record in zip(("anna", "ben", "chris", "dora"), records[::4], strict=False):
        shutil.copy(data / record.path, here / f"{name}.jpg")
    for number, record in enumerate(records):
        person, camera = ("anna", "ben", "chris", "dora", "eve", "finn")[number // 4], 1 + number % 3
        for target in (
            here / "photos" / f"{person}_cam{camera}_{number}.jpg",
            here / "crops" / person / f"{number}.jpg",
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(data / record.path, target)


def _some_images(folder: Path, data: Path, run: Run) -> None:
    folder.mkdir()
    for record in read_data(data, run.settings().data, splits=("train",)).splits["train"]:
        shutil.copy(data / record.path, folder)
