"""The network that the parameters describe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.common.console import UserError
from stages.model import network, summary
from stages.model.backend import keras
from stages.model.plain import Plain
from stages.model.residual import Residual
from stages.model.saved import load_model, save_model
from tests.defaults import SETTINGS

NOTEBOOK = SETTINGS.model


def changed(**changes: object) -> Plain:
    return Plain.model_validate(NOTEBOOK.model_dump() | changes)


def test_the_defaults_are_the_notebooks_network() -> None:
    model = network.build(NOTEBOOK, image_size=32, classes=10)
    assert model.count_params() == 156_074
    names = [layer.__class__.__name__ for layer in model.layers]
    assert names == ["InputLayer", "Rescaling", *["Conv2D", "MaxPooling2D"] * 3, "Flatten", "Dense", "Dense"]
    assert [layer.count_params() for layer in model.layers if layer.count_params()] == [448, 4640, 18496, 131200, 1290]
    assert model.layers[-3].output.shape == (None, 4 * 4 * 64)


def test_the_notebooks_future_work_is_a_matter_of_parameters() -> None:
    future = changed(filters=(32, 64, 128), convolutions=2, dense=(256,), batch_normalization=True, dropout=0.5)
    names = [layer.__class__.__name__ for layer in network.build(future, image_size=32, classes=10).layers]
    block = ["Conv2D", "BatchNormalization", "Activation"] * 2 + ["MaxPooling2D"]
    assert names == ["InputLayer", "Rescaling", *block * 3, "Flatten", "Dropout", "Dense", "Dropout", "Dense"]


def test_the_model_takes_raw_pixels_and_gives_probabilities() -> None:
    model = network.build(NOTEBOOK, image_size=32, classes=10)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(model.predict_on_batch(pixels).sum(axis=1), 1, rtol=1e-5)
    assert model.layers[1].scale == 1 / 255


def test_no_hidden_dense_layer_is_allowed() -> None:
    assert network.build(changed(dense=()), image_size=32, classes=10).count_params() == 448 + 4640 + 18496 + 10250


@pytest.mark.parametrize("change", [{"filters": (8,) * 6}, {"padding": "valid", "kernel_size": 9}, {"pool_size": 40}])
def test_blocks_that_shrink_the_image_to_nothing_are_an_error(change: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"model.filters: block \d would get an image of \d+ pixels and needs \d+"):
        network.build(changed(**change), image_size=32, classes=10)


def residual(**changes: object) -> Residual:
    section = {"family": "residual", "stem": 24, "filters": (32, 64, 64), "blocks": (1, 1, 1), "pool_sizes": (2, 2, 2)}
    rest = {"convolutions": 1, "global_pooling": "max", "dropout": 0.0, "mirrored_view": False}
    return Residual.model_validate(section | rest | changes)


def test_a_residual_network_has_its_blocks_where_the_parameters_put_them() -> None:
    model = network.build(residual(blocks=(0, 2, 1), pool_sizes=(1, 2, 2), dropout=0.1), image_size=32, classes=10)
    names = [layer.__class__.__name__ for layer in model.layers]
    convolution = ["Conv2D", "BatchNormalization", "Activation"]
    pooled = ["Conv2D", "MaxPooling2D", "BatchNormalization", "Activation"]
    block = [*convolution, "Add"]
    stages = [*convolution, *convolution, *pooled, *block * 2, *pooled, *block]
    assert names == ["InputLayer", "Rescaling", *stages, "GlobalMaxPooling2D", "Dropout", "Dense"]
    assert model.layers[-4].output.shape == (None, 8, 8, 64)


def test_a_block_adds_to_what_it_gets() -> None:
    model = network.build(residual(), image_size=32, classes=10)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel.assign(np.zeros(layer.kernel.shape))
    add = next(layer for layer in model.layers if isinstance(layer, keras.layers.Add))
    through = keras.Model(model.inputs, [*add.input, add.output])
    shortcut, added, result = through([np.ones((2, 32, 32, 3), np.float32)])
    np.testing.assert_array_equal(added, np.zeros(added.shape))
    np.testing.assert_array_equal(result, shortcut)


@pytest.mark.parametrize("change", [{"pool_sizes": (2, 4, 8)}, {"pool_sizes": (33, 1, 1)}])
def test_stages_that_shrink_the_image_to_nothing_are_an_error(change: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"model.pool_sizes: stage \d would get an image of \d+ pixels and needs \d+"):
        network.build(residual(**change), image_size=32, classes=10)


@pytest.mark.slow
def test_the_mirrored_view_is_a_part_of_the_saved_model(tmp_path: Path) -> None:
    section = residual(filters=(8, 8, 8), mirrored_view=True)
    plain = network.build(section, image_size=16, classes=3)
    save_model(tmp_path / "model.keras", network.for_predictions(section, plain), "abc")
    saved = load_model(tmp_path / "model.keras")
    assert saved.count_params() == plain.count_params()
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype(np.float32)
    found, mirrored = (saved.predict_on_batch(batch) for batch in (images, images[:, :, ::-1]))
    np.testing.assert_allclose(found, mirrored, rtol=1e-5)
    both = [plain.predict_on_batch(batch) for batch in (images, images[:, :, ::-1])]
    np.testing.assert_allclose(found, np.mean(both, axis=0), rtol=1e-5)
    table = summary.layers(saved)
    assert sum(layer.parameters for layer in table) == plain.count_params()
    assert [layer.kind for layer in table].count("Conv2D") == 7
