"""What a model's file says beside the network: the names of its classes, and what was done to its training images.

These are members of the zip that a ``.keras`` file is, and Keras passes them over. So they have one checksum with the
model. They are read without TensorFlow, which takes seconds to load.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from stages.common.console import UserError
from stages.splits.packed import Resize

CLASSES = "classes.json"  # a list of names in the order of the model's outputs
DEPTH = "depth.json"  # a number; see ``stages/dataset/bit_depth.py``
RESIZE = "resize.json"  # how images became square; absent for "squash", which earlier versions did without a word
MOST_BYTES = {CLASSES: 10_000_000, DEPTH: 10, RESIZE: 10}  # far more than the names of 65,536 classes take
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold


def write(archive: zipfile.ZipFile, classes: Sequence[str], depth: int, resize: Resize) -> None:
    """Add them to the zip of a model."""
    values = {CLASSES: list(classes), DEPTH: depth} | ({RESIZE: resize} if resize != "squash" else {})
    for name, value in values.items():
        archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), json.dumps(value))


def read_classes(path: str | Path) -> tuple[str, ...]:
    """The names of the classes of the model in ``path``, in the order of its outputs.

    Raises:
        UserError: there is no such file, or it is no model that names its classes.
    """
    with _member(path, CLASSES, "does not name its classes, as models written by `train` do") as names:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{CLASSES} is no list of names")
        if len(set(names)) < len(names):
            raise ValueError(f"{CLASSES} has a name twice")
        return tuple(names)


def read_depth(path: str | Path) -> int:
    """As of how many bits a channel, 8 to 16, the model in ``path`` takes images of 16.

    Raises:
        UserError: there is no such file, or it is no model that says its depth.
    """
    with _member(path, DEPTH, "does not say how deep its images were") as depth:
        if depth not in range(8, 17):
            raise ValueError(f"{DEPTH} is no number from 8 to 16")
        return int(depth)


def read_resize(path: str | Path) -> Resize:
    """How the model in ``path`` takes images that are not square; ``squash`` if it does not say so.

    Raises:
        UserError: there is no such file, or it is no model.
    """
    with _member(path, RESIZE, default="squash") as resize:
        if resize not in get_args(Resize):
            raise ValueError(f"{RESIZE} is none of {', '.join(get_args(Resize))}")
        named: Resize = resize
        return named


@contextmanager
def _member(path: str | Path, name: str, absent: str = "", default: str | None = None) -> Iterator[Any]:
    """The value of the member ``name``, for a block that raises a ValueError if :func:`write` does not write it.

    If the model has no such member, the value is ``default``, or without one the problem is ``absent``.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if default is not None and name not in archive.namelist():
                value = default
            elif archive.getinfo(name).file_size > MOST_BYTES[name]:
                raise ValueError(f"{name} has more than {MOST_BYTES[name]:,} bytes")
            else:
                value = json.loads(archive.read(name))
        yield value
    except FileNotFoundError:
        raise UserError(f"{path} not found; run `dvc repro train`") from None
    except KeyError:
        raise UserError(f"{path} {absent}; run `dvc repro train`") from None
    # A damaged zip raises zlib.error, NotImplementedError or RuntimeError too, and a folder IsADirectoryError.
    except Exception as error:
        raise UserError(f"{path} can't be opened as this pipeline's model ({error}); run `dvc repro train`") from error
