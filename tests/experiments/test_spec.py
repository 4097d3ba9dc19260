"""A sweep's file stands for runs with names that depend on what they compute, and mistakes in it are told by name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from stages.common import parameter_file
from stages.common.console import UserError
from stages.experiments import spec
from stages.experiments.perform import Source
from stages.experiments.spec import Planned
from tests.defaults import PARAMS_FILE, ROOT

DEFAULTS = PARAMS_FILE.read_text()
DIVIDED = re.sub(r"validation: .*\n  - .*", "validation: 0.2", DEFAULTS)
SOURCE = Source(".", "0" * 40, ".", "A. Name", "a@example.org", "cache")
SEARCH, VALIDATION = "seeds: [1]\nsearch: {trials: 2, parameters: ", "metrics: [validation.accuracy]"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipes").mkdir()
    Path("recipes/baseline.yaml").write_text("{}")
    Path("recipes/adam.yaml").write_text("train: {optimizer: adam}")


def plan(text: str, source: Source = SOURCE, defaults: str = DEFAULTS) -> list[Planned]:
    Path("one.yaml").write_text(text)
    return spec.plan(spec.load(Path("one.yaml")), defaults, source, "one.yaml")


def parse(text: str) -> dict[str, Any]:
    return parameter_file.parse(text.encode(), "params.yaml")


@pytest.mark.slow
def test_a_run_is_planned_for_each_recipe_value_and_seed() -> None:
    planned = plan(
        "recipes: [baseline, adam]\nvalues: {train.epochs: [1, 2], model.filters: [[4], [4, 8]]}\nseeds: [1, 2]"
    )
    assert len(planned) == 2 * 2 * 2 * 2
    assert [one.setting for one in planned[::2]][:4] == [
        "baseline, train.epochs = 1, model.filters = [4]",
        "baseline, train.epochs = 1, model.filters = [4, 8]",
        "baseline, train.epochs = 2, model.filters = [4]",
        "baseline, train.epochs = 2, model.filters = [4, 8]",
    ]
    assert len({one.run.name for one in planned}) == 16
    assert planned[-1].run.name.startswith("adam-seed2-")
    assert "\nseed: 2" in planned[-1].run.parameters
    assert "optimizer: adam" in planned[-1].run.parameters


def test_a_recipe_is_planned_as_it_is_and_with_the_changes_of_each_variant() -> None:
    planned = plan(
        "recipes: [adam]\nvalues: {train.epochs: [1, 2]}\nseeds: [1]\n"
        "variants: {slow: {train.learning_rate: 0.5, train.schedule: {kind: cosine, warm_up: 0.1}}}"
    )
    assert [one.setting for one in planned] == [
        "adam, train.epochs = 1",
        "adam, train.epochs = 2",
        "adam, slow, train.epochs = 1",
        "adam, slow, train.epochs = 2",
    ]
    slow = parse(planned[-1].run.parameters)["train"]
    assert slow == parse(planned[1].run.parameters)["train"] | {
        "learning_rate": 0.5,
        "schedule": {"kind": "cosine", "warm_up": 0.1},
    }


def test_a_run_is_planned_for_each_fold_of_the_training_folders() -> None:
    planned = plan("seeds: [1, 2]\nfolds: 3", defaults=DIVIDED)
    assert {one.setting for one in planned} == {"baseline"}
    assert [one.repetition for one in planned] == [f"{seed}, fold {fold}" for seed in (1, 2) for fold in (1, 2, 3)]
    assert planned[-1].run.name.startswith("baseline-seed2-fold3-")
    assert len({one.run.name for one in planned}) == 6
    (by_hand,) = plan("values: {dataset.validation: [{folds: 3, fold: 2}]}\nseeds: [2]", defaults=DIVIDED)
    assert parse(by_hand.run.parameters) == parse(planned[4].run.parameters)


def test_folds_of_folders_that_are_named_for_validation_are_refused() -> None:
    with pytest.raises(UserError) as error:
        plan("folds: 5\nseeds: [1]")
    assert str(error.value) == (
        "one.yaml: folds: dataset.validation in params.yaml names folders, which folds would leave unused; name them "
        "under dataset.train, and set dataset.validation to a share, such as 0.2"
    )


@pytest.mark.slow
def test_the_name_of_a_run_depends_on_the_commit_the_project_and_the_parameters_and_on_nothing_else() -> None:
    (one,) = plan("seeds: [1]")
    (in_other_words,) = plan("recipes: [baseline]\nvalues: {train.momentum: [0.9]}\nseeds: [1]\ncores: 2\nminutes: 5")
    assert one.run.name == in_other_words.run.name
    assert one.run.name != plan("seeds: [1]", SOURCE._replace(commit="1" * 40))[0].run.name
    assert one.run.name != plan("seeds: [1]", SOURCE._replace(folder="projects/other"))[0].run.name
    assert one.run.name != plan("seeds: [2]")[0].run.name
    assert one.run.name != plan("values: {train.momentum: [0.8]}\nseeds: [1]")[0].run.name


def test_runs_that_are_not_compared_on_the_test_split_end_before_it() -> None:
    assert plan(f"seeds: [1]\n{VALIDATION}")[0].run.stage == "validate"
    assert plan("seeds: [1]\nmetrics: [validation.accuracy, test.accuracy]")[0].run.stage is None
    assert plan("seeds: [1]\nmetrics: [test_classes.cat.f1]")[0].run.stage is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: []", "one.yaml: seeds: [] is not allowed; should have at least 1 item"),
        ("seeds: [1, 1]", "one.yaml: seeds: [1, 1] is not allowed; should name each once"),
        ("seed: [1]\nseeds: [1]", "one.yaml: seed: unknown key; remove it or correct its name"),
        ("recipes: [baseline]", "one.yaml: seeds: missing; every key must be given"),
        ("values: {seed: [1]}\nseeds: [1]", "one.yaml: values: should not vary seed, which `seeds` does"),
        ("variants: {a: {seed: 1}}\nseeds: [1]", "one.yaml: variants: should not vary seed, which `seeds` does"),
        ("variants: {a: {train.epoch: 1}}\nseeds: [1]", "one.yaml: train.epoch: unknown key; remove it or correct its"),
        (
            "variants: {a: {dataset.validation: 0.1}}\nfolds: 5\nseeds: [1]",
            "one.yaml: folds: 5 is not allowed; does not go with values of dataset.validation",
        ),
        (
            "values: {dataset.validation.fold: [1]}\nfolds: 5\nseeds: [1]",
            "one.yaml: folds: 5 is not allowed; does not go with values of dataset.validation",
        ),
        ("folds: 1\nseeds: [1]", "one.yaml: folds: 1 is not allowed; should be greater than or equal to 2"),
        ("values: {train.epoch: [1]}\nseeds: [1]", "one.yaml: train.epoch: unknown key; remove it or correct its name"),
        ("values: {train.epochs: [0]}\nseeds: [1]", "one.yaml: train.epochs: 0 is not allowed; should be greater"),
        ("recipes: [none]\nseeds: [1]", "no recipe is named none; in recipes/ there are: adam, baseline"),
        (
            f"{SEARCH}{{train.epochs: [1, 2]}}}}",
            "one.yaml: metrics: ['test.accuracy'] is not allowed; should not be of the test split, by which nothing is",
        ),
        (
            f"{SEARCH}{{train.epochs: {{low: 3, high: 2}}}}}}\n{VALIDATION}",
            "one.yaml: search.parameters.train.epochs: should have low below high",
        ),
        (
            f"{SEARCH}{{train.momentum: {{low: 0, high: 0.9, log: true}}}}}}\n{VALIDATION}",
            "one.yaml: search.parameters.train.momentum: should have low above 0 for log",
        ),
        (
            "variants: {short: {train.epochs: 3}}\nvalues: {train.epochs: [1, 2]}",
            "one.yaml: values: has train.epochs, which variants change",
        ),
        (
            f"values: {{train.epochs: [3]}}\n{SEARCH}{{train.epochs: [1, 2]}}}}\n{VALIDATION}",
            "one.yaml: search: draws train.epochs, of which there are values already",
        ),
        (
            f"{SEARCH}{{train.momentum: {{low: 0.5, high: 2}}}}}}\n{VALIDATION}",
            "one.yaml: train.momentum: 1.56 is not allowed; should be less than 1",
        ),
        (
            f"{SEARCH}{{train.momentum: {{low: -1.0e+308, high: 1.0e+308}}}}}}\n{VALIDATION}",
            "one.yaml: search.parameters.train.momentum: should be narrower",
        ),
        ("metrics: [tset.loss]\nseeds: [1]", "one.yaml: metrics[0]: 'tset.loss' is not allowed; should match pattern"),
        ("metrics: [accuracy]\nseeds: [1]", "one.yaml: metrics[0]: 'accuracy' is not allowed; should match pattern"),
    ],
)
def test_a_mistake_is_told_by_the_name_of_its_key(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        plan(text)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("changes", "section", "expected"),
    [
        ("{train.optimizer: adam, train.nesterov: false}", "train", {"optimizer": "adam", "nesterov": False}),
        ("{train.schedule.warm_up: 0.1, train.schedule.kind: cosine}", "train",
         {"schedule": {"kind": "cosine", "warm_up": 0.1}}),
        ("{model.filters: [8, 8], model.blocks: [1, 1], model.pool_sizes: [2, 2]}", "model",
         {"filters": [8, 8], "blocks": [1, 1], "pool_sizes": [2, 2]}),
    ],
)  # fmt: skip
def test_values_that_are_allowed_together_alone_make_a_variant(
    changes: str, section: str, expected: dict[str, Any]
) -> None:
    for name in ("best", "tuned-baseline"):
        shutil.copy(ROOT / f"recipes/{name}.yaml", "recipes")
    recipe = "best" if section == "model" else "tuned-baseline"
    _, planned = plan(f"recipes: [{recipe}]\nvariants: {{changed: {changes}}}\nseeds: [1]")
    values = parse(planned.run.parameters)[section]
    assert {key: values[key] for key in expected} == expected


@pytest.mark.parametrize("name", ["one.json", "one.md", "one.png", "one"])
def test_a_file_that_the_results_could_replace_is_no_sweep(name: str) -> None:
    Path(name).write_text('{"seeds": [1]}')
    with pytest.raises(UserError, match=f"^{name} should end in .yaml, as the sweeps in sweeps/ do$"):
        spec.load(Path(name))


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_each_sweep_of_the_project_can_be_planned(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert spec.plan(spec.load(path), DEFAULTS, SOURCE, path.name)
