"""The model's file: equal models in equal bytes, and nothing else is opened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.common import parameters
from stages.common.console import UserError
from stages.model import network
from stages.model.backend import keras
from stages.model.prediction import predict_probabilities
from stages.model.saved import load_model, save_model

SETTINGS = parameters.load()

SAVE = """
import sys
from stages.common import parameters
from stages.model import network
from stages.model.backend import keras
from stages.model.saved import save_model
keras.utils.set_random_seed(1)
save_model(sys.argv[1], network.build(parameters.load().model, image_size=32, classes=10))
"""


def test_two_processes_write_equal_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "first.keras", tmp_path / "second.keras"]
    for path in paths:
        subprocess.run([sys.executable, "-c", SAVE, path], check=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["first.keras", "second.keras"]


def test_a_saved_model_opens_in_keras_and_predicts_the_same(tmp_path: Path) -> None:
    model = network.build(SETTINGS.model, image_size=32, classes=10)
    save_model(tmp_path / "model.keras", model)
    images = np.random.default_rng(0).integers(0, 256, (1200, 32, 32, 3)).astype(np.uint8)
    expected = model.predict(images.astype(np.float32), verbose=0)
    np.testing.assert_allclose(predict_probabilities(load_model(tmp_path / "model.keras"), images), expected, atol=1e-6)
    opened = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(opened.predict(images.astype(np.float32), verbose=0), expected, atol=1e-6)


def test_a_missing_model_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.keras not found; run `dvc repro train`"):
        load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("content", [b"", b"no model", b"PK\x03\x04 cut off"])
def test_a_damaged_model_is_a_user_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(UserError, match="can't be opened as this pipeline's model"):
        load_model(tmp_path / "model.keras")


def test_a_model_with_a_lambda_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs)).save(tmp_path / "model.keras")
    with pytest.raises(UserError, match="can't be opened as this pipeline's model") as caught:
        load_model(tmp_path / "model.keras")
    assert "\n" not in str(caught.value)
