"""The memory that images take: bytes and not numbers of images, whatever their size and the network's."""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.model import memory, network, training, validation
from stages.model.backend import keras
from stages.model.plain import Plain
from stages.model.prediction import PREDICTION_BATCHES, predict_probabilities
from stages.splits import packed
from stages.splits.packed import Split
from tests.defaults import SETTINGS
from tests.drawn import make_split

SIZES = (8, 32, 64, 128, 224, 512, 1024)
SMALL = SETTINGS.model.model_copy(update={"filters": (4,), "dense": (8,)})
LARGE = SETTINGS.model.model_copy(update={"filters": (32, 64, 128), "convolutions": 2, "dense": ()})
RECIPE = SETTINGS.train.model_copy(update={"batch_size": 8, "epochs": 1})


@pytest.mark.slow
@pytest.mark.parametrize("settings", [SMALL, LARGE, SETTINGS.model.model_copy(update={"dense": ()})])
@pytest.mark.parametrize("sizes", [PREDICTION_BATCHES, validation.BATCHES])
def test_what_the_layers_make_of_a_batch_keeps_to_its_bytes_at_every_image_size(
    settings: Plain, sizes: tuple[int, ...]
) -> None:
    for image_size in SIZES:
        model = network.build(settings, image_size, classes=2)
        size = memory.batch_size(model, sizes)
        assert size in sizes
        assert sizes[-1] <= 2
        assert size == sizes[-1] or size * memory.layer_bytes(model) <= memory.LAYER_BYTES


def test_the_bytes_of_the_layers_are_those_of_their_outputs_as_float32() -> None:
    model = network.build(SMALL, 16, classes=3)
    outputs = keras.Model(model.inputs, [layer.output for layer in model.layers])(
        [np.zeros((1, 16, 16, 3), np.float32)]
    )
    assert memory.layer_bytes(model) == sum(4 * math.prod(output.shape) for output in outputs)


@pytest.mark.parametrize("batch_size", [1, 64, 1_000, 1_000_000])
@pytest.mark.parametrize("image_size", SIZES)
def test_the_images_of_a_call_keep_to_their_bytes_or_are_one_batch(image_size: int, batch_size: int) -> None:
    batches = memory.batches_a_call(image_size, batch_size, training.BATCHES_A_CALL)
    assert 1 <= batches <= training.BATCHES_A_CALL
    assert batches == 1 or batches * batch_size * 3 * image_size**2 <= packed.BYTES_AT_ONCE


def test_the_default_run_is_cut_as_it_always_was() -> None:
    model = network.build(SETTINGS.model, 32, classes=10)
    size = memory.batch_size(model, validation.BATCHES)
    assert (size, memory.batches_a_call(32, size, validation.BATCHES_A_CALL)) == (100, 100)
    assert memory.batches_a_call(32, SETTINGS.train.batch_size, training.BATCHES_A_CALL) == training.BATCHES_A_CALL


@dataclass
class Watched:
    """Images that note how many bytes of them are read together."""

    pixels: NDArray[np.uint8]
    read: list[int] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.pixels.shape

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: Any) -> NDArray[np.uint8]:
        chosen = np.array(self.pixels[rows])
        self.read.append(chosen.nbytes)
        return chosen


def watched(split: Split) -> tuple[Split, list[int]]:
    images = Watched(split.images)
    return replace(split, images=images), images.read  # type: ignore[arg-type]


def weights_of(train: Split, held_out: Split) -> list[NDArray[np.float32]]:
    weights: list[NDArray[np.float32]] = training.train(SMALL, RECIPE, 1, train, held_out).network.get_weights()
    return weights


@pytest.mark.slow
def test_training_and_predicting_read_no_more_images_at_a_time_and_less_memory_changes_no_weight(
    training_split: Split, validation_split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = weights_of(training_split, validation_split)
    image_bytes = 3 * 16**2
    monkeypatch.setattr(packed, "BYTES_AT_ONCE", 20 * image_bytes)
    monkeypatch.setattr(memory, "LAYER_BYTES", 10 * memory.layer_bytes(network.build(SMALL, 16, classes=3)))
    (train, training_reads), (held_out, validation_reads) = watched(training_split), watched(validation_split)
    for one, other in zip(weights_of(train, held_out), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    for_fingerprint = -(-len(train.labels) // 20)
    assert max(training_reads[:for_fingerprint]) == 20 * image_bytes
    assert max(training_reads[for_fingerprint:]) == 16 * image_bytes  # two batches of 8
    assert max(validation_reads) == 20 * image_bytes  # two of 10
    validation_reads.clear()
    predict_probabilities(network.build(SMALL, 16, classes=3), held_out.images)
    assert max(validation_reads) == 16 * image_bytes  # two of 8


def resident(path: Path) -> int:
    """The bytes of the file that the process has in memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    found = 0
    for line in lines:
        if line.endswith(str(path)):
            found += next(int(each.split()[1]) * 1024 for each in lines if each.startswith("Rss:"))
    return found


@pytest.mark.skipif(not Path("/proc/self/smaps").exists() or not hasattr(mmap, "MADV_DONTNEED"), reason="needs Linux")
def test_what_was_read_of_a_split_does_not_stay_in_memory(tmp_path: Path) -> None:
    split = make_split(tmp_path / "split", (60,), seed=1, size=64)
    file = tmp_path / "split/images.npy"
    everything = int(np.sum(split.images, dtype=np.int64))
    assert resident(file) > file.stat().st_size // 2
    packed.drop_pages(split.images[3:])
    assert resident(file) == 0
    assert sum(int(np.sum(piece, dtype=np.int64)) for piece in packed.pieces(split.images, 7)) == everything
    assert resident(file) == 0
