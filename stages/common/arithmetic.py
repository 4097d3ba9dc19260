"""The same arithmetic in every process, so that results are bit-equal on any x86-64 processor with AVX2.

Libraries choose their code by the processor's instruction set, its caches and the number of its cores, and each choice
rounds sums in another order. Each setting here removes one such choice; its comment says what differed without it.
``make processors`` compares the results on emulated processors. Arm and GPUs round differently.
"""

from __future__ import annotations

import os
import platform
from types import ModuleType
from typing import Any

# The libraries read these once, when they load.
ENVIRONMENT = {
    # By default TensorFlow calls oneDNN only on processors with AVX-512 VNNI, AVX-VNNI or AMX. Elsewhere it calls
    # Eigen, which splits the sums of a matrix product by the size of the first-level cache: the first batch differed
    # between caches of 32 and 48 KB.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    # oneDNN picks its kernels by instruction set: the first batch differed between AVX2 and AVX-512.
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    # NumPy does too: exp, log, power and arctan differed in the last bit, and argsort in the order of equal values.
    # Half of these names are NumPy 2.4's, half NumPy 2.2's (for Python 3.10); each release ignores the other's.
    "NPY_DISABLE_CPU_FEATURES": (
        "X86_V3 X86_V4 AVX512_ICL AVX512_SPR AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL"
    ),
    # OpenBLAS has a kernel for each kind of processor: matrix products of NumPy and SciPy differed.
    "OPENBLAS_CORETYPE": "Haswell",
    # OpenBLAS splits a product among its threads: products and solutions differed between one core and two.
    "OPENBLAS_NUM_THREADS": "1",
}


def set_up() -> None:
    """Set the environment variables, overriding the user's; call this before NumPy loads."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        os.environ.update(ENVIRONMENT)


def use_all_instructions() -> None:
    """Let oneDNN use all instructions that the processor has; to be called before the first convolution.

    What a process computes is then faster where there is AVX-512, and the same bits on like processors alone.
    """
    os.environ.pop("ONEDNN_MAX_CPU_ISA", None)


def set_up_tensorflow(tf: ModuleType, cores: int) -> None:
    """Set up TensorFlow, just loaded, for a process that may use ``cores`` cores."""
    # Otherwise the gradients of convolutions may be summed in the order in which threads finish.
    tf.config.experimental.enable_op_determinism()
    # Several threads in one operation split its sums: one part of a batch differed between one core and two. So each
    # operation gets one thread, and the cores work on different parts of a batch.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(cores)
    # Otherwise GPUs of NVIDIA's since Ampere round the factors of a product to 11 bits of 24.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    # This rewrites x / sqrt(y) as x * rsqrt(y), and each processor approximates rsqrt in its own way: RMSprop differed.
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    # Keras normalises by rsqrt: batch and layer normalisation differed. Keras looks up both functions at each call.
    tf.nn.batch_normalization = _batch_normalization
    tf.math.rsqrt = _rsqrt


def _batch_normalization(
    x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: float, name: str | None = None
) -> Any:
    """Like ``tf.nn.batch_normalization``, but with a division, which IEEE 754 rounds in one way only."""
    deviation = (variance + variance_epsilon) ** 0.5
    if scale is None:
        normalized = (x - mean) / deviation
        return normalized if offset is None else normalized + offset
    factor = scale / deviation
    shift = -mean * factor if offset is None else offset - mean * factor
    return x * factor + shift


def _rsqrt(x: Any, name: str | None = None) -> Any:
    """Like ``tf.math.rsqrt``, but by the power function, which is the same code on every processor."""
    return x**-0.5
