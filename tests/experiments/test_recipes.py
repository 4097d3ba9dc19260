"""Recipes are merged into params.yaml, and what params.yaml would not take is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.common.console import UserError
from stages.common.dotted import flat
from stages.experiments import recipes
from tests.defaults import PARAMS_FILE, ROOT

DEFAULTS = PARAMS_FILE.read_text()


def settings(text: str) -> dict[str, Any]:
    return dict(flat(YAML(typ="safe", pure=True).load(text)))


def applied(changes: dict[str, Any]) -> str:
    return recipes.applied(changes, DEFAULTS, "recipes/mine.yaml")


def test_a_recipe_changes_what_it_names_and_nothing_else() -> None:
    before, after = settings(DEFAULTS), settings(applied({"seed": 7, "train": {"epochs": 3, "learning_rate": 1e-5}}))
    assert after == before | {"seed": 7, "train.epochs": 3, "train.learning_rate": 1e-5}
    assert list(after) == list(before)


def test_comments_and_order_of_params_yaml_are_kept() -> None:
    start = DEFAULTS.index("seed: 1")
    text = "# Settings.\nseed: 1  # of all\n" + DEFAULTS[start + len("seed: 1") :].partition("\n")[2]
    changed = recipes.applied({"seed": 2}, text, "mine")
    assert changed.startswith("# Settings.\nseed: 2  # of all\n")


def test_a_recipe_that_changes_nothing_leaves_every_byte() -> None:
    assert applied({}) == DEFAULTS


def test_a_section_that_names_its_family_stands_for_the_whole_section() -> None:
    values: dict[str, Any] = {"model": {"family": "plain", "width": 3}, "train": {"epochs": 2}}
    recipes._merge(values, {"model": {"family": "other", "depth": 5}, "train": {"rate": 1}})
    assert values == {"model": {"family": "other", "depth": 5}, "train": {"epochs": 2, "rate": 1}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"epoch": 3}}, "train.epoch: unknown key; remove it or correct its name"),
        ({"training": {"epochs": 3}}, "training: unknown key; remove it or correct its name"),
        ({"train": {"epochs": 0}}, "train.epochs: 0 is not allowed; should be greater than or equal to 1"),
        ({"train": 3}, "train: 3 is not allowed; should be a section: its keys below it, indented"),
        ({"seed": {"first": 1}}, "seed: {'first': 1} is not allowed; should be a valid integer"),
    ],
)
def test_an_unknown_key_or_a_bad_value_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        applied(changes)
    assert str(error.value) == f"recipes/mine.yaml: {message}"


def test_an_unknown_recipe_is_an_error_that_names_those_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipes").mkdir()
    for name in ("two", "one"):
        Path(f"recipes/{name}.yaml").write_text("{}\n")
    with pytest.raises(UserError, match=r"^no recipe is named three; in recipes/ there are: one, two$"):
        recipes.load("three")
    with pytest.raises(UserError, match=r"^no recipe is named \.\./secret; in"):
        recipes.load("../secret")
    Path("recipes/one.yaml").write_text("train: [")
    with pytest.raises(UserError, match=r"^recipes/one.yaml, line 1: "):
        recipes.load("one")


@pytest.mark.parametrize("name", ["a-1.5_b", "ü"])
def test_a_recipe_may_have_any_name_that_an_experiment_can_have(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_empty(name, tmp_path, monkeypatch)
    assert recipes.load(name) == {}
    subprocess.run(["git", "check-ref-format", f"refs/exps/{name}-0123456789"], check=True)


@pytest.mark.parametrize("name", ["a b", "-a", "a..b", "a:b"])
def test_a_name_that_no_experiment_can_have_is_refused_before_anything_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_empty(name, tmp_path, monkeypatch)
    with pytest.raises(UserError, match=rf"^recipes/{name}.yaml: an experiment of DVC can't be named so; use "):
        recipes.load(name)


def write_empty(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a recipe that changes nothing, in ``folder``, which becomes the current one."""
    monkeypatch.chdir(folder)
    Path("recipes").mkdir()
    Path(f"recipes/{name}.yaml").write_text("{}\n")


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml")))
def test_each_recipe_of_the_project_is_allowed_and_only_the_baseline_is_the_default(name: str) -> None:
    changed = settings(applied(recipes.load(name)))
    assert (changed == settings(DEFAULTS)) == (name == "baseline")
