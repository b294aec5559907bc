"""What builds and checks the project elsewhere calls what the Makefile has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="a source distribution has no workflows")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_targets_of_the_makefile(path: Path) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert content[True], "`on` is the YAML for true"
    steps = [step for job in content["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    assert commands
    for command in commands:
        assert re.fullmatch(r"make [a-z-]+", command)
        assert command.split()[1] in TARGETS
    assert all(re.search(r"@(v\d+|release/v\d+)$", step["uses"]) for step in steps if "uses" in step)
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


def test_the_workflow_tests_every_version_that_the_project_names() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    least = re.search(r'requires-python = ">=(3\.\d+)"', project)
    matrix = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    assert least is not None
    assert least[1] in matrix["jobs"]["test"]["strategy"]["matrix"]["python"]


def test_the_dockerfile_installs_by_the_makefile_and_runs_as_nobody_special() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    known = {"ARG", "FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "ENTRYPOINT", "CMD"}
    assert {line.split()[0] for line in lines} <= known
    made = re.findall(r"\bmake ([a-z-]+) ", "\n".join(line for line in lines if line.startswith("RUN make")))
    assert made == ["runtime"]
    assert set(made) <= TARGETS
    order = [line.split()[0] for line in lines]
    assert order.index("USER") < order.index("ENTRYPOINT")
    # A number, so that a host can tell it from root; a folder that WORKDIR makes would be root's.
    assert lines[order.index("USER")].split()[1].isdigit()
    work = next(line.split()[1] for line in lines if line.startswith("WORKDIR") and line.split()[1] != "/src")
    assert any(line.startswith("RUN useradd") and line.endswith(f"--mode 1777 {work}") for line in lines)
    assert all("rm -rf /var/lib/apt/lists" in line for line in lines if "apt-get" in line)
    assert "nvidia/cuda" in text


def test_hooks_and_templates_are_read() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"].split() for repo in hooks["repos"] for hook in repo["hooks"]]
    lint = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nlint: install\n")[2].partition("\n\n")[0]
    for tool, *arguments in entries:
        assert f"$(BIN)/{Path(tool).name}{' ' + arguments[0] if arguments else ''}" in lint
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert content.get("body") or "blank_issues_enabled" in content
        ids = [part["id"] for part in content.get("body", ())]
        assert len(set(ids)) == len(ids)
    assert "CHANGELOG.md" in (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text(encoding="utf-8")
