"""Imports go downwards, level by level, as the table in docs/architecture.md has it; wings never import one another."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/architecture.md"
DIAGRAM = ROOT / "docs/images/rooms.svg"
DOORS = ("dgaug/__init__.py", "dgaug/__main__.py")
COMMAND_LINE = ("click", "dgaug_cli")
WINGS = ("training", "synthesis", "scores/quality", "scores/retrieval")
APART = (("training", "store"),)
"""Imports that are not allowed although they go downwards: `studies` joins the two."""


def levels() -> dict[str, int]:
    """The rooms from top to bottom, each with its level: the one place that says so is the page."""
    table = PAGE.read_text(encoding="utf-8").split("\n## Rooms\n")[1].split("\n## ")[0]
    return {room: int(level) for level, room in re.findall(r"^\| (\d+) \| ([a-z/]+) \|", table, re.MULTILINE)}


def room_of(module: str) -> str:
    """The room of a module by its full name; of a file in `dgaug/` itself, the ground."""
    top, *inside = module.split(".")
    if top == "dgaug_cli":
        return "cli"
    return next((room for size in (2, 1) if (room := "/".join(inside[:size])) in levels()), "ground")


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
            whole = name in ("dgaug", "dgaug.scores")
            yield from ((node.lineno, f"{name}.{alias.name}" if whole else name) for alias in node.names)


def allowed(own: str, other: str, level: dict[str, int]) -> bool:
    """Whether a file of one room may import from another."""
    return own == other or (level[own] < level[other] and (own, other) not in APART)


def violations(root: Path) -> list[str]:
    """Every import that does not go downwards, and the command line in the library, with its place."""
    level, result = levels(), set()
    for file in sorted([*root.glob("dgaug/**/*.py"), *root.glob("cli/**/*.py")]):
        place = file.relative_to(root).as_posix()
        if place in DOORS:
            continue
        own = room_of(module_of(file, root))
        for line, name in imports_of(file, root):
            top = name.split(".")[0]
            if own != "cli" and top in COMMAND_LINE:
                result.add(f"{place}:{line}: the library imports {name}")
            elif top in ("dgaug", "dgaug_cli") and not allowed(own, room_of(name), level):
                result.add(f"{place}:{line}: {own} imports {name} from {room_of(name)}")
    return sorted(result)


def test_imports_go_downwards_and_the_library_knows_no_command_line() -> None:
    assert violations(ROOT) == []


def test_the_wings_are_on_one_level_between_what_joins_them_and_the_store() -> None:
    level = levels()
    assert len({level[wing] for wing in WINGS}) == 1
    assert level["cli"] < level["report"] == level["studies"] < level[WINGS[0]] < level["store"]
    assert level["store"] < level["models"] < level["data"] == level["figures"] < level["ground"]


def test_every_folder_is_a_room_and_every_room_a_folder() -> None:
    folders = {file.parent.relative_to(ROOT / "dgaug").as_posix() for file in ROOT.glob("dgaug/*/**/__init__.py")}
    folders -= {"scores", "data/toy"}
    assert folders | {"cli", "ground"} == set(levels())


def test_the_diagram_shows_the_rooms_in_their_order() -> None:
    shown = re.findall(r'<text class="room"[^>]*>([a-z/]+)</text>', DIAGRAM.read_text(encoding="utf-8"))
    assert shown == list(levels())


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
        ("dgaug/data/a.py", "from dgaug.scores.quality.score import score_fid", "data imports dgaug.scores.quality"),
        ("dgaug/data/a.py", "def f():\n    import dgaug.store.read", "data imports dgaug.store.read"),
        ("dgaug/data/a.py", "from dgaug import report", "data imports dgaug.report"),
        ("dgaug/data/toy/a.py", "from ...store import read", "data imports dgaug.store"),
        ("dgaug/data/a.py", "from dgaug.figures.sheets import save_sheet", "data imports dgaug.figures.sheets"),
        ("dgaug/runs.py", "from dgaug.data.records import Record", "ground imports dgaug.data.records"),
        ("dgaug/training/a.py", "from dgaug.store.read import open_store", "training imports dgaug.store.read"),
        ("dgaug/report/a.py", "from dgaug.studies.study import Study", "report imports dgaug.studies.study"),
        ("dgaug/synthesis/a.py", "from dgaug.scores import quality", "synthesis imports dgaug.scores.quality"),
        ("dgaug/report/a.py", "import click", "the library imports click"),
        ("dgaug/report/a.py", "from dgaug_cli.console import note", "the library imports dgaug_cli.console"),
    ],
)
def test_an_import_that_is_not_allowed_is_found(tmp_path: Path, place: str, line: str, said: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    file.write_text(f"{line}\n", encoding="utf-8")
    assert len(violations(tmp_path)) == 1
    assert said in violations(tmp_path)[0]


@pytest.mark.parametrize(("own", "other"), [(own, other) for own in WINGS for other in WINGS if own != other])
def test_a_wing_that_imports_another_is_found(tmp_path: Path, own: str, other: str) -> None:
    file = tmp_path / "dgaug" / own / "a.py"
    file.parent.mkdir(parents=True)
    file.write_text(f"def f():\n    from dgaug.{other.replace('/', '.')}.b import c\n", encoding="utf-8")
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("cli/a.py", "import click\nfrom dgaug_cli.console import note\nfrom dgaug.scores import quality"),
        ("dgaug/studies/a.py", "from dgaug.training.train import train\nfrom dgaug.store.read import open_store"),
        ("dgaug/scores/quality/a.py", "from .plan import Plan\nfrom dgaug.store.read import open_store"),
        ("dgaug/data/toy/a.py", "from . import chance\nfrom ..records import Record\nimport numpy"),
        ("dgaug/__main__.py", "from dgaug_cli.main import main"),
    ],
)
def test_an_import_that_goes_down_is_left_alone(tmp_path: Path, place: str, line: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    file.write_text(f"{line}\n", encoding="utf-8")
    assert violations(tmp_path) == []
