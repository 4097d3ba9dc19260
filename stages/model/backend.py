"""TensorFlow and Keras, set up before anything uses them; every other module takes them from here."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import joblib

from stages.common import arithmetic

os.environ["KERAS_BACKEND"] = "tensorflow"
# A user's keras.json could set another order of the axes or another precision. Where no folder can be, Keras finds no
# such file, and leaves none.
os.environ["KERAS_HOME"] = f"{os.devnull}/none"


@contextmanager
def _without_start_up_notes() -> Iterator[None]:
    """Keep TensorFlow's notes on processors and missing GPU libraries from between the lines of a stage.

    ``TF_CPP_MIN_LOG_LEVEL``, which the notebook sets for this, no longer reaches the notes that are written while the
    library is loaded (tensorflow#100442), so standard error is set aside meanwhile. Who sets the variable
    sees them all; and so does who sees the import fail.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    standard_error = os.dup(2)
    with tempfile.TemporaryFile() as notes:
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


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Keep the collector away from what is made meanwhile, for good.

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
    """Let imports of these modules fail meanwhile, if nobody has imported them yet.

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

__all__ = ["keras", "tf"]
