"""TensorFlow and Keras, set up before anything uses them; every other module takes them from here."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import joblib

from stages.common import arithmetic
from stages.common.console import UserError
from stages.common.files import errors_naming

TRACED = 100_000  # bytes; the functions of a training were traced with 56 KB of room, and not with 24 KB

os.environ["KERAS_BACKEND"] = "tensorflow"
# A user's keras.json could set another order of the axes or another precision. Where no folder can be, Keras finds no
# such file, and leaves none.
os.environ["KERAS_HOME"] = f"{os.devnull}/none"


@contextmanager
def _without_start_up_notes() -> Iterator[None]:
    """Hide TensorFlow's start-up log. Set ``TF_CPP_MIN_LOG_LEVEL`` to see it; it is also shown if the import fails.

    That variable, which the notebook sets to hide it, no longer reaches what is logged while the library is loaded
    (tensorflow#100442), so standard error is set aside meanwhile.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    standard_error = os.dup(2)
    with _temporary_file() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except Exception:
            notes.seek(0)
            os.write(standard_error, notes.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


def _temporary_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError:  # a full disk, of which the stage tells when it runs
        return open(os.devnull, "w+b")


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Never garbage-collect the objects created in this block.

    The 600,000 objects that the libraries are made of live as long as the process. To search them for garbage, again
    and again while they come and once more as the process ends, takes 1.4 s.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _without_modules(*names: str) -> Iterator[None]:
    """Make these imports fail inside the block unless already loaded.

    Keras takes scikit-learn and matplotlib, where there are any, for wrappers and galleries that nothing here uses, and
    without them a stage is done 0.6 s sooner.
    """
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None is what makes an import fail
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


with (
    _without_start_up_notes(),
    _without_garbage_collection(),
    _without_modules("sklearn", "matplotlib", "matplotlib.pyplot"),
):
    import keras
    import tensorflow as tf

arithmetic.set_up_tensorflow(tf, joblib.cpu_count())  # the cores that a container or a scheduler leaves to the process

__all__ = ["keras", "require_temporary_files", "tf"]


def require_temporary_files() -> None:
    """Refuse to go on without room for temporary files.

    TensorFlow writes each function that it traces to one, and fails in words of its own, about the function.

    Raises:
        UserError: there is no folder for them.
        OSError: the folder has no room.
    """
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise UserError(f"{error.strerror}; make room in one of these, or name another folder in TMPDIR") from None
    with errors_naming(folder), tempfile.TemporaryFile() as file:
        file.write(bytes(TRACED))
        file.flush()
