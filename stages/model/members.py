"""What a model's file says beside the network: the names of its classes and the depth of its training images.

Both are members of the zip that a ``.keras`` file is, and Keras passes them over. So they have one checksum with the
model. They are read without TensorFlow, which takes seconds to load.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.common.console import UserError

CLASSES = "classes.json"  # a list of names in the order of the model's outputs
DEPTH = "depth.json"  # a number; see ``stages/dataset/bit_depth.py``
MOST_BYTES = {CLASSES: 10_000_000, DEPTH: 10}  # far more than the names of 65,536 classes take
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold


def write(archive: zipfile.ZipFile, classes: Sequence[str], depth: int) -> None:
    """Add both to the zip of a model."""
    for name, value in ((CLASSES, list(classes)), (DEPTH, depth)):
        archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), json.dumps(value))


def read_classes(path: str | Path) -> tuple[str, ...]:
    """The names of the classes of the model in ``path``, in the order of its outputs.

    Raises:
        UserError: there is no such file, or it is no model that names its classes.
    """
    with _member(path, CLASSES, "does not name its classes, as `train` lets it") as names:
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


@contextmanager
def _member(path: str | Path, name: str, absent: str) -> Iterator[Any]:
    """The value of the member ``name``, for a block that raises a ValueError if :func:`write` does not write it."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(name).file_size > MOST_BYTES[name]:
                raise ValueError(f"{name} has more than {MOST_BYTES[name]:,} bytes")
            content = archive.read(name)
        yield json.loads(content)
    except FileNotFoundError:
        raise UserError(f"{path} not found; run `dvc repro train`") from None
    except KeyError:
        raise UserError(f"{path} {absent}; run `dvc repro train`") from None
    # A damaged zip raises zlib.error, NotImplementedError or RuntimeError too, and a folder IsADirectoryError.
    except Exception as error:
        raise UserError(f"{path} can't be opened as this pipeline's model ({error}); run `dvc repro train`") from error
