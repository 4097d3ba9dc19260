"""The network as a table."""

from __future__ import annotations

from pathlib import Path

from stages.model import summary
from stages.model.backend import keras
from stages.model.network import build
from stages.model.summary import Layer, layers
from tests.defaults import SETTINGS


def test_the_table_is_the_notebooks_summary() -> None:
    table = layers(build(SETTINGS.model, 32, 10))
    assert table[0] == Layer("InputLayer", "32, 32, 3", 0, 0)
    assert [each for each in table if each.parameters] == [
        Layer("Conv2D", "32, 32, 16", 448, 27 * 16 * 32 * 32),
        Layer("Conv2D", "16, 16, 32", 4640, 9 * 16 * 32 * 16 * 16),
        Layer("Conv2D", "8, 8, 64", 18496, 9 * 32 * 64 * 8 * 8),
        Layer("Dense", "128", 131200, 1024 * 128),
        Layer("Dense", "10", 1290, 128 * 10),
    ]


def test_a_convolution_in_two_steps_counts_both_its_kernels() -> None:
    pixels = keras.Input((8, 8, 3))
    across = keras.layers.SeparableConv2D(16, 3, padding="same")(pixels)
    table = layers(keras.Model(pixels, keras.layers.DepthwiseConv2D(5, padding="same")(across)))
    assert [each.multiply_adds for each in table] == [0, (9 * 3 + 3 * 16) * 8 * 8, 25 * 16 * 8 * 8]


def test_the_moving_averages_of_batch_normalisation_are_in_the_table() -> None:
    model = build(SETTINGS.model.model_copy(update={"batch_normalization": True}), 32, 10)
    plain = build(SETTINGS.model, 32, 10)
    # Scale, shift, mean and variance of each channel.
    more = sum(each.parameters for each in layers(model)) - sum(each.parameters for each in layers(plain))
    assert more == 4 * (16 + 32 + 64)


def test_the_table_is_read_back_from_a_row_a_layer(tmp_path: Path) -> None:
    table = layers(build(SETTINGS.model, 32, 10))
    summary.write(tmp_path / "layers.json", table)
    assert len((tmp_path / "layers.json").read_text().splitlines()) == len(table) + 2
    assert summary.load(tmp_path / "layers.json") == table
