"""The completion scripts work in the shells that they are for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import RunCommand

COMMAND = Path(sys.executable).with_name("dgaug")


def test_bash_completes_commands_options_and_their_values() -> None:
    if not COMMAND.is_file():
        pytest.skip(f"needs dgaug installed beside {sys.executable}")
    script = """
        eval "$(dgaug completion bash)"
        complete -p dgaug
        for words in "dgaug synth" "dgaug interpolate --wh" "dgaug interpolate --what str"; do
            COMPREPLY=(); COMP_WORDS=($words); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _dgaug_completion dgaug
            echo "${COMPREPLY[@]}"
        done
    """
    path = {"PATH": f"{COMMAND.parent}:/usr/bin:/bin"}
    ended = subprocess.run(["bash", "-c", script], env=path, capture_output=True, text=True, check=True)
    rule, *completed = ended.stdout.splitlines()
    assert rule.endswith("_dgaug_completion dgaug")
    assert completed == ["synthesize", "--what", "structure"]
    assert ended.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_script_can_be_read_by_its_shell(shell: str, dgaug: RunCommand) -> None:
    ended = dgaug("completion", shell)
    assert (ended.code, ended.err) == (0, "")
    assert "_DGAUG_COMPLETE" in ended.out
    assert "%(" not in ended.out
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell} to read it")
    subprocess.run([shell, "-n"], input=ended.out, text=True, check=True)


def test_another_shell_is_refused(dgaug: RunCommand) -> None:
    assert "bash" in dgaug("completion", "cmd").error()
