"""The whole of ``params.yaml``: the sections of all packages.

Every stage begins with :func:`check`, so that a mistake anywhere in the file stops whichever stage runs first, before
any work. The check can only refuse, and no result depends on it. So ``dvc.yaml`` names this file as a dep of no stage,
nor for its sake the sections that it imports: an edit of a section reruns the stages that read it, and no other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from stages.common import parameter_file
from stages.common.parameter_file import PATH, Section
from stages.dataset.settings import Dataset
from stages.evaluation.settings import Test, Validate
from stages.model.settings import Model, Seed, Train


class Parameters(Section):
    seed: Seed
    dataset: Dataset
    model: Model
    train: Train
    validate_: Annotated[Validate, Field(alias="validate")]  # a model of pydantic has a method `validate`
    test: Test


def load(path: Path = PATH) -> Parameters:
    """All parameters, for what is no stage, such as a study or a benchmark.

    Raises:
        UserError: there is a mistake in the file; see ``stages/common/parameter_file.py``.
    """
    return parameter_file.load(Parameters, path)


def check() -> None:
    """Raise a :class:`UserError` with a line for each mistake in the file."""
    load()
