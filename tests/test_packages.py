"""Wheel and source distribution: what a packager needs to test and document the project, and what a user installs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from tiny_run import TINY

ROOT = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "cli", "configs", "dgaug", "docs", "examples", "tests")
FILES = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Dockerfile",
    "LICENSE",
    "MANIFEST.in",
    "Makefile",
    "README.md",
    "SECURITY.md",
)
LINK = re.compile(r"\]\((?!https?:)([^)\s#]+)")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project without what a checkout collects, and in `dist/` what `make package` makes of it."""
    pytest.importorskip("build")
    pytest.importorskip("setuptools", minversion="77")
    copy = tmp_path_factory.mktemp("package") / "project"
    copy.mkdir()
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in (*FILES, "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    # Without isolation: what builds is fetched from nowhere.
    command = [sys.executable, "-m", "build", "--no-isolation", "--sdist", "--wheel", str(copy)]
    # A machine that writes no bytecode would be warned of it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    warned = [line for line in (ended.stdout + ended.stderr).splitlines() if "warning" in line.lower()]
    # A pattern of files that are never there is no fault.
    assert [line for line in warned if "no previously-included files" not in line] == []
    return copy


def sdist_names(project: Path) -> set[str]:
    with tarfile.open(next((project / "dist").glob("dgaug-*.tar.gz"))) as archive:
        return {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}


def wheel_of(project: Path) -> Path:
    return next((project / "dist").glob("dgaug-*-py3-none-any.whl"))


def test_the_source_distribution_holds_everything(project: Path) -> None:
    wanted = {
        file.relative_to(project).as_posix()
        for part in (*FOLDERS, *FILES, "pyproject.toml")
        for file in ((project / part).rglob("*") if (project / part).is_dir() else [project / part])
        if file.is_file() and "__pycache__" not in file.parts
    }
    held = sdist_names(project)
    assert wanted - held == set()
    for page in (name for name in held if name.endswith(".md")):
        for link in LINK.findall((project / page).read_text(encoding="utf-8")):
            target = ((project / page).parent / link).resolve()
            assert target.is_dir() or target.relative_to(project.resolve()).as_posix() in held, f"{page}: {link}"


def test_the_wheel_holds_what_the_package_reads(project: Path) -> None:
    with zipfile.ZipFile(wheel_of(project)) as wheel:
        held = set(wheel.namelist())
    modules = {
        f"{package}/{file.relative_to(project / folder).as_posix()}"
        for folder, package in (("dgaug", "dgaug"), ("cli", "dgaug_cli"))
        for file in (project / folder).rglob("*.py")
    }
    data = {f"dgaug_configs/{file.name}" for file in (project / "configs").iterdir() if file.suffix != ".py"}
    assert data - held == set()
    assert modules - held == set()
    assert {"dgaug/py.typed", *(f"dgaug/report/page.{kind}" for kind in ("html", "css", "js"))} <= held
    assert "dgaug_configs/toy.safetensors" in held
    assert {name.split("/")[0] for name in held if ".dist-info/" not in name} == {"dgaug", "dgaug_cli", "dgaug_configs"}


@pytest.mark.slow
def test_the_wheel_works_where_there_is_no_repository(project: Path, tmp_path: Path) -> None:
    """In an environment that has the packages which dgaug needs, but not dgaug: from training to an export."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python, dgaug = environment / "bin" / "python", environment / "bin" / "dgaug"
    packages = [path for path in sys.path if path.endswith("-packages")]
    (site,) = environment.glob("lib/python3*/site-packages")
    # Named in a file, these folders give their packages; what is editable in them is not.
    (site / "needed.pth").write_text("\n".join(packages) + "\n", encoding="utf-8")
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel_of(project))]
    subprocess.run(install, check=True)
    shutil.rmtree(project)
    work = tmp_path / "elsewhere"
    work.mkdir()

    def run(*arguments: str) -> str:
        ended = subprocess.run([str(dgaug), *arguments], cwd=work, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        assert "Warning" not in ended.stderr
        return ended.stdout

    where = subprocess.run(
        [str(python), "-c", "import dgaug; print(dgaug.__file__)"], cwd=work, capture_output=True, text=True, check=True
    )
    assert str(site) in where.stdout
    assert "Run the whole job" in run("demo", "--help")
    assert "market1501" in run("config", "list")
    sections = {name: values for name, values in TINY.items() if isinstance(values, dict)}
    settings = [f"{name}.{key}={value}" for name, values in sections.items() for key, value in values.items()]
    chosen = [word for setting in (*settings, "model.start=none") for word in ("--set", setting)]
    run("train", "--out", "run", *chosen)
    run("synthesize", "--run", "run", "--pairs", "per-appearance:3")
    run("export", "run/store", "--with", "run/data", "--for", "boxmot", "--out", "mixed")
    assert "boxmot-yaml" in run("data", "check", "mixed/market1501.yaml")
