"""Small images that the tests draw themselves, each unlike every other, in folders and in packed splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.splits import packed
from stages.splits.packed import Split

CLASSES = ("000_circle", "001_square", "002_cross")


def draw(label: int, generator: np.random.Generator, size: int = 16) -> NDArray[np.uint8]:
    """A noisy image, uint8, shape (size, size, 3), whose brightest third tells its class."""
    image = generator.integers(0, 128, (size, size, 3))
    third = size // 3
    image[label * third : (label + 1) * third] += 100
    return image.astype(np.uint8)


def draw_folder(folder: Path, per_class: int, seed: int, size: int = 16) -> None:
    """A folder of class folders with ``per_class`` PNG files in each."""
    generator = np.random.default_rng(seed)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            Image.fromarray(draw(label, generator, size)).save(folder / name / f"{number:03d}.png")


def make_split(folder: Path, folder_sizes: tuple[int, ...], seed: int, size: int = 16) -> Split:
    """A verified split of drawn images on disk."""
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.sort(np.arange(count) % len(CLASSES)) for count in folder_sizes]).astype(np.int32)
    folder.mkdir(parents=True)
    packed.allocate_images(folder, len(labels), size)
    images = packed.open_images(folder)
    for row, label in enumerate(labels):
        images[row] = draw(int(label), generator, size)
    images.flush()  # type: ignore[attr-defined]
    names = [f"folder/{CLASSES[label]}/{row:05d}.png" for row, label in enumerate(labels)]
    packed.complete(folder, labels, CLASSES, folder_sizes, names)
    return packed.load(folder)
