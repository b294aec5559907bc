"""Settings in YAML and on the command line that nobody meant: refused in one line, in no time, in no memory."""

from __future__ import annotations

import random
import resource
import string
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from ledger import times, trials, tried, way
from tiny_run import TINY, RunCommand

from dgaug.presets import preset_names

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join(['*' + before] * 9)}]\n"
    for before, after in zip("abcdefghijk", "bcdefghijkl", strict=True)
)
HOSTILE = {
    "anchors that multiply": BOMB + "schedule: {milestones: *l}\n",
    "anchors in a section": BOMB + "data: *l\n",
    "an anchor in itself": "data: &a\n  root: *a\n",
    "a list in itself": "schedule: {milestones: &a [*a]}\n",
    "nested too deeply": "data: " + "[" * 20_000 + "]" * 20_000,
    "mappings nested too deeply": "{a: " * 20_000 + "}" * 20_000,
    "a python object": "data: !!python/object/apply:os.system [touch canary]\n",
    "a python name": "data: {root: !!python/name:os.system }\n",
    "a tag of its own": "!train {seed: 1}",
    "an integer of many digits": "seed: " + "9" * 10_000,
    "a hexadecimal of many digits": "seed: 0x" + "f" * 100_000,
    "a day that is none": "seed: 2001-99-99\n",
    "no number": "seed: !!int nine\n",
    "no truth": "behaviour: {compile: !!bool perhaps}\n",
    "no date": "seed: !!timestamp now\n",
    "no base64": "seed: !!binary '%'\n",
    "a name twice": "seed: 1\nseed: 2\n",
    "a section twice": "data: {pad: 1}\nseed: 3\ndata: {height: 64}\n",
    "a list as a name": "? [1, 2]\n: 3\n",
    "a number as a name": "1: 2\n",
    "not a number": "loss: {cycle: .nan}\n",
    "infinity": "loss: {cycle: .inf}\n",
    "a huge image": "data: {height: 1.0e+400}\n",
    "nothing": "",
    "only a comment": "# seed: 1\n",
    "two documents": "seed: 1\n---\nseed: 2\n",
    "not UTF-8": "seed: 1 # \udcff\n",
    "zero bytes": "seed: 1\0\0\0\n",
    "a name with a newline": 'name: "a\\nb"\n',
    "a path as a name": "name: ../../tmp/x\n",
    "a sign that moves the terminal": '"\\e[2Jseed": 1\n',
    "merge keys": "data: {<<: {height: 65}}\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_of_settings_is_refused(
    tmp_path: Path, refused_or_done: RunCommand, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_bytes(HOSTILE[name].encode("utf-8", "surrogateescape"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused_or_done("config", "show", "bad.yaml").error()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "in kilobytes"
    assert not (tmp_path / "canary").exists()
    tried("settings: hostile YAML", "refused")


dotted = st.text("abcdefghijklmnopqrstuvwxyz._", max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=4),
    max_leaves=12,
)


@trials(40, 1000)
@given(
    st.sampled_from([*TINY, "loss", "optimizer", "behaviour"]), st.sampled_from(["height", "iterations", "x"]), values
)
def test_any_value_of_any_setting_is_taken_or_refused(
    tmp_path: Path, refused_or_done: RunCommand, section: str, name: str, value: object
) -> None:
    for content in ({section: value}, {section: {name: value}}):
        (tmp_path / "any.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        tried("settings: any value", way(refused_or_done("config", "show", tmp_path / "any.yaml").code))


@trials(40, 1000)
@example("data.height.x=1")
@example("=1")
@example(".=")
@example("seed=!!python/object:os.x {}")
@given(st.text(st.characters(exclude_characters="\0"), max_size=30) | st.builds("{}={}".format, dotted, st.text()))
def test_any_text_after_set_is_taken_or_refused(refused_or_done: RunCommand, text: str) -> None:
    tried("settings: any --set", way(refused_or_done("config", "show", "toy", "--set", text).code))


def test_mutated_settings_are_taken_or_refused(tmp_path: Path, refused_or_done: RunCommand) -> None:
    chance = random.Random(0)
    whole = yaml.safe_dump(TINY)
    signs = string.punctuation + " \n\t0aé"
    for _ in range(times(40, 3000)):
        text = list(whole)
        for _ in range(chance.randint(1, 3)):
            text[chance.randrange(len(text))] = chance.choice(signs)
        (tmp_path / "mutated.yaml").write_text("".join(text), encoding="utf-8")
        ended = refused_or_done("config", "show", tmp_path / "mutated.yaml")
        tried("settings: a few signs changed", way(ended.code))


def test_presets_are_taken(refused_or_done: RunCommand) -> None:
    for name in preset_names():
        assert refused_or_done("config", "show", name).code == 0
