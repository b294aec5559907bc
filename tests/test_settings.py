"""Settings: what is refused, what wins over what, and that a run's file means the run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tiny_run import differing, tiny_settings

from dgaug.errors import DgaugError
from dgaug.presets import preset_names
from dgaug.runs import Run
from dgaug.settings import RETIRED, Settings, load_settings, override, parse_settings


@pytest.mark.parametrize(
    ("text", "unknown", "nearest"),
    [
        ("schedule.iteration=5", "schedule.iteration", "iterations"),
        ("scedule.iterations=5", "scedule", "schedule"),
        ("loss.adverserial=1", "loss.adverserial", "adversarial"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(text: str, unknown: str, nearest: str) -> None:
    with pytest.raises(DgaugError, match=f"unknown setting '{unknown}'; did you mean '{nearest}'") as caught:
        load_settings(overrides=[text])
    assert "\n" not in str(caught.value)


def test_a_name_like_no_other_is_refused_without_a_guess() -> None:
    with pytest.raises(DgaugError, match=r"unknown setting 'zzzzzz'$"):
        load_settings(overrides=["zzzzzz=1"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schedule.iterations=0", "schedule.iterations = 0: .* greater than or equal to 1"),
        ("schedule.iterations=many", "schedule.iterations = 'many'"),
        ("data.height=70", "data.height = 70: .* multiple of 16"),
        ("data.cameras=some", "data.cameras = 'some'"),
        ("optimizer.generator=.nan", "optimizer.generator"),
        ("schedule.iterations", "expected section.name=value"),
        ("schedule.iterations=[1", "not valid YAML"),
        ("name.iterations=3", "name is a value, not a section"),
        ("schedule=3", "schedule = 3"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(DgaugError, match=said):
        load_settings("toy", overrides=[text])


def test_defaults_file_set_and_flags_win_in_that_order(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 1\nschedule: {iterations: 7, batch_size: 4}\n", encoding="utf-8")
    default = Settings()
    assert default.schedule.iterations == 100_000
    read = load_settings(file)
    assert (read.schedule.iterations, read.seed, read.schedule.gamma) == (7, 1, default.schedule.gamma)
    changed = load_settings(file, overrides=["schedule.iterations=8", "seed=2"], flags={"seed": 3, "data.pad": None})
    assert (changed.schedule.iterations, changed.schedule.batch_size, changed.seed) == (8, 4, 3)
    assert changed.data.pad == default.data.pad


def test_the_last_of_two_equal_names_wins() -> None:
    assert load_settings(overrides=["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("data: [1, 2", "not valid YAML"),
        ("- a\n- b\n", "expected sections such as 'data:', found list"),
        ("", "found NoneType"),
        ("data: 5\n", "data = 5"),
        ("schedule: {iterations: 1, pace: 2}\n", "unknown setting 'schedule.pace'"),
    ],
)
def test_a_file_that_is_no_settings_is_refused_by_name(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(DgaugError, match=said) as caught:
        load_settings(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(DgaugError, match="cannot read config"):
        load_settings(file)


def test_an_unknown_preset_is_refused_with_the_nearest_one_and_the_list() -> None:
    with pytest.raises(DgaugError, match="'market1500'; did you mean 'market1501'") as caught:
        load_settings("market1500")
    assert all(name in str(caught.value) for name in preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_opens_with_the_command_that_runs_it(name: str) -> None:
    from importlib import resources

    settings = load_settings(name)
    assert settings.name == name
    text = (resources.files("dgaug_configs") / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# dgaug train")
    assert f"--config {name}" in text.splitlines()[0] or text.splitlines()[0] == "# dgaug train"


def test_the_published_preset_brings_back_what_the_default_departs_from() -> None:
    changed = differing(Settings(), load_settings("dgnet-published"))
    assert {line.split(":")[0] for line in changed} >= {
        "behaviour.teacher_statistics",
        "behaviour.code_statistics",
        "behaviour.appearance_start",
        "optimizer.ema",
    }


def test_settings_survive_their_own_yaml() -> None:
    settings = tiny_settings(schedule={"milestones": [0.5, 0.75]}, data={"pattern": "(?P<identity>[a-z]+)é"})
    assert parse_settings(yaml.safe_load(settings.to_yaml()), source="text") == settings


def test_the_config_of_a_run_loads_to_its_settings(tiny_run: Run, tiny_config: Path) -> None:
    assert load_settings(tiny_run.config) == load_settings(tiny_config) == tiny_run.settings()


def test_differing_settings_are_named_with_both_values() -> None:
    left, right = tiny_settings(), tiny_settings(schedule={"iterations": 9}, loss={"cycle": 0})
    assert differing(left, left) == []
    assert differing(left, right) == ["loss.cycle: 2.0 -> 0.0", "schedule.iterations: 8 -> 9"]


def test_an_override_changes_what_it_names_and_nothing_else() -> None:
    settings = tiny_settings()
    changed = parse_settings(override(settings, ["teacher.iterations=9"]), source="x")
    assert differing(settings, changed) == ["teacher.iterations: 24 -> 9"]


def test_a_run_may_go_on_with_another_recipe_for_later_models() -> None:
    assert differing(tiny_settings(), tiny_settings(reid={"iterations": 9, "labels": "lsro"})) == []


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        tiny_settings().seed = 4


def test_retired_settings_are_read_at_the_value_that_they_have_now() -> None:
    older = tiny_settings().model_dump(mode="json")
    for dotted, value in RETIRED.items():
        section, name = dotted.split(".")
        assert name not in older[section]
        older[section][name] = value
    assert parse_settings(older, source="config.yaml") == tiny_settings()
    older["reid"]["momentum"] = 0.8
    with pytest.raises(DgaugError, match=r"config.yaml: reid.momentum is no setting any more, .* 0.9; found 0.8"):
        parse_settings(older, source="config.yaml")
