"""Presets that ship with dgaug, and the reading of one or of a YAML file of settings."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Any

from dgaug.errors import DgaugError
from dgaug.plain_yaml import read_yaml


def preset_names() -> list[str]:
    """Names of the presets that ship with dgaug."""
    return sorted(item.name[:-5] for item in resources.files("dgaug_configs").iterdir() if item.name.endswith(".yaml"))


def preset_comments() -> dict[str, list[str]]:
    """By preset, the lines it opens with: a command that uses it, then what it is for."""
    folder = resources.files("dgaug_configs")
    texts = {name: folder.joinpath(f"{name}.yaml").read_text(encoding="utf-8") for name in preset_names()}
    return {
        name: [line[2:] for line in takewhile(lambda line: line.startswith("# "), text.splitlines())]
        for name, text in texts.items()
    }


def read_config(config: str | Path) -> dict[str, Any]:
    """The values in a preset or a file, unchecked; DgaugError where there is none, or no YAML of sections."""
    preset = resources.files("dgaug_configs") / f"{config}.yaml"
    if str(config) in preset_names():
        text = preset.read_text(encoding="utf-8")
    elif Path(config).is_file():
        try:
            text = Path(config).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DgaugError(f"cannot read config {config}: {error}") from error
    else:
        raise DgaugError(
            f"unknown preset or missing file {str(config)!r}{nearest(str(config), preset_names())}; "
            f"presets: {', '.join(preset_names())}"
        )
    try:
        values = read_yaml(text)
    except ValueError as error:
        raise DgaugError(f"config {config} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise DgaugError(f"config {config}: expected sections such as 'data:', found {type(values).__name__}")
    return values


def nearest(name: str, known: Iterable[str]) -> str:
    """A question after the known name that is most like another; empty where none is."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
