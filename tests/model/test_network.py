"""The network that the parameters describe."""

from __future__ import annotations

import numpy as np
import pytest

from stages.common.console import UserError
from stages.model import network
from stages.model.settings import Model
from tests.defaults import SETTINGS

NOTEBOOK = SETTINGS.model


def changed(**changes: object) -> Model:
    return Model.model_validate(NOTEBOOK.model_dump() | changes)


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
