"""Settings drawn from ranges: evenly strewn over all of them together, the same ones each time.

The points are those of a scrambled Halton sequence (Owen, *A randomized Halton algorithm in R*, 2017). Any number of
its first points covers the ranges evenly. So trials can be added later, and none waits for the result of another. Such
points find good settings sooner than independent ones do (Bousquet et al., *Critical Hyper-Parameters: No Random, No
Cry*, 2017).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from stages.common.parameter_file import PositiveInt, Section

DIGITS = 3  # of a number that is drawn, more where a range's ends agree in the first; others would not be told apart


class Range(Section):
    """Numbers from ``low`` to ``high``, whole ones if both are; ``log``: each power of ten is drawn as often."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if not self.low < self.high:
            raise ValueError("should have low below high")
        if not math.isfinite(self.high - self.low):
            raise ValueError("should be narrower")
        if self.log and self.low <= 0:
            raise ValueError("should have low above 0 for log")
        return self

    def at(self, point: float) -> int | float:
        """The number at ``point``, 0 to 1, of the range."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            # From half below the first number to half above the last, so that each is drawn as often.
            value = self._between(self.low - 0.5, self.high + 0.5, point)
            return min(max(round(value), self.low), self.high)
        alike = max(0, math.floor(math.log10(max(abs(self.low), abs(self.high)) / (self.high - self.low))))
        value = float(f"{self._between(self.low, self.high, point):.{DIGITS + alike}g}")
        return min(max(value, self.low), self.high)

    def _between(self, low: float, high: float, point: float) -> float:
        if self.log:
            return math.exp(math.log(low) + point * (math.log(high) - math.log(low)))
        return low + point * (high - low)


def _form(wanted: object) -> str:
    return "a list" if isinstance(wanted, tuple) else "a range"


# A form's name holds a space, so that messages can leave it out of a key.
Choices = Annotated[tuple[Any, ...], Field(min_length=2)]
Drawn = Annotated[Annotated[Range, Tag("a range")] | Annotated[Choices, Tag("a list")], Discriminator(_form)]


class Search(Section):
    """Draws settings, for which the pipeline runs up to ``validate``: the test split chooses nothing.

    Attributes:
        trials: how many settings are drawn.
        best: whether a high or a low value of the first metric is a good one.
        parameters: a range, or a list of values, by the dotted name of a parameter.
    """

    trials: PositiveInt
    best: Literal["highest", "lowest"] = "highest"
    parameters: Annotated[dict[str, Drawn], Field(min_length=1)]

    @field_validator("parameters")
    @classmethod
    def _without_seed(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        if "seed" in parameters:
            raise ValueError("should not draw seed, which `seeds` varies")
        return parameters

    def draw(self) -> list[dict[str, Any]]:
        """The settings, each by the dotted names of its parameters."""
        from scipy.stats import qmc  # here, since most commands need no sequence, and it takes half a second

        points = qmc.Halton(len(self.parameters), rng=0).random(self.trials)
        return [
            {name: _at(wanted, point) for (name, wanted), point in zip(self.parameters.items(), row, strict=True)}
            for row in points.tolist()
        ]


def _at(wanted: Range | tuple[Any, ...], point: float) -> Any:
    return wanted.at(point) if isinstance(wanted, Range) else wanted[int(point * len(wanted))]
