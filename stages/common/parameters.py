"""``params.yaml`` as frozen, typed values.

Every stage loads the whole file, so a mistake anywhere in it is reported before any work starts. An unknown, missing,
duplicate or mistyped key is an error that names ``section.key``, the value and what is allowed.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Hashable
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails

from stages.common.console import UserError
from stages.common.names import refusal, shown

PATH = Path("params.yaml")
OUTPUTS = ("data/verified", "metrics", "models", "plots")  # folders that the pipeline writes
MAX_DIGITS = 100
MAX_BYTES = 100_000  # fifty times the default file; a larger one is no parameter file

PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
# Wide enough for any network that fits in memory; a slip of the hand (a width of 10^9) is caught here instead of there.
Width = Annotated[int, Field(ge=1, le=65_536)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _folder_name(name: str) -> str:
    if problem := refusal(name) or ("it is hidden" if name.startswith(".") else None):
        raise ValueError(problem)
    return unicodedata.normalize("NFC", name)  # of a name's several forms, so that it can't be given twice


def _root(root: str) -> str:
    # By the names alone, as DVC does, which would say "both a dependency and an output".
    images = Path(os.path.normpath(Path.cwd() / root))
    for name in OUTPUTS:
        output = Path.cwd() / name
        if output.is_relative_to(images) or images.is_relative_to(output):
            relation = "holds" if output.is_relative_to(images) else "lies in"
            raise ValueError(f"it {relation} {name}, which the pipeline writes; use another folder, such as data/mine")
    return root


FolderNames = Annotated[tuple[Annotated[str, AfterValidator(_folder_name)], ...], Field(min_length=1)]
# YAML 1.1, which PyYAML reads, takes `off` for false.
Severity = Annotated[
    Literal["error", "warning", "off"], BeforeValidator(lambda value: "off" if value is False else value)
]


class Checks(Section):
    """What a finding of each check on the dataset does; the checks are in ``stages/dataset/checks.py``."""

    missing_folder: Severity
    unsafe_file: Severity
    misplaced_file: Severity
    empty_class: Severity
    class_set: Severity
    class_count: Severity
    folder_size: Severity
    unreadable_image: Severity
    converted_image: Severity
    blank_image: Severity
    class_imbalance: Severity
    exact_duplicate: Severity
    leakage: Severity
    label_conflict: Severity
    near_duplicate: Severity
    near_leakage: Severity
    channel_drift: Severity
    class_drift: Severity


class Thresholds(Section):
    """From where on a check on the dataset finds something."""

    blank_deviation: Annotated[float, Field(ge=0, le=255)]
    class_ratio: Annotated[float, Field(ge=1)]
    correlation: Fraction
    drift_effect: Annotated[float, Field(ge=0)]
    drift_significance: Share


class Dataset(Section):
    """Which folders make up each split, and what must hold of them."""

    root: Annotated[str, Field(min_length=1), AfterValidator(_root)]
    train: FolderNames
    validation: FolderNames
    test: FolderNames
    image_size: Annotated[int, Field(ge=8, le=1024)]
    classes: Annotated[int, Field(ge=2)] | None
    images_per_folder: PositiveInt | None
    checks: Checks
    thresholds: Thresholds

    @field_validator("train", "validation", "test")
    @classmethod
    def _each_folder_once(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        earlier = [name for split in ("train", "validation") for name in info.data.get(split, ())]
        for index, name in enumerate(names):
            if name in earlier or name in names[:index]:
                raise ValueError(f"folder {name!r} is named twice; an image belongs to one split, once")
        return names

    @property
    def splits(self) -> dict[str, tuple[str, ...]]:
        """The folder names of each split, in the order train, validation, test."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


class Model(Section):
    """The network: blocks of convolutions and pooling, then dense layers."""

    filters: Annotated[tuple[Width, ...], Field(min_length=1, max_length=16)]
    convolutions: Annotated[int, Field(ge=1, le=16)]
    kernel_size: Annotated[int, Field(ge=1, le=64)]
    padding: Literal["same", "valid"]
    pool_size: Annotated[int, Field(ge=1, le=64)]
    batch_normalization: bool
    dense: Annotated[tuple[Width, ...], Field(max_length=16)]
    dropout: Fraction


class LearningRateDrop(Section):
    factor: Annotated[float, Field(gt=0, lt=1)]
    patience: PositiveInt
    min_delta: Annotated[float, Field(ge=0)]


class EarlyStopping(Section):
    patience: PositiveInt
    min_delta: Annotated[float, Field(ge=0)]


class Train(Section):
    """The recipe: order of the examples, optimizer, and when to slow down and stop."""

    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)]
    parts: Annotated[int, Field(ge=1, le=64)]
    shuffle: Literal["windowed", "full"]
    optimizer: Literal["sgd", "rmsprop", "adam"]
    learning_rate: Annotated[float, Field(gt=0, le=1000)]
    momentum: Fraction
    monitor: Literal["val_loss", "val_accuracy"]
    learning_rate_drop: LearningRateDrop
    early_stopping: EarlyStopping


class Validate(Section):
    """When the findings on a training speak."""

    overfitting_gap: Share
    loss_improvement: Share
    accuracy_improvement: Share


class Report(Section):
    """When the findings on the test speak, and of how many classes."""

    class_margin: Share
    confused_pairs: PositiveInt
    auc_classes: PositiveInt
    balance_ratio: Annotated[float, Field(ge=1)]


class Parameters(Section):
    """The whole of ``params.yaml``."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    dataset: Dataset
    model: Model
    train: Train
    validate_: Annotated[Validate, Field(alias="validate")]  # a model of pydantic has a method `validate`
    report: Report


def load(path: Path = PATH) -> Parameters:
    """Read and check the parameters.

    Raises:
        UserError: the file is missing, is not plain YAML, or a key or value in it is not allowed; the message has a
            line for each mistake.
    """
    try:
        # One byte more than allowed, so that a file of any size is refused without being read whole.
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{path} not found; run from the project's folder") from None
    if len(content) > MAX_BYTES:
        raise UserError(f"{path} has more than {MAX_BYTES:,} bytes; it is no parameter file")
    try:
        values = yaml.load(content, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{line}: {error.problem}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{path} is not plain YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no sections")
    try:
        return Parameters.model_validate(_lists_as_tuples(values))
    except ValidationError as error:
        raise UserError("\n".join(f"{path}: {_in_words(detail)}" for detail in _mistakes(error))) from None


class _Loader(yaml.SafeLoader):
    """YAML 1.2's floats (``1e-3``), no duplicate keys, and no anchors: a few lines could stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not allowed", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        # Python takes no number of more than 4,300 digits, and its message does not say where the number stands.
        if len(node.value) > MAX_DIGITS:
            problem = f"a number of {len(node.value):,} characters is not allowed"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return int(super().construct_yaml_int(node))

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(problem=f"key {key!r} is not a name", problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def _lists_as_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists_as_tuples(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return tuple(_lists_as_tuples(inner) for inner in value)
    return value


def _mistakes(error: ValidationError) -> list[ErrorDetails]:
    """What pydantic found, without its second complaint: it calls a list too short once it has dropped a wrong item."""
    found = error.errors()
    parents = {detail["loc"][:depth] for detail in found for depth in range(len(detail["loc"]))}
    return [detail for detail in found if detail["loc"] not in parents]


def _in_words(detail: ErrorDetails) -> str:
    """One mistake as ``section.key: value is not allowed; what is``."""
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{shown(part)}" for part in detail["loc"]).lstrip(".")
    kind, value = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return f"{key}: unknown key; remove it or correct its name"
    if kind == "missing":
        return f"{key}: missing; every key must be given"
    if kind == "model_type":
        allowed = "should be a section: its keys below it, indented"
    else:
        message = re.sub("^(Value error,|Input|String|Tuple) ", "", detail["msg"]).replace("valid tuple", "list")
        allowed = message.partition(" after validation")[0]
    if kind == "string_type" and isinstance(value, (int, float, date)):
        allowed += "; put it in quotes"
    text = repr(list(value)) if isinstance(value, tuple) else str(value) if isinstance(value, date) else repr(value)
    short = text if len(text) <= 60 else text[:57] + "..."
    return f"{key}: {short} is not allowed; {allowed}"
