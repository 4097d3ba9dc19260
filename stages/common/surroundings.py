"""Drops environment variables that the user has set for other work and that could change results.

Many variables change what a library computes, or end in a traceback if they are meant for another version. DVC does not
see them change; the pipeline's settings are those of ``params.yaml`` alone. So the libraries' variables are dropped
before any library loads. Settings files are kept out where the library is loaded: Keras's in
``stages/model/backend.py``, matplotlib's in ``stages/common/drawing.py``.

Python has read its own variables by then, so ``dvc.yaml`` and the ``Makefile`` start it without them.
"""

from __future__ import annotations

import os

# Prefixes, because TensorFlow and XLA alone read hundreds of variables, and each version reads others.
PREFIXES = (
    "AUTOGRAPH_",
    "CUBLAS_",
    "DNNL_",
    "FREETYPE_",  # how characters are drawn
    "GIT_COMMON_DIR",  # this and the next are set by Git for aliases and hooks; in a clone they would name the original
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
    "KERAS_",
    "MATPLOTLIB",
    "MPL",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_",
    "PILLOW_",
    "SCIPY_",
    "SKLEARN_",
    "TF2_",
    "TF_",
    "TQDM_",
    "XLA_",
)
# These change no result: they say where a library runs, what it may use and how much it logs. ``arithmetic.py``
# overrides two of them.
KEPT_PREFIXES = (
    "MPLCONFIGDIR",  # where the list of fonts is kept
    "ONEDNN_MAX_CPU_ISA",
    "TF_CONFIG",  # the workers that share a training
    "TF_CPP_",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_GPU_ALLOCATOR",
)


def drop_settings() -> None:
    """Remove the libraries' variables from the environment of this process and its children."""
    for name in list(os.environ):
        if name.startswith(PREFIXES) and not name.startswith(KEPT_PREFIXES):
            del os.environ[name]
