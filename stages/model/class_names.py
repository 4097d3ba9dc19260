"""A model is judged on its own classes alone, in its own order."""

from __future__ import annotations

from collections.abc import Sequence

from stages.common.console import UserError
from stages.common.file_names import printable

MOST_NAMED = 5  # classes in one message


def refuse_others(model_classes: Sequence[str], split_classes: Sequence[str]) -> None:
    """Refuse a split of other classes than the model's, or of another order.

    Raises:
        UserError: they are not the same.
    """
    if len(model_classes) != len(split_classes):
        raise UserError(
            f"the model has {len(model_classes)} classes, the split {len(split_classes)}; "
            "train it on these (`dvc repro`)"
        )
    others = [(own, other) for own, other in zip(model_classes, split_classes, strict=True) if own != other]
    if others:
        own, other = (", ".join(map(printable, names[:MOST_NAMED])) for names in zip(*others, strict=True))
        more = " ..." * (len(others) > MOST_NAMED)
        raise UserError(
            f"the model's classes are not the split's: {own}{more} in place of {other}{more}; "
            "train it on these (`dvc repro`)"
        )
