"""What a command finds where its output is to go: nothing, the finished output, one with other settings, or a stranger.

Every command that writes asks here, so that all refuse, resume and start over in the same words.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dgaug.errors import DgaugError

AFRESH = "choose another --out, or start over with --force"
SHOWN = 3
"""Settings that are named where more differ."""

_log = logging.getLogger("dgaug")


def already_complete(output: Path) -> None:
    """Say that nothing is left to do."""
    _log.info("already complete: %s", output)


def require_free(file: Path, *, force: bool) -> None:
    """Refuse to write over a file; DgaugError where there is one and `force` is not given."""
    if file.exists() and not force:
        raise DgaugError(f"{file} is already there; choose another name, or replace it with --force")


def require_only(folder: Path, parts: Collection[str], *, of: str, hidden: bool = False) -> None:
    """Refuse a folder that holds anything else than these parts `of` a run or a store; `hidden` files count too.

    Raises:
        DgaugError: names the first of the others, or says that there is a file.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DgaugError(f"{folder} is a file; --out names the folder to create")
    names = {item.name for item in folder.iterdir()} - {*parts, ".lock"}
    others = sorted(name for name in names if hidden or not name.startswith("."))
    if others:
        raise DgaugError(
            f"{folder} is not {of} folder: it holds {others[0]}, which is no part of {of}; choose another --out"
        )


def require_same_settings(
    output: Path, before: Mapping[str, object], asked: Mapping[str, object], *, remedy: str = AFRESH
) -> None:
    """Refuse to resume or to show an output that was made with other settings; a setting that is missing is None.

    Raises:
        DgaugError: names the settings that differ with both values, and `remedy`.
    """
    changed = changes(before, asked)
    if changed:
        more = f"; and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise DgaugError(f"{output} was made with other settings ({'; '.join(changed[:SHOWN])}{more}); {remedy}")


def changes(before: Mapping[str, object], asked: Mapping[str, object]) -> list[str]:
    """The settings that differ, each as `name: before -> asked`."""
    names = [name for name in {**before, **asked} if before.get(name) != asked.get(name)]
    return [f"{name}: {_short(before.get(name))} -> {_short(asked.get(name))}" for name in names]


def flat(values: object, separator: str = "/", prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one level, names joined; nothing where there is no dictionary."""
    level: dict[str, Any] = {}
    for name, value in values.items() if isinstance(values, dict) else ():
        inside = isinstance(value, dict)
        level |= flat(value, separator, f"{prefix}{name}{separator}") if inside else {f"{prefix}{name}": value}
    return level


def remove(*items: Path) -> None:
    """Remove files and whole folders, where they are there."""
    for item in items:
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        else:
            item.unlink(missing_ok=True)


def put_in_place(aside: Path, final: Path) -> None:
    """Give a finished folder its name; what was there goes."""
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        os.replace(final, old)
    os.replace(aside, final)
    shutil.rmtree(old, ignore_errors=True)


def _short(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)
    return text if len(text) <= 24 or set(text) - set("0123456789abcdef") else text[:8] + "…"
