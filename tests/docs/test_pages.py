"""README and docs hold together: links lead somewhere, programs run, messages are those that are said."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import h5py
import pytest
from doc_pages import PAGES, ROOT, Block, blocks
from PIL.Image import Image

import dgaug
from dgaug.runs import Run

LINK = re.compile(r"\]\(([^)\s]+)\)")
PROGRAMS = [block for page in PAGES for block in blocks(page) if block.is_python]
READS_A_STORE = 'h5py.File("store/dataset.h5")'
EVERYWHERE = (
    *PAGES,
    *(ROOT / name for name in ("benchmarks/README.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md")),
)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made for reading on the web."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page", [page for page in EVERYWHERE if page.exists()], ids=lambda page: str(page.relative_to(ROOT))
)
def test_links_lead_to_what_is_there(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_of_the_docs_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [PAGES[0]]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = [
            (page.parent / link.partition("#")[0]).resolve() for link in LINK.findall(page.read_text(encoding="utf-8"))
        ]
        waiting += [target for target in links if target.suffix == ".md" and target.exists() and target not in reached]
    assert [page.name for page in PAGES if page not in reached] == []


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_programs_are_python_that_calls_what_there_is(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("dgaug."):
            function = dgaug
            for name in ast.unparse(node.func).split(".")[1:]:
                function = getattr(function, name)
            inspect.signature(function).bind(*node.args, **{word.arg: word.value for word in node.keywords})


def test_plain_h5py_reads_a_store_as_the_docs_say(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program,) = [block.text for block in PROGRAMS if READS_A_STORE in block.text]
    (tmp_path / "store").symlink_to(tiny_run.store)
    monkeypatch.chdir(tmp_path)
    result: dict[str, object] = {"k": 5}
    exec(program, result)
    image, store = result["image"], result["store"]
    assert isinstance(store, h5py.File)
    assert isinstance(image, Image)
    assert image.size == (32, 64)
    assert (result["i"], result["j"]) == (0, 5)


def said() -> Iterator[str]:
    """The texts of the program, one for each call, with … in place of what is put in."""
    for path in (*(ROOT / "dgaug").rglob("*.py"), *(ROOT / "cli").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_messages_that_are_explained_are_said() -> None:
    page = ROOT / "docs" / "troubleshooting.md"
    texts = list(said())
    rows = re.findall(r"^\| (`.+?) \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    messages = [row for row in rows if not row.startswith("`No space left")]
    assert len(messages) > 30
    for message in messages:
        parts = re.findall(r"`([^`]+)`", message)
        assert any(all(part in text for part in parts) for text in texts), message


def test_every_public_function_has_a_snippet_and_its_place_in_the_list() -> None:
    snippets, listed = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("python.md", "api.md"))
    assert [name for name in dgaug.__all__ if f"dgaug.{name}" not in snippets] == []
    assert [name for name in dgaug.__all__ if f".{name}\n" not in listed] == []


def test_every_page_of_the_docs_has_its_place_on_the_site() -> None:
    placed = re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(placed) == sorted(["index.md", *(page.name for page in PAGES[1:])])
