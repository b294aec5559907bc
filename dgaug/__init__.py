"""dgaug: from N labelled images of identities make N x N, measured, and proven on re-identification.

The functions are what the commands call; each is imported when it is first used. `__init__.pyi` names them.
"""

from __future__ import annotations

import re
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

_STUB = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
_HOME = {name: home for home, name in re.findall(r"^from ([\w.]+) import (\w+) as \2$", _STUB, re.MULTILINE)}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("dgaug")
    if name not in _HOME:
        raise AttributeError(f"module 'dgaug' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
