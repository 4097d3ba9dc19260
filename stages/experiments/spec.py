"""Sweeps: files in ``sweeps/`` that say which runs to make, and which of their metrics to compare."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, ValidationInfo, field_validator

from stages.common import parameter_file
from stages.common.console import UserError
from stages.common.file_names import printable
from stages.common.parameter_file import PositiveInt, Section
from stages.dataset.settings import Folds
from stages.experiments import recipes, runs
from stages.experiments.perform import Run, Source
from stages.experiments.search import Search
from stages.model.settings import Seed

DIVIDED = "dataset.validation"  # the parameter that says which fold validates
METRIC = r"^(dataset|train|validation|test|test_classes)\..+$"
JUDGED = "validate"  # the last stage of runs that are not compared on the test split, which they don't read then


class Spec(Section):
    """A run is made for each recipe, each combination of values, each seed and, if there are folds, each fold.

    With a search, each combination of values meets each setting that it draws. With variants, all this is made for each
    recipe as it is, and for each variant of it.

    Attributes:
        recipes: names of files in ``recipes/``.
        variants: by a name in words, values of some parameters, by their dotted names, that change a recipe together.
        values: lists of values by the dotted name of a parameter, put into each recipe.
        search: what to draw from ranges; None: nothing.
        seeds: the same for all, so that runs can be compared pair by pair.
        folds: into how many the images that are not test images are divided; each validates once. None: as the
            parameters say.
        metrics: each as ``FILE.KEY`` of ``metrics/FILE.json``, with further keys, or places in a list, behind it.
        cores: that each run may use. On these depend neither results nor names.
        memory: in GiB, that each run needs; by it and by the cores, so many are made side by side on this machine.
        minutes: after which a run is ended and counts as failed; None for never.
    """

    recipes: Annotated[tuple[str, ...], Field(min_length=1)] = ("baseline",)
    variants: dict[Annotated[str, Field(min_length=1)], Annotated[dict[str, Any], Field(min_length=1)]] = Field(
        default={}
    )
    values: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default={})
    search: Search | None = None
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    folds: Folds | None = None
    metrics: tuple[Annotated[str, Field(pattern=METRIC)], ...] = Field(
        default=("test.accuracy",), min_length=1, validate_default=True
    )
    cores: PositiveInt = 1
    memory: Annotated[float, Field(ge=0.001)] = 1.0  # a run of the baseline takes 0.7
    minutes: Annotated[float, Field(gt=0)] | None = None

    @field_validator("variants", "values")
    @classmethod
    def _without_seed(cls, values: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        varied = values.keys() if info.field_name == "values" else _changed_by(values)
        if "seed" in varied:
            raise ValueError("should not vary seed, which `seeds` does")
        return values

    @field_validator("values")
    @classmethod
    def _apart_from_variants(cls, values: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if twice := values.keys() & _changed_by(info.data.get("variants", {})):
            raise ValueError(f"has {', '.join(sorted(twice))}, which variants change")
        return values

    @field_validator("search")
    @classmethod
    def _apart_from_values(cls, search: Search | None, info: ValidationInfo) -> Search | None:
        given = info.data.get("values", {}).keys() | _changed_by(info.data.get("variants", {}))
        if search and (twice := search.parameters.keys() & given):
            raise ValueError(f"draws {', '.join(sorted(twice))}, of which there are values already")
        return search

    @field_validator("folds")
    @classmethod
    def _without_fold(cls, folds: int | None, info: ValidationInfo) -> int | None:
        search = info.data.get("search")
        varied = [*info.data.get("values", {}), *(search.parameters if search else {})]
        varied += _changed_by(info.data.get("variants", {}))
        if folds and any(key.startswith(DIVIDED) for key in varied):
            raise ValueError(f"does not go with values of {DIVIDED}")
        return folds

    @field_validator("metrics")
    @classmethod
    def _of_validation(cls, metrics: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("search") and any(_of_test(metric) for metric in metrics):
            raise ValueError("should not be of the test split, by which nothing is chosen; use validation.accuracy")
        return metrics

    @field_validator("seeds", "recipes")
    @classmethod
    def _each_once(cls, items: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(items)) < len(items):
            raise ValueError("should name each once")
        return items


class Planned(NamedTuple):
    """A run of a sweep: its setting and which of the setting's runs it is, in words, and the run itself."""

    setting: str
    repetition: str
    run: Run


def load(path: Path) -> Spec:
    """Read a sweep's file.

    Raises:
        UserError: it is not there, or has a mistake; the message has a line for each.
    """
    if path.suffix not in (".yaml", ".yml"):  # those of the results among them, which would replace the file
        raise UserError(f"{printable(str(path))} should end in .yaml, as the sweeps in sweeps/ do")
    return parameter_file.load(Spec, path)


def plan(spec: Spec, defaults: str, source: Source, name: str) -> list[Planned]:
    """The runs that ``spec`` stands for, setting by setting.

    Args:
        defaults: the text of ``params.yaml``.
        source: where the runs begin.
        name: of the sweep's file, for messages.

    Raises:
        UserError: a recipe is not there, or a key or value is not allowed.
    """
    stage = None if any(_of_test(metric) for metric in spec.metrics) else JUDGED
    planned = []
    for recipe in spec.recipes:
        by_recipe = recipes.applied(recipes.load(recipe), defaults, f"recipes/{recipe}.yaml")
        for (variant, changes), combination in product([("", {}), *spec.variants.items()], _combinations(spec)):
            # All at once, since some values are allowed together alone.
            text = recipes.applied(_nested(changes | combination), by_recipe, name)
            in_words = [f"{key} = {_as_list(value)}" for key, value in combination.items()]
            setting = ", ".join(filter(None, [recipe, variant, *in_words]))
            if spec.folds:
                _refuse_folders(text, name)
            for seed, fold in product(spec.seeds, range(1, spec.folds + 1) if spec.folds else [None]):
                title, repetition = f"{recipe}-seed{seed}", str(seed)
                drawn: dict[str, Any] = {"seed": seed}
                if fold:
                    title, repetition = f"{title}-fold{fold}", f"{seed}, fold {fold}"
                    drawn[DIVIDED] = {"folds": spec.folds, "fold": fold}
                run = runs.named(title, recipes.applied(_nested(drawn), text, name), source, stage)
                planned.append(Planned(setting, repetition, run))
    return planned


def _changed_by(variants: dict[str, dict[str, Any]]) -> set[str]:
    return {key for changes in variants.values() for key in changes}


def _of_test(metric: str) -> bool:
    return metric.startswith(("test.", "test_classes."))


def _refuse_folders(text: str, name: str) -> None:
    """Raise a :class:`UserError` if the validation images lie in folders of their own."""
    validation = parameter_file.parse(text.encode(), name)["dataset"]["validation"]
    if isinstance(validation, list):
        raise UserError(
            f"{name}: folds: {DIVIDED} in params.yaml names folders, which folds would leave unused; name them under "
            f"dataset.train, and set {DIVIDED} to a share, such as 0.2"
        )


def _combinations(spec: Spec) -> Iterator[dict[str, Any]]:
    drawn = spec.search.draw() if spec.search else [{}]
    for values in product(*spec.values.values()):
        for trial in drawn:
            yield dict(zip(spec.values, values, strict=True)) | trial


def _nested(changes: dict[str, Any]) -> dict[str, Any]:
    """``{"train": {"epochs": 3}}`` for ``{"train.epochs": 3}``; a list, as the recipes have it, for a tuple."""
    nested: dict[str, Any] = {}
    for key, value in changes.items():
        *sections, last = key.split(".")
        inner = nested
        for section in sections:
            if not isinstance(inner.get(section), dict):
                inner[section] = {}
            inner = inner[section]
        inner[last] = _as_list(value)
    return nested


def _as_list(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_list(inner) for key, inner in value.items()}
    return [_as_list(inner) for inner in value] if isinstance(value, tuple) else value
