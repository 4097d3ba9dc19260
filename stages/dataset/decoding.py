"""Decodes every image once, on all cores: into a row of its split, and into the facts that the checks need."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.dataset import bit_depth, near_duplicates
from stages.dataset.bit_depth import FULL_DEPTH
from stages.dataset.conversion import convert
from stages.dataset.image_bytes import UnreadableError
from stages.dataset.image_folders import ImageFolder, Member, reader
from stages.dataset.processes import parallel_map
from stages.splits import packed
from stages.splits.packed import Resize

TASK_BYTES = 3 * 2**20  # of decoded pixels: a thousand images of CIFAR-10, enough to make the messages cheap


@dataclass(frozen=True)
class Decoded:
    """Facts about n decoded images, in order; rows of unreadable ones are zero.

    Attributes:
        errors: by index, why an image is unreadable.
        conversions: by index, what was done to an image that was not RGB of the wanted size.
        depths: by index, the least of :data:`bit_depth.DEPTHS` that holds an image of 16 bits a channel.
        depth: as how many bits the images of 16 bits a channel were read.
        digests: uint64, shape (n,), hashes of the pixels. Among a million images, two different ones share a hash with
            a probability of 10^-8.
        spectra: int8, shape (n, 96), coarse structure, see ``near_duplicates.spectra``.
        means: float32, shape (n, 3), mean of each channel, 0 to 255.
        deviations: float32, shape (n, 3), standard deviation of each channel.

    Spectra, means and deviations leave a border out. With it images of one shape would look alike, and none be blank.
    """

    errors: dict[int, str]
    conversions: dict[int, str]
    depths: dict[int, int]
    depth: int
    digests: NDArray[np.uint64]
    spectra: NDArray[np.int8]
    means: NDArray[np.float32]
    deviations: NDArray[np.float32]


class Task(NamedTuple):
    """Images of one folder to decode together, into consecutive rows of the allocated split ``split``."""

    path: Path
    members: Sequence[Member]
    split: Path
    first_row: int
    image_size: int
    resize: Resize
    depth: int = FULL_DEPTH


def tasks_of(folders: Iterable[ImageFolder], split: Path, image_size: int, resize: Resize = "squash") -> list[Task]:
    """The tasks that fill ``split`` with the images of ``folders``, one folder after the other.

    Neither they nor the results depend on the number of processes.
    """
    at_once = max(1, TASK_BYTES // (3 * image_size**2))
    tasks: list[Task] = []
    row = 0
    for folder in folders:
        for start in range(0, len(folder.members), at_once):
            assert folder.path is not None
            members = folder.members[start : start + at_once]
            tasks.append(Task(folder.path, members, split, row, image_size, resize))
            row += len(members)
    return tasks


def decode(tasks: Sequence[Task], processes: int, advance: Callable[[int], None]) -> Decoded:
    """Decode the images of all ``tasks``, and call ``advance`` with each number of images done.

    The first task's split is the training split; images that are divided off later are still in it, so all folds have
    one depth. Its images of 16 bits a channel set the depth for all. If that is less than 16, tasks with such images
    are done again.

    Raises:
        UserError: a process was killed.
    """
    results = []
    with parallel_map(processes) as map_tasks:
        for result in map_tasks(_decode_task, tasks):
            results.append(result)
            advance(len(result.digests))
        training = [result for task, result in zip(tasks, results, strict=True) if task.split == tasks[0].split]
        depth = bit_depth.common_depth(own for result in training for own in result.depths.values())
        if depth < FULL_DEPTH:
            again = [index for index, result in enumerate(results) if result.depths]
            better = map_tasks(_decode_task, [tasks[index]._replace(depth=depth) for index in again])
            for index, result in zip(again, better, strict=True):
                results[index] = result
    return _concatenated(results, depth)


def _decode_task(task: Task) -> Decoded:
    count, size = len(task.members), task.image_size
    strip = Image.new("RGB", (size, size * count))  # one large array is made faster than a thousand small ones
    errors, conversions, pictures, depths = {}, {}, {}, {}
    with reader(task.path) as read, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's; what can't be repaired is an error too
        for index, member in enumerate(task.members):
            try:
                image, conversion, picture, depth = convert(read(member), size, task.depth, task.resize)
            except UnreadableError as error:
                errors[index] = str(error)
                continue
            if conversion:
                conversions[index] = conversion
            if picture:
                pictures[index] = image.crop(picture).resize((size, size), Image.Resampling.BILINEAR)
            if depth:
                depths[index] = depth
            strip.paste(image, (0, index * size))
    pixels = np.asarray(strip).reshape(count, size, size, 3)
    packed.open_images(task.split)[task.first_row : task.first_row + count] = pixels
    digests = b"".join(blake2b(image.data, digest_size=8).digest() for image in pixels)
    if pictures:
        pixels = pixels.copy()
        for index, stretched in pictures.items():
            pixels[index] = stretched
    channels = np.ascontiguousarray(pixels.reshape(count, -1, 3).transpose(0, 2, 1)).astype(np.float32)
    spectra = near_duplicates.spectra(_grey(channels, size))
    means = channels.mean(axis=2)
    channels -= means[:, :, np.newaxis]
    deviations = np.sqrt(np.einsum("ncp,ncp->nc", channels, channels) / size**2)
    return Decoded(
        errors=errors,
        conversions=conversions,
        depths=depths,
        depth=task.depth,
        digests=np.frombuffer(digests, np.uint64),
        spectra=spectra,
        means=means,
        deviations=deviations,
    )


def _grey(channels: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    """The images as Pillow makes them grey (ITU-R 601-2 luma in 16-bit fixed point), in the size of the comparison.

    Args:
        channels: whole numbers 0 to 255, shape (n, 3, size * size).
    """
    # float32 holds the sums, at most 255 * 2**16, exactly. This takes a fifth of the time of Pillow's `convert`.
    luma = np.array([19595, 38470, 7471], np.float32) @ channels
    grey = ((luma + 0x8000) / 0x10000).astype(np.uint8).reshape(-1, size, size)
    side = near_duplicates.SIDE
    if size == side:
        return grey
    small = [Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS) for image in grey]
    return np.stack([np.asarray(image) for image in small])


def _concatenated(results: Sequence[Decoded], depth: int) -> Decoded:
    if not results:
        no_spectra, no_channels = np.zeros((0, near_duplicates.LENGTH), np.int8), np.zeros((0, 3), np.float32)
        return Decoded({}, {}, {}, depth, np.zeros(0, np.uint64), no_spectra, no_channels, no_channels)
    starts = np.cumsum([0, *(len(result.digests) for result in results)]).tolist()

    def by_index(name: str) -> dict[int, Any]:
        return {
            start + i: value for start, r in zip(starts, results, strict=False) for i, value in getattr(r, name).items()
        }

    return Decoded(
        errors=by_index("errors"),
        conversions=by_index("conversions"),
        depths=by_index("depths"),
        depth=depth,
        digests=np.concatenate([result.digests for result in results]),
        spectra=np.concatenate([result.spectra for result in results]),
        means=np.concatenate([result.means for result in results]),
        deviations=np.concatenate([result.deviations for result in results]),
    )
