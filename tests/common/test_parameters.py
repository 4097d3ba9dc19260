"""The parameter file: what is accepted, and the words for what is not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import parameters
from stages.common.console import UserError
from stages.model.plain import Plain
from stages.model.settings import EarlyStopping
from tests.defaults import PARAMS_FILE, ROOT, SETTINGS, parameter_values

DEFAULTS = PARAMS_FILE.read_text()


def message(path: Path, text: str) -> str:
    """The error that a parameter file of this text gives."""
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        parameters.load(path)
    return str(caught.value).replace(str(path), "params.yaml")


def keys(content: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in content.items():
        yield f"{above}{key}"
        if isinstance(value, dict):
            yield from keys(value, f"{above}{key}.")


def test_the_frozen_copy_has_the_keys_of_params_yaml_in_their_order() -> None:
    users = parameter_values(ROOT / "params.yaml")  # its values are the user's to change
    assert list(keys(parameter_values())) == list(keys(users))


def test_the_defaults_are_the_notebooks_recipe() -> None:
    assert isinstance(SETTINGS.model, Plain)
    assert SETTINGS.model.filters == (16, 32, 64)
    assert SETTINGS.model.dense == (128,)
    assert SETTINGS.dataset.splits == {
        "train": ("train1", "train3", "train4", "train5"),
        "validation": ("train2",),
        "test": ("test",),
    }
    assert (SETTINGS.train.epochs, SETTINGS.train.batch_size, SETTINGS.train.optimizer) == (30, 64, "sgd")
    assert (SETTINGS.train.learning_rate, SETTINGS.train.momentum, SETTINGS.train.monitor) == (0.01, 0.9, "val_loss")
    plateau = {"kind": "plateau", "factor": 0.1, "patience": 3, "min_delta": 0.0001}
    assert SETTINGS.train.schedule.model_dump() == plateau
    assert SETTINGS.train.early_stopping == EarlyStopping(patience=6, min_delta=0.0)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("epochs: 30", "epochs: 3.5", "train.epochs: 3.5 is not allowed; should be a valid integer"),
        ("epochs: 30", "epochs: '30'", "train.epochs: '30' is not allowed; should be a valid integer"),
        ("seed: 1", "seed: true", "seed: true is not allowed; should be a valid integer"),
        ("seed: 1", "seed: -1", "seed: -1 is not allowed; should be greater than or equal to 0"),
        ("seed: 1", "seed: 1\nsede: 1", "sede: unknown key; remove it or correct its name"),
        ("  pool_size: 2\n", "", "model.pool_size: missing; every key must be given"),
        ("  - 32\n", "  - 0\n", "model.filters[1]: 0 is not allowed; should be greater than or equal to 1"),
        ("  - 128\n", "    128\n", "model.dense: 128 is not allowed; should be a list"),
        ("padding: same", "padding: full", "model.padding: 'full' is not allowed; should be 'same' or 'valid'"),
        ("momentum: 0.9", "momentum: .nan", "train.momentum: nan is not allowed; should be a finite number"),
        ("rate: 0.01", "rate: .inf", "train.learning_rate: inf is not allowed; should be a finite number"),
        ("family: plain", "family: x", "model.family: 'x' is not allowed; should be one of 'plain', 'residual'"),
        ("  family: plain", "  fam: plain", "model.family: missing; every key must be given"),
        ("nesterov: false", "nesterov: 1", "train.nesterov: 1 is not allowed; should be true or false"),
        ("factor: 0.1", "factor: 2", "train.schedule.factor: 2 is not allowed; should be less than 1"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_key_its_value_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in DEFAULTS
    told = message(tmp_path / "params.yaml", DEFAULTS.replace(old, new, 1))
    assert told.startswith(f"params.yaml: {expected}")


STRINGS = "should be a valid string; put it in quotes"
LIST_OR_SHARE = "should be a list of folders, or a share such as 0.15"
WRONG_TYPES = (None, 2024, "x", [2024], [["x"]])


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("dataset.train", "[2024]", f"dataset.train[0]: 2024 is not allowed; {STRINGS}"),
        ("dataset.test", "[a, 2024-01-31]", f"dataset.test[1]: 2024-01-31 is not allowed; {STRINGS}"),
        ("dataset.test", "[true]", f"dataset.test[0]: true is not allowed; {STRINGS}"),
        ("dataset.test", "[[a]]", "dataset.test[0]: ['a'] is not allowed; should be a valid string"),
        ("dataset.test", "[]", "dataset.test: [] is not allowed; should have at least 1 item"),
        ("dataset.test", "photos", f"dataset.test: 'photos' is not allowed; {LIST_OR_SHARE}"),
        ("dataset.test", "{fold: 1}", f"dataset.test: {{'fold': 1}} is not allowed; {LIST_OR_SHARE}"),
        ("dataset.validation", "15%", f"dataset.validation: '15%' is not allowed; {LIST_OR_SHARE}"),
        ("dataset.validation", "null", f"dataset.validation: null is not allowed; {LIST_OR_SHARE}"),
        ("dataset.test", "1.0", "dataset.test: 1.0 is not allowed; should be less than 1"),
        ("dataset.validation", "0", "dataset.validation: 0 is not allowed; should be greater than 0"),
        ("dataset.validation", "[2024]", f"dataset.validation[0]: 2024 is not allowed; {STRINGS}"),
        (
            "dataset.validation",
            "{folds: 1000000000, fold: 1}",
            "dataset.validation.folds: 1000000000 is not allowed; should be less than or equal to 100",
        ),
        ("dataset.validation", "{folds: 5}", "dataset.validation.fold: missing; every key must be given"),
        (
            "dataset.validation",
            "{folds: 5, fold: 6}",
            "dataset.validation.fold: 6 is not allowed; should be at most 5, the number of folds",
        ),
        (
            "dataset.validation",
            "{folds: 5, fold: 1, seed: 1}",
            "dataset.validation.seed: unknown key; remove it or correct its name",
        ),
        ("dataset.root", "2024", f"dataset.root: 2024 is not allowed; {STRINGS}"),
        ("dataset.root", "''", "dataset.root: '' is not allowed; should have at least 1 character"),
        ("model.filters", "[a]", "model.filters[0]: 'a' is not allowed; should be a valid integer"),
        ("model.dense", f"{[1] * 17}", f"model.dense: {[1] * 17} is not allowed; should have at most 16 items"),
    ],
)
def test_a_value_of_a_wrong_type_brings_exactly_one_message(
    tmp_path: Path, key: str, value: str, expected: str
) -> None:
    content = parameter_values()
    section, name = key.split(".")
    content[section][name] = yaml.safe_load(value)
    told = message(tmp_path / "params.yaml", yaml.safe_dump(content))
    assert told.partition(": ")[2] == expected


@pytest.mark.slow
def test_a_wrong_type_of_any_value_brings_one_message_in_the_words_of_yaml(tmp_path: Path) -> None:
    content = parameter_values()
    content["dataset"]["checks"] = dict.fromkeys(content["dataset"]["checks"], "off")
    for section in (content, *sections(content)):
        for key, right in list(section.items()):
            for wrong in WRONG_TYPES:
                if right == "off" and key != "leakage":
                    continue  # the severities are all of one type
                section[key] = wrong
                (tmp_path / "params.yaml").write_text(json.dumps(content))
                told = ""
                try:
                    parameters.load(tmp_path / "params.yaml")
                except UserError as error:
                    told = str(error)
                assert "\n" not in told
                assert not re.search("[Tt]uple|None|dictionary|instance|validation,", told), told
            section[key] = right


def sections(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for value in content.values():
        if isinstance(value, dict):
            yield value
            yield from sections(value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("model:", "model: &all", "anchors and aliases are not allowed"),
        ("pool_size: 2", "pool_size: @2", "found character '@' that cannot start any token"),
    ],
)
def test_what_is_not_plain_yaml_is_an_error_with_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    line = DEFAULTS[: DEFAULTS.index(old)].count("\n") + 1
    assert message(tmp_path / "params.yaml", DEFAULTS.replace(old, new, 1)) == f"params.yaml, line {line}: {expected}"


def test_a_key_given_twice_is_an_error_with_its_line(tmp_path: Path) -> None:
    twice = DEFAULTS.replace("  momentum: 0.9", "  momentum: 0.8\n  momentum: 0.9")
    line = next(number for number, text in enumerate(twice.splitlines(), 1) if "momentum: 0.9" in text)
    assert message(tmp_path / "params.yaml", twice) == f"params.yaml, line {line}: key 'momentum' is given twice"


def test_the_two_unicode_forms_of_a_folders_name_are_one_folder(tmp_path: Path) -> None:
    twice = DEFAULTS.replace("- train1\n", "- Fru\u0308hling\n").replace("- test\n", "- Fr\u00fchling\n")
    expected = "params.yaml: dataset.test: ['Fr\u00fchling'] is not allowed; folder 'Fr\u00fchling' is named twice"
    assert message(tmp_path / "params.yaml", twice).startswith(expected)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    wrong = DEFAULTS.replace("epochs: 30", "epochs: 0").replace("dropout: 0.0", "dropout: 1.0")
    told = message(tmp_path / "params.yaml", wrong).splitlines()
    assert [line.split(":")[1].strip() for line in told] == ["model.dropout", "train.epochs"]


def test_a_tag_runs_nothing(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    told = message(tmp_path / "params.yaml", f"seed: !!python/object/apply:os.mkdir ['{ran}']\n")
    assert "could not determine a constructor for the tag" in told
    assert not ran.exists()


def test_a_folder_in_two_splits_is_an_error(tmp_path: Path) -> None:
    told = message(tmp_path / "params.yaml", DEFAULTS.replace("  - test\n", "  - train1\n"))
    assert told.endswith("folder 'train1' is named twice; an image belongs to one split, once")


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("patient", "should be none, or have one pair of parentheses, as in (patient[0-9]+)"),
        ("(a)(b)", "should be none, or have one pair of parentheses, as in (patient[0-9]+)"),
        ("(a", "it is no regular expression: missing ), unterminated subpattern at position 0"),
    ],
)
def test_a_group_of_images_is_a_pattern_with_one_pair_of_parentheses(
    tmp_path: Path, pattern: str, problem: str
) -> None:
    told = message(tmp_path / "params.yaml", DEFAULTS.replace("group: none", f"group: {pattern}"))
    assert told == f"params.yaml: dataset.division.group: {pattern!r} is not allowed; {problem}"


def test_shares_that_leave_nothing_to_train_on_are_an_error(tmp_path: Path) -> None:
    content = parameter_values()
    content["dataset"] |= {"validation": 0.4, "test": 0.6}
    told = message(tmp_path / "params.yaml", yaml.safe_dump(content))
    expected = "0.6 is not allowed; with 0.4 for validation it leaves no image to train on"
    assert told == f"params.yaml: dataset.test: {expected}"


def test_numbers_of_yaml_1_2_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(DEFAULTS.replace("learning_rate: 0.01", "learning_rate: 1e-3"))
    assert parameters.load(path).train.learning_rate == 0.001


def test_words_of_yaml_1_1_for_true_and_false_are_words(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(DEFAULTS.replace("leakage: error", "leakage: off").replace("- train2", "- no"))
    assert parameters.load(path).dataset.checks.severity("leakage") == "off"
    assert parameters.load(path).dataset.validation == ("no",)


@pytest.mark.parametrize("key", ["1", "true", "~", "2024-01-31", "? [a]\n"])
def test_a_key_that_is_no_name_is_an_unknown_key(tmp_path: Path, key: str) -> None:
    told = message(tmp_path / "params.yaml", f"{DEFAULTS}{key}: 2\n")
    assert told.endswith(": unknown key; remove it or correct its name")
    assert "\n" not in told


@pytest.mark.parametrize("value", ["!!bool maybe", "!!float", "!!int x", "-_", "2024-13-45"])
def test_a_value_that_is_not_of_its_own_tag_is_a_user_error(tmp_path: Path, value: str) -> None:
    assert message(tmp_path / "params.yaml", f"seed: {value}\n").startswith("params.yaml is not plain YAML: ")


def test_a_file_of_ten_megabytes_is_refused_unread(tmp_path: Path) -> None:
    assert "no parameter file" in message(tmp_path / "params.yaml", "a: " + "x" * 10_000_000)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not found; run from the project's folder"):
        parameters.load(tmp_path / "params.yaml")


@pytest.mark.slow
@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_user_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError):
        parameters.load(path)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_value_of_any_key_is_accepted_or_a_user_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = parameter_values()
    section = content[data.draw(st.sampled_from([key for key, value in content.items() if isinstance(value, dict)]))]
    section[data.draw(st.sampled_from(list(section)))] = data.draw(values)
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    told = ""
    try:
        parameters.load(path)
    except UserError as error:
        told = str(error)
    assert all(line.startswith((f"{path}: ", f"{path}, line ")) for line in told.splitlines())


@pytest.mark.parametrize(
    ("root", "relation"),
    [
        ("data", "holds data/verified"),
        ("./data/", "holds data/verified"),
        (".", "holds data/verified"),
        ("..", "holds data/verified"),
        ("data/mine/..", "holds data/verified"),
        ("data/verified", "holds data/verified"),
        ("data/verified/train", "lies in data/verified"),
        ("models", "holds models"),
        ("plots/dataset", "lies in plots"),
        ("data/cifar10/mine", "lies in data/cifar10"),
    ],
)
def test_images_in_a_folder_that_the_pipeline_writes_are_refused(root: str, relation: str, tmp_path: Path) -> None:
    told = message(tmp_path / "params.yaml", DEFAULTS.replace("root: data/cifar10", f"root: {root}"))
    expected = f"it {relation}, which the pipeline writes; use another folder, such as data/mine"
    assert told == f"params.yaml: dataset.root: {root!r} is not allowed; {expected}"


@pytest.mark.parametrize("root", ["data/mine", "data/verified images", "/images", "../images", "metrics-data"])
def test_images_in_any_other_folder_are_accepted(root: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(DEFAULTS.replace("root: data/cifar10", f"root: {root}"))
    assert parameters.load(path).dataset.root == root
