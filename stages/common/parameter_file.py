"""``params.yaml``: how it is read, and the types of its sections.

Each package defines its own sections in its ``settings.py``. A stage names the keys that it reads in an
:class:`Excerpt`, so an edit of another package's section does not rerun it.
"""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import Node, ScalarNode

from stages.common.console import UserError
from stages.common.file_names import printable

PATH = Path("params.yaml")
MAX_DIGITS = 100
MAX_BYTES = 100_000  # fifty times the default file; a larger one is no parameter file

PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
# Wide enough for any network that fits in memory; a slip of the hand (a width of 10^9) is caught here instead of there.
Width = Annotated[int, Field(ge=1, le=65_536)]


class Section(BaseModel):
    """Frozen, typed values. Every field must be given, and an unknown key is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Excerpt(Section, extra="ignore"):
    """The keys of the file, or of a section, that one stage reads; others are ignored."""


Wanted = TypeVar("Wanted", bound=Section)


def load(wanted: type[Wanted], path: Path = PATH) -> Wanted:
    """Read the fields of ``wanted`` from the file.

    Raises:
        UserError: the file is missing, is not plain YAML, or a key or value in it is not allowed; the message has a
            line for each mistake, with ``section.key``, the value and what is allowed.
    """
    try:
        # One byte more than allowed, so that a huge file is refused without being read whole.
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{path} not found; run from the project's folder") from None
    return validated(wanted, parse(content, str(path)), str(path))


def validated(wanted: type[Wanted], values: dict[Any, Any], name: str) -> Wanted:
    """``values`` as what ``wanted`` names.

    Raises:
        UserError: a key or value is not allowed; the message has a line for each mistake, which begins with ``name``.
    """
    try:
        return wanted.model_validate(_lists_as_tuples(values))
    except ValidationError as error:
        mistakes = (_in_words(detail, _key(detail["loc"], values)) for detail in _mistakes(error))
        raise UserError("\n".join(f"{name}: {mistake}" for mistake in mistakes)) from None


def parse(content: bytes, name: str) -> dict[Any, Any]:
    """The values in a parameter file's ``content``, unchecked.

    Raises:
        UserError: the content is not plain YAML 1.2, or has no keys; the message begins with ``name``.
    """
    if len(content) > MAX_BYTES:
        raise UserError(f"{name} has more than {MAX_BYTES:,} bytes; it is no parameter file")
    yaml = YAML(typ="safe", pure=True)  # pure Python, because the C library knows YAML 1.1 only
    yaml.Composer, yaml.Constructor = _Composer, _Constructor
    try:
        values = yaml.load(content)
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{name}{line}: {error.problem}") from error
    except (YAMLError, RecursionError, ValueError, LookupError) as error:  # LookupError: `!!bool maybe`
        raise UserError(f"{name} is not plain YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(values, dict):
        raise UserError(f"{name} holds no sections")
    return values


class _Composer(Composer):
    """Refuses anchors, by which a few lines could stand for gigabytes."""

    def compose_node(self, parent: Node | None, index: Any) -> Any:
        event = self.parser.peek_event()
        if event.anchor:
            raise MarkedYAMLError(problem="anchors and aliases are not allowed", problem_mark=event.start_mark)
        return super().compose_node(parent, index)


class _Constructor(SafeConstructor):
    def check_mapping_key(self, node: Any, key_node: Any, mapping: Any, key: Any, value: Any) -> bool:
        if key in mapping:  # the library's own message holds both values, which may be whole sections
            raise MarkedYAMLError(problem=f"key {key!r} is given twice", problem_mark=key_node.start_mark)
        return True

    def construct_yaml_int(self, node: ScalarNode) -> Any:
        # Python refuses numbers of more than 4,300 digits without saying where they are.
        if len(node.value) > MAX_DIGITS:
            problem = f"a number of {len(node.value):,} characters is not allowed"
            raise MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return super().construct_yaml_int(node)


_Constructor.add_constructor("tag:yaml.org,2002:int", _Constructor.construct_yaml_int)


def _lists_as_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists_as_tuples(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return tuple(_lists_as_tuples(inner) for inner in value)
    return value


def _mistakes(error: ValidationError) -> list[ErrorDetails]:
    """What pydantic found, without follow-up errors: it drops a wrong item and then calls its list too short."""
    found = error.errors()
    parents = {detail["loc"][:depth] for detail in found for depth in range(len(detail["loc"]))}
    return [detail for detail in found if detail["loc"] not in parents]


def _key(location: tuple[int | str, ...], values: Any) -> str:
    """A place in the file as one writes it, say ``dataset.train[2]``.

    pydantic puts the name of a union's member, such as the family of a network, between the keys of the file. The names
    of members without a key of their own hold a space.
    """
    key = ""
    for depth, part in enumerate(location, start=1):
        if isinstance(part, int):
            key += f"[{part}]"
        elif not isinstance(values, dict):
            continue
        elif part in values or (depth == len(location) and part.isidentifier() and part not in values.values()):
            key += f".{printable(part)}"
        else:
            continue
        values = values[part] if not isinstance(values, dict) or part in values else {}
    return key.lstrip(".")


def _in_words(detail: ErrorDetails, key: str) -> str:
    """One mistake as ``section.key: value is not allowed; what is``."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    discriminator = context.get("discriminator", "").strip("'")  # the key that picks a union's member
    if kind in {"extra_forbidden", "invalid_key"}:
        return f"{key}: unknown key; remove it or correct its name"
    if kind == "missing":
        return f"{key}: missing; every key must be given"
    if kind == "union_tag_not_found":
        return f"{key}.{discriminator}: missing; every key must be given"
    if kind == "union_tag_invalid":
        allowed = f"should be one of {context['expected_tags']}"
        return f"{key}.{discriminator}: {_in_yaml(value[discriminator])} is not allowed; {allowed}"
    if kind in {"model_type", "model_attributes_type"}:
        allowed = "should be a section: its keys below it, indented"
    else:
        message = re.sub("^(Value error,|Input|String|Tuple) ", "", detail["msg"]).replace("valid tuple", "list")
        message = message.replace("a valid boolean", "true or false")
        allowed = message.partition(" after validation")[0]
    if kind == "value_error" and isinstance(value, dict):
        return f"{key}: {allowed}"
    if kind == "string_type" and isinstance(value, (int, float, date)):
        allowed += "; put it in quotes"
    return f"{key}: {_in_yaml(value)} is not allowed; {allowed}"


def _in_yaml(value: Any) -> str:
    """A wrong value about as it stands in the file, shortened if it is long."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = repr(list(value)) if isinstance(value, tuple) else str(value) if isinstance(value, date) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
