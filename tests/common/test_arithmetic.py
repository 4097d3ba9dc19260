"""The arithmetic is that of no one processor. ``make processors`` compares whole pipelines."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy._core import _multiarray_umath as core  # type: ignore[attr-defined]
from tensorflow.python.framework import config
from threadpoolctl import threadpool_info

from stages.common import arithmetic
from stages.model import network
from stages.model.backend import keras, tf
from stages.model.plain import Plain
from tests.defaults import SETTINGS

APPROXIMATE = {"Rsqrt", "Reciprocal", "Inv"}  # TensorFlow's operations by instructions that differ between processors

TRAINING = """
import sys
from pathlib import Path
import stages
import joblib
joblib.cpu_count = lambda: int(sys.argv[1])
from tests.drawn import make_split
from tests.trainings import digest, recipe
from tests.trainings import train as train_small
folder = Path(sys.argv[2])
train, validation = make_split(folder / "train", (60, 51), 1), make_split(folder / "validation", (31,), 2)
by = recipe(parts=4, optimizer="rmsprop")
trained = train_small(train, validation, by, batch_normalization=True, dropout=0.3)
print(trained.course, digest(trained.network))
"""


def output(program: str, *arguments: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_the_number_of_cores_changes_no_bit(tmp_path: Path) -> None:
    one, eight = (output(TRAINING, cores, str(tmp_path / cores)) for cores in ("1", "8"))
    assert one == eight


@pytest.mark.parametrize("normalization", [keras.layers.BatchNormalization, keras.layers.LayerNormalization])
def test_no_operation_of_a_training_is_an_approximation_that_differs_between_processors(
    normalization: type[keras.layers.Layer],
) -> None:
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, normalization()(keras.layers.Conv2D(4, 3)(inputs)))
    optimizer = keras.optimizers.RMSprop(0.001)
    optimizer.build(model.trainable_variables)

    def step(images: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(images, training=True) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    images = tf.ones((4, 8, 8, 3))
    operations = {node.op for node in tf.function(step).get_concrete_function(images).graph.as_graph_def().node}
    assert not operations & APPROXIMATE


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the settings are for x86-64")
def test_every_choice_by_the_processor_is_taken_away() -> None:
    """What only emulated processors would show otherwise."""
    assert arithmetic.ENVIRONMENT.items() <= os.environ.items()
    assert tf.config.optimizer.get_experimental_options()["arithmetic_optimization"] is False
    assert tf.config.threading.get_intra_op_parallelism_threads() == 1
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
    assert config.is_op_determinism_enabled()
    assert {pool["num_threads"] for pool in threadpool_info() if pool["internal_api"] == "openblas"} == {1}


def test_a_normalisation_by_division_is_that_of_tensorflow() -> None:
    images = np.random.default_rng(1).normal(size=(5, 4, 4, 3)).astype(np.float32)
    mean, variance = images.mean((0, 1, 2)), images.var((0, 1, 2))
    expected = (images - mean) / np.sqrt(variance + 1e-3)
    by_channel = np.array([1, 2, 3], np.float32)
    for offset, scale in ((None, None), (by_channel, None), (None, by_channel), (by_channel, by_channel)):
        found = tf.nn.batch_normalization(images, mean, variance, offset, scale, 1e-3)
        wanted = expected * (1 if scale is None else scale) + (0 if offset is None else offset)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_numpy_and_blas_use_no_instructions_of_one_processor_alone() -> None:
    used = {name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]}
    assert used <= {"SSSE3", "SSE41", "POPCNT", "SSE42", "AVX", "F16C"}  # every processor with AVX2 has these
    assert os.environ["OPENBLAS_CORETYPE"] == "Haswell"


def test_what_the_user_has_set_does_not_reach_the_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")
    program = "import stages, os; print(os.environ['TF_ENABLE_ONEDNN_OPTS'], os.environ['ONEDNN_MAX_CPU_ISA'])"
    assert output(program).split() == ["1", "AVX2"]


@pytest.mark.slow
def test_training_loads_neither_scikit_learn_nor_matplotlib_and_both_load_afterwards() -> None:
    program = (
        "import sys, stages.train; print({'sklearn', 'matplotlib'} & set(sys.modules)); "
        "import sklearn.metrics, matplotlib.pyplot"
    )
    assert output(program).strip() == "set()"


def test_the_networks_of_the_pipeline_have_no_such_operation_when_they_predict() -> None:
    section = SETTINGS.model.model_dump() | {"batch_normalization": True, "filters": (4,), "dense": (4,)}
    model = network.build(Plain.model_validate(section), 8, 3)
    graph = (
        tf.function(lambda images: model(images, training=False)).get_concrete_function(tf.zeros((2, 8, 8, 3))).graph
    )
    assert not {node.op for node in graph.as_graph_def().node} & APPROXIMATE


INSTRUCTIONS = """
import sys
from pathlib import Path
import stages
from tests.drawn import make_split
from tests.trainings import recipe
from tests.trainings import train as train_small
folder = Path(sys.argv[2])
train, validation = (make_split(folder / split, (8,), seed) for seed, split in enumerate(("train", "validation")))
import os
os.environ["ONEDNN_VERBOSE"] = "1"
train_small(train, validation, recipe(epochs=1, arithmetic=sys.argv[1]))
"""
WITHOUT_LIMIT = """
import os
os.environ["ONEDNN_VERBOSE"] = "1"
import tensorflow as tf
tf.nn.conv2d(tf.ones((2, 8, 8, 3)), tf.ones((3, 3, 3, 8)), 1, "SAME")
"""


def instructions(program: str, *arguments: str) -> str:
    """What oneDNN says in its first lines that it uses of the processor."""
    found = re.search(r"cpu,isa:(.*)", output(program, *arguments))
    assert found
    return found[1]


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="Arm has other instructions")
def test_the_fastest_arithmetic_uses_what_the_processor_has_and_the_portable_one_avx2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert instructions(INSTRUCTIONS, "portable", str(tmp_path / "portable")) == "Intel AVX2"
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert instructions(INSTRUCTIONS, "fastest", str(tmp_path / "fastest")) == instructions(WITHOUT_LIMIT)
