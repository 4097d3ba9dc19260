"""The names of the classes that a model tells apart: a member of its file, so that both have one checksum.

They are read without TensorFlow, which takes seconds to load.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from stages.common.console import UserError
from stages.common.names import shown

MEMBER = "classes.json"  # of the zip that a .keras file is: a JSON list in the order of the model's outputs
MOST_BYTES = 10_000_000  # far more than the names of 65,536 classes; a larger member is no list of names
MOST_NAMED = 5  # classes in one message


def read(path: str | Path) -> tuple[str, ...]:
    """The names of the classes of the model in ``path``, in the order of its outputs.

    Raises:
        UserError: there is no such file, or it is no model that names its classes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(MEMBER).file_size > MOST_BYTES:
                raise ValueError(f"{MEMBER} has more than {MOST_BYTES:,} bytes")
            names = json.loads(archive.read(MEMBER))
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{MEMBER} is no list of names")
        if len(set(names)) < len(names):
            raise ValueError(f"{MEMBER} has a name twice")
        return tuple(names)
    except FileNotFoundError:
        raise UserError(f"{path} not found; run `dvc repro train`") from None
    except KeyError:
        raise UserError(f"{path} does not name its classes, as `train` lets it; run `dvc repro train`") from None
    # A damaged zip raises zlib.error, NotImplementedError or RuntimeError too, and a folder IsADirectoryError.
    except Exception as error:
        raise UserError(f"{path} can't be opened as this pipeline's model ({error}); run `dvc repro train`") from error


def refuse_others(of_model: Sequence[str], of_split: Sequence[str]) -> None:
    """Refuse a split of other classes than the model's, or of another order.

    Raises:
        UserError: they are not the same.
    """
    if len(of_model) != len(of_split):
        raise UserError(
            f"the model has {len(of_model)} classes, the split {len(of_split)}; train it on these (`dvc repro`)"
        )
    others = [(own, other) for own, other in zip(of_model, of_split, strict=True) if own != other]
    if others:
        own, other = (", ".join(map(shown, names[:MOST_NAMED])) for names in zip(*others, strict=True))
        more = " ..." * (len(others) > MOST_NAMED)
        raise UserError(
            f"the model's classes are not the split's: {own}{more} in place of {other}{more}; "
            "train it on these (`dvc repro`)"
        )
