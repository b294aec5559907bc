"""Which file a manifest's path means: separators of Windows, absolute paths and other forms of Unicode included."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path
from unicodedata import normalize


class ManifestPaths:
    """Resolves paths as people write them to files below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bases = {os.path.abspath(folder), os.path.realpath(folder)}
        self._names: dict[str, dict[str, list[str]]] = {}

    def resolve(self, text: str) -> str | None:
        """The POSIX path of the file that a text means, relative to the folder; None where there is no such file.

        As it is written; with backslashes as separators; absolute, if it lies inside; with each name in NFC or NFD.
        """
        if "\0" in text:
            return None
        for written in dict.fromkeys((text, text.replace("\\", "/"))):
            path = self._relative(written)
            if path is not None and os.path.isfile(self._folder / path):
                return path
            if path is not None and (path := self._in_other_form(path)) is not None:
                return path
        return None

    def leaves(self, text: str) -> bool:
        """Whether a text, however read, names something outside the folder."""
        return self._relative(text) is None or self._relative(text.replace("\\", "/")) is None or text[1:2] == ":"

    def endings_of(self, text: str) -> list[str]:
        """Files that are called like a text and an ending, such as `a.JPG` for `a`."""
        path = self._relative(text)
        if path is None:
            return []
        folder, _, name = path.rpartition("/")
        candidates = [one for names in self._listed(folder).values() for one in names if one.rpartition(".")[0] == name]
        return sorted(posixpath.join(folder, one) for one in candidates)

    def _relative(self, text: str) -> str | None:
        if posixpath.isabs(text):
            inside = (os.path.relpath(text, base) for base in self._bases)
            text = next((path for path in inside if path.split("/")[0] != ".."), "..")
        normal = posixpath.normpath(text)
        return None if normal.split("/")[0] == ".." else normal

    def _in_other_form(self, path: str) -> str | None:
        candidates = ""
        for name in path.split("/"):
            alike = self._listed(candidates).get(normalize("NFC", name), [])
            if len(alike) != 1:
                return None
            candidates = posixpath.join(candidates, alike[0])
        return candidates if os.path.isfile(self._folder / candidates) else None

    def _listed(self, folder: str) -> dict[str, list[str]]:
        """Names in a folder by their NFC form."""
        if folder not in self._names:
            names = self._names[folder] = {}
            try:
                for name in sorted(os.listdir(self._folder / folder)):
                    names.setdefault(normalize("NFC", name), []).append(name)
            except (OSError, ValueError):  # a zero byte is no OSError
                return names
        return self._names[folder]
