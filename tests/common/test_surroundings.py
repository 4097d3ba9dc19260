"""What a user has set for other work, in files and in variables, reaches no result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import yaml

from stages.common import surroundings
from stages.common.files import png
from stages.dataset import figures
from tests.defaults import ROOT

# `backend` and `image.lut` are used while matplotlib is imported, the rest while it draws.
MATPLOTLIBRC = b"image.lut: 3\naxes.facecolor: black\nfont.family: monospace\nsavefig.bbox: tight\ntext.usetex: True\n"
NO_TEXT = b"font.family: \xff\xfe\n"

DRAW = """
import numpy as np
from hashlib import sha256
from stages.common.files import png
from stages.dataset import figures
print(sha256(png(figures.class_counts({"train": np.array([3, 4])}, ["cat", "dog"]))).hexdigest())
from stages.common.drawing import Figure
figure = Figure()
figure.subplots().imshow(np.arange(100).reshape(10, 10), cmap="Blues")
print(sha256(png(figure)).hexdigest())
"""

TRAIN = """
from stages.model.backend import keras, tf
from stages.model import network
import numpy as np
from hashlib import sha256
from tests.defaults import SETTINGS
keras.utils.set_random_seed(1)
model = network.build(SETTINGS.model, 32, 10)
step = tf.function(lambda images: model(images))
with tf.GradientTape() as tape:
    loss = tf.reduce_sum(step(tf.constant(np.arange(3072, dtype=np.float32).reshape(1, 32, 32, 3) % 256))[:, :3])
gradients = tape.gradient(loss, model.trainable_variables)
print(model.input_shape, sha256(b"".join(each.numpy().tobytes() for each in gradients)).hexdigest())
"""


def run(program: str, folder: Path, **variables: str) -> str:
    """What ``program`` prints in ``folder``, on standard output and as errors."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    return run(DRAW, tmp_path_factory.mktemp("plain"))


@pytest.mark.slow
def test_the_pictures_to_compare_with_are_those_that_this_process_draws(pictures: str) -> None:
    drawn = png(figures.class_counts({"train": np.array([3, 4])}, ["cat", "dog"]))
    assert pictures.startswith(sha256(drawn).hexdigest())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("here", MATPLOTLIBRC),
        ("here", NO_TEXT),
        ("MATPLOTLIBRC", MATPLOTLIBRC),
        ("MPLCONFIGDIR", MATPLOTLIBRC),
        ("XDG_CONFIG_HOME", MATPLOTLIBRC),
        ("home", NO_TEXT),
    ],
)
def test_a_matplotlibrc_changes_no_picture(place: str, content: bytes, pictures: str, tmp_path: Path) -> None:
    where = {"XDG_CONFIG_HOME": "matplotlib", "home": ".config/matplotlib"}.get(place, "")
    file = tmp_path / where / "matplotlibrc"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    # The list of fonts, which takes seconds to make, is left where it is.
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    variable = {"here": {}, "home": {"HOME": str(tmp_path), "XDG_CACHE_HOME": cache}}.get(place, {place: str(tmp_path)})
    folder = tmp_path if place == "here" else ROOT
    assert run(DRAW, folder, **variable) == pictures


@pytest.mark.slow
def test_variables_change_no_picture(pictures: str, tmp_path: Path) -> None:
    assert run(DRAW, tmp_path, MPLBACKEND="nonsense", FREETYPE_PROPERTIES="autofitter:no-stem-darkening=0") == pictures


@pytest.mark.slow
def test_keras_settings_and_tensorflows_variables_change_no_network(tmp_path: Path) -> None:
    plain = run(TRAIN, ROOT)
    assert plain.startswith("(None, 32, 32, 3) ")
    for folder in (tmp_path / ".keras", tmp_path / "named"):
        folder.mkdir()
        settings = {"floatx": "float64", "epsilon": 0.1, "image_data_format": "channels_first", "backend": "jax"}
        (folder / "keras.json").write_text(json.dumps(settings))
    variables = {
        "AUTOGRAPH_STRICT_CONVERSION": "1",
        "KERAS_BACKEND": "jax",
        "KERAS_MAX_EPOCHS": "nonsense",
        "KERAS_NNX_ENABLED": "1",
        "TF_CONFIG": "nonsense",
        "TF_ENABLE_TENSOR_ARRAY_V2": "0",
        "TF_FUNCTION_JIT_COMPILE_DEFAULT": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_USE_LEGACY_KERAS": "1",
        "TF_XLA_FLAGS": "--nonsense",
        "TF2_BEHAVIOR": "0",
        "XLA_FLAGS": "--nonsense",
    }
    assert run(TRAIN, ROOT, HOME=str(tmp_path), **variables) == plain
    (tmp_path / ".keras/keras.json").unlink()
    assert run(TRAIN, ROOT, HOME=str(tmp_path), KERAS_HOME=str(tmp_path / "named")) == plain
    assert list((tmp_path / ".keras").iterdir()) == []  # Keras itself would write a file of its settings there


def test_variables_that_say_where_a_library_runs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"TF_GPU_ALLOCATOR", "CUDA_VISIBLE_DEVICES", "GIT_AUTHOR_NAME", "http_proxy"}
    dropped = {"TF_CUDNN_USE_AUTOTUNE", "TQDM_ASCII", "SCIPY_ARRAY_API", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
    for name in kept | dropped:
        monkeypatch.setenv(name, "1")
    surroundings.drop_settings()
    assert kept <= set(os.environ)
    assert not dropped & set(os.environ)


def test_pythons_variables_and_the_locale_do_not_reach_a_stage(tmp_path: Path) -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    options = ["-E", "-X", "utf8"]
    assert [stage["cmd"].split()[1:-2] for stage in stages.values()] == [options] * len(stages)
    (tmp_path / "numpy.py").write_text("raise ImportError('a NumPy for other work')")
    program = "import sys, numpy; print(sys.flags.utf8_mode, sys.stdout.encoding, sys.flags.optimize)"
    variables = {"PYTHONPATH": str(tmp_path), "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1", "PYTHONOPTIMIZE": "2"}
    done = subprocess.run(
        [sys.executable, *options, "-c", program],
        env=os.environ | variables,
        text=True,
        capture_output=True,
        check=True,
    )
    assert done.stdout == "1 utf-8 0\n"
