"""The parameters ``validate`` and ``test``: the thresholds of the findings."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stages.common.parameter_file import PositiveInt, Section, Share


class Validate(Section):
    """The thresholds of the findings on a training."""

    overfitting_gap: Share
    loss_improvement: Share
    accuracy_improvement: Share


class Test(Section):
    """The thresholds of the findings on the test, and how many classes they name."""

    class_margin: Share
    confused_pairs: PositiveInt
    auc_classes: PositiveInt
    balance_ratio: Annotated[float, Field(ge=1)]
