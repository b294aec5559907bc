"""Runs in several states and the page read back, for the tests of the report."""

from __future__ import annotations

import shutil
from html.parser import HTMLParser
from pathlib import Path

from dgaug.runs import Run

HOSTILE = "<img src=x onerror=\"document.title='run'\">'&\u202e\x1b[31m"
"""A name that HTML, a shell, a terminal and a reader's eye would each take for something else."""


def copy_of(run: Run, folder: Path, *, without: tuple[str, ...] = ()) -> Run:
    """A copy of a run to change, some of its parts left out."""
    shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns(*without))
    return Run(folder)


class ReadPage(HTMLParser):
    """The elements of a page with their attributes, its text, and its text by section."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.sections: dict[str, str] = {}
        self._section = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        result = {name: value or "" for name, value in attrs}
        self.elements.append((tag, result))
        if tag == "section":
            self._section = result["id"]

    def handle_data(self, data: str) -> None:
        self.text += data
        self.sections[self._section] = self.sections.get(self._section, "") + data

    def of(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        """The attributes of all elements of a kind; a class among several counts."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            result
            for kind, result in self.elements
            if kind == tag and all(value in result.get(name, "").split() for name, value in wanted.items())
        ]
