"""Imports go downwards, as the table in docs/architecture.md has it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/architecture.md"
PICTURE = ROOT / "docs/images/rooms.svg"
DOORS = ("dgaug/__init__.py", "dgaug/__main__.py")
COMMAND_LINE = ("click", "dgaug_cli")


def rooms() -> list[str]:
    """The rooms from top to bottom: the one place that says so is the page."""
    table = PAGE.read_text(encoding="utf-8").split("\n## Rooms\n")[1].split("\n## ")[0]
    return re.findall(r"^\| ([a-z]+) \|", table, re.MULTILINE)[1:]


def room_of(module: str) -> str:
    """The room of a module by its full name; of a file in `dgaug/` itself, the ground."""
    top, *inside = module.split(".")
    if top == "dgaug_cli":
        return "cli"
    return inside[0] if inside and inside[0] in rooms() else "ground"


def module_of(file: Path, root: Path) -> str:
    """The full name of the module in a file."""
    top, *inside = file.relative_to(root).with_suffix("").parts
    return ".".join(["dgaug_cli" if top == "cli" else top, *inside]).removesuffix(".__init__")


def imports_of(file: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a file imports, wherever in it the import stands."""
    module = module_of(file, root)
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = resolve_name("." * node.level + (node.module or ""), package)
            # `from dgaug import report` brings in a room as much as `import dgaug.report` does.
            yield from ((node.lineno, f"{name}.{alias.name}" if name == "dgaug" else name) for alias in node.names)


def violations(root: Path) -> list[str]:
    """Every import that goes upwards, and the command line in the library, with its place."""
    order, found = rooms(), set()
    for file in sorted([*root.glob("dgaug/**/*.py"), *root.glob("cli/**/*.py")]):
        place = file.relative_to(root).as_posix()
        if place in DOORS:
            continue
        own = room_of(module_of(file, root))
        for line, name in imports_of(file, root):
            top = name.split(".")[0]
            if own != "cli" and top in COMMAND_LINE:
                found.add(f"{place}:{line}: the library imports {name}")
            elif top in ("dgaug", "dgaug_cli") and order.index(room_of(name)) < order.index(own):
                found.add(f"{place}:{line}: {own} imports {name} from {room_of(name)} above it")
    return sorted(found)


def test_imports_go_downwards_and_the_library_knows_no_command_line() -> None:
    assert violations(ROOT) == []


def test_every_folder_is_a_room_and_every_room_a_folder() -> None:
    folders = {file.parent.name for file in ROOT.glob("dgaug/*/__init__.py")}
    assert folders | {"cli", "ground"} == set(rooms())
    assert len(set(rooms())) == len(rooms())


def test_the_picture_shows_the_rooms_in_their_order() -> None:
    assert re.findall(r'<text class="room"[^>]*>([a-z]+)</text>', PICTURE.read_text(encoding="utf-8")) == rooms()


def test_what_the_page_names_is_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    files = set(re.findall(r"`([a-z_/]+\.(?:py|yaml))`", text))
    assert len(files) > 20
    assert [name for name in sorted(files) if not ((ROOT / "dgaug" / name).is_file() or (ROOT / name).is_file())] == []
    constants = re.findall(r"`([A-Z_]{4,})` \((?:`)([a-z_/]+\.py)`", text)
    assert len(constants) > 5
    for constant, name in constants:
        assert re.search(rf"^{constant}\b", (ROOT / "dgaug" / name).read_text(encoding="utf-8"), re.MULTILINE), constant


@pytest.mark.parametrize(
    ("place", "line", "said"),
    [
        ("dgaug/data/a.py", "from dgaug.scores.quality import score_fid", "data imports dgaug.scores.quality"),
        ("dgaug/data/a.py", "def f():\n    import dgaug.store.read", "data imports dgaug.store.read"),
        ("dgaug/data/a.py", "from dgaug import report", "data imports dgaug.report"),
        ("dgaug/data/toy/a.py", "from ...store import read", "data imports dgaug.store"),
        ("dgaug/models/a.py", "from dgaug.pictures.sheet import save_sheet", "models imports dgaug.pictures.sheet"),
        ("dgaug/runs.py", "from dgaug.data.records import Record", "ground imports dgaug.data.records"),
        ("dgaug/report/a.py", "import click", "the library imports click"),
        ("dgaug/report/a.py", "from dgaug_cli.console import note", "the library imports dgaug_cli.console"),
    ],
)
def test_an_import_that_goes_upwards_is_found(tmp_path: Path, place: str, line: str, said: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    file.write_text(f"{line}\n", encoding="utf-8")
    assert len(violations(tmp_path)) == 1
    assert said in violations(tmp_path)[0]


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("cli/a.py", "import click\nfrom dgaug_cli.console import note\nfrom dgaug.scores import quality"),
        ("dgaug/scores/a.py", "from dgaug.training.feed import StoreFeed\nfrom dgaug.settings import Settings"),
        ("dgaug/data/toy/a.py", "from . import chance\nfrom ..records import Record\nimport numpy"),
        ("dgaug/__main__.py", "from dgaug_cli.main import main"),
    ],
)
def test_an_import_that_goes_down_is_left_alone(tmp_path: Path, place: str, line: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    file.write_text(f"{line}\n", encoding="utf-8")
    assert violations(tmp_path) == []
