"""The parameters ``validate`` and ``test``: when the findings speak."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stages.common.parameter_file import PositiveInt, Section, Share


class Validate(Section):
    """When the findings on a training speak."""

    overfitting_gap: Share
    loss_improvement: Share
    accuracy_improvement: Share


class Test(Section):
    """When the findings on the test speak, and of how many classes."""

    class_margin: Share
    confused_pairs: PositiveInt
    auc_classes: PositiveInt
    balance_ratio: Annotated[float, Field(ge=1)]
