"""What README and docs tell people to type."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_SPAN = re.compile(r"`(dgaug [^`]+)`")
_TORCHRUN = re.compile(r"^(srun .*?)?torchrun .*? -m (-- )?(?=dgaug )")


@dataclass(frozen=True)
class Block:
    """An indented block of a page, with the line it starts in."""

    page: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The `dgaug` commands to type, in order, one line each, without prompt, launcher and comment."""
        joined = self.text.replace("\\\n", " ")
        lines = [" ".join(line.split()) for line in joined.splitlines()]
        if any(line.startswith("$ ") for line in lines):
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        lines = [_TORCHRUN.sub("", line).removesuffix(" …").partition(" | ")[0] for line in lines]
        return [shlex.join(shlex.split(line, comments=True)) for line in lines if line.startswith("dgaug ")]

    @property
    def is_python(self) -> bool:
        """Whether it is a program."""
        return bool(re.search(r"^import |^from \w+ import |\bdgaug\.\w+\(|^store\[", self.text, re.MULTILINE))


def blocks(page: Path) -> Iterator[Block]:
    """The indented blocks of a page, those of lists left out."""
    held: list[str] = []
    start, lines = 0, ["", *page.read_text(encoding="utf-8").splitlines(), ""]
    for number, line in enumerate(lines):
        if line.startswith("    ") and (held or not lines[number - 1]):
            start = start if held else number
            held.append(line[4:])
        elif held and not line and lines[number + 1 : number + 2] and lines[number + 1].startswith("    "):
            held.append("")
        elif held:
            yield Block(page, start, "\n".join(held))
            held = []


def spans(page: Path) -> list[str]:
    """The commands within the text of a page."""
    return [span.partition(" | ")[0] for span in _SPAN.findall(page.read_text(encoding="utf-8"))]
