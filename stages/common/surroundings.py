"""What a user has set for other work, and must not reach this one.

Libraries read variables of the environment, and many of these change what they compute, or end in a traceback when they
are meant for another version. The pipeline's settings are those of ``params.yaml``, and DVC sees no others change. So
the libraries' variables are dropped before any library is loaded. Their files are dealt with where each is loaded:
Keras's in ``stages/model/backend.py``, matplotlib's in ``stages/common/drawing.py``.

Python's own variables have been read by then: ``dvc.yaml`` and the ``Makefile`` leave them out.
"""

from __future__ import annotations

import os

# By prefix: TensorFlow and XLA alone read some hundreds, and each version reads others.
PREFIXES = (
    "AUTOGRAPH_",
    "CUBLAS_",
    "DNNL_",
    "FREETYPE_",  # how characters are drawn
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
# These say where a library runs, what it may use there and how much it tells, and none of them changes a result; or
# they are set by ``arithmetic.py``, whatever the user has set them to.
KEPT_PREFIXES = (
    "MPLCONFIGDIR",  # where the list of fonts is kept
    "ONEDNN_MAX_CPU_ISA",
    "TF_CPP_",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_GPU_ALLOCATOR",
)


def drop_settings() -> None:
    """Take the libraries' variables out of the environment of this process and of those that it starts."""
    for name in list(os.environ):
        if name.startswith(PREFIXES) and not name.startswith(KEPT_PREFIXES):
            del os.environ[name]
