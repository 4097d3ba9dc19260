"""Recipes: files in ``recipes/`` that hold what differs from ``params.yaml``, with its sections and keys.

A section is merged into that of ``params.yaml`` key by key. One that names its ``family`` or ``kind`` stands for the
whole section, since another family has other keys.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from copy import deepcopy
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter

from stages import parameters
from stages.common import parameter_file
from stages.common.console import UserError
from stages.common.file_names import printable

FOLDER = Path("recipes")
NAME = r"\w[\w-]*(\.[\w-]+)*"  # as a part of the name of a Git reference, which an experiment of DVC is
TELLING = {"family", "kind"}  # the keys that say which other keys a section has


def load(name: str) -> dict[str, Any]:
    """What ``recipes/NAME.yaml`` changes, by section, unchecked.

    Raises:
        UserError: there is no such file, it is not plain YAML, or an experiment can't have its name.
    """
    path = FOLDER / f"{name}.yaml"
    known = sorted(file.stem for file in FOLDER.glob("*.yaml"))
    if name not in known:
        raise UserError(f"no recipe is named {printable(name)}; in {FOLDER}/ there are: {', '.join(known) or 'none'}")
    if not re.fullmatch(NAME, name):
        raise UserError(f"{printable(str(path))}: an experiment of DVC can't be named so; use letters, digits, _ and -")
    return parameter_file.parse(path.read_bytes(), str(path))


def applied(changes: dict[str, Any], text: str, name: str) -> str:
    """The text of a ``params.yaml`` with ``changes`` made in it, its comments kept.

    Args:
        text: a ``params.yaml`` without mistakes.
        name: what messages call the changes, such as the path of a recipe.

    Raises:
        UserError: a key or value among the changes is not allowed; the message has a line for each.
    """
    yaml = YAML()  # which keeps comments and order
    yaml.Representer = _Representer
    yaml.width = parameter_file.MAX_BYTES
    values = yaml.load(text)
    _merge(values, deepcopy(changes))
    changed = StringIO()
    yaml.dump(values, changed)
    parameter_file.validated(parameters.Parameters, parameter_file.parse(changed.getvalue().encode(), name), name)
    return changed.getvalue()


class _Representer(RoundTripRepresenter):
    """Writes ``null``, where the library leaves the place empty."""


_Representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))


def _merge(values: MutableMapping[str, Any], changes: dict[str, Any]) -> None:
    for key, change in changes.items():
        before = values.get(key)
        if isinstance(before, MutableMapping) and isinstance(change, dict) and TELLING.isdisjoint(change):
            _merge(before, change)
        else:
            values[key] = change
