"""What the site needs beyond the pages: README as its home, and no link to a file that is not part of it."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?!https?:|#)[^)]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add README as the home page."""
    from mkdocs.structure.files import File

    readme = Path(config.config_file_path).with_name("README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=home(readme)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """A link that leaves the site becomes its text and the file's place in the repository."""
    return LINK.sub(lambda link: inside(link[0], link[1], link[2]), markdown)


def home(readme: str) -> str:
    """README as a page of the folder `docs`."""
    return re.sub(r"\]\(docs/", "](", LINK.sub(lambda link: _seen_from_docs(link[1], link[2]), readme))


def inside(link: str, text: str, target: str) -> str:
    """The link itself, or what stands for it where it leads out of the folder `docs`."""
    place = posixpath.normpath(target.partition("#")[0])
    return f"{text} (`{place.removeprefix('../')}`)" if place.startswith("..") else link


def _seen_from_docs(text: str, target: str) -> str:
    return f"[{text}]({target})" if target.startswith("docs/") else f"[{text}](../{target})"
