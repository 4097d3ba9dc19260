"""Decodes every image once, on all cores: into a row of its split, and into the facts that the checks need.

Each image becomes RGB of one size:

- What is not square becomes so in one of three ways. ``squash`` distorts it, as Keras's
  ``image_dataset_from_directory`` does by default. ``crop`` takes the largest square at its centre. ``pad`` keeps it
  whole, at the centre of a border. The border is black, as that of Keras's ``pad_to_aspect_ratio``: zeros, with which
  the convolutions pad too.
- It is turned as its EXIF or XMP orientation says, so a photograph is learnt as people see it.
- Transparent parts become white, as on a page. Without the alpha channel they would have whatever colour the drawing
  program left below it.
- 16 bits a channel become 8; see :mod:`stages.dataset.bit_depth`.
- Colour profiles and other metadata are ignored; see :mod:`stages.dataset.metadata`.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from stages.common import interrupts
from stages.common.console import UserError
from stages.common.file_names import printable
from stages.dataset import bit_depth, metadata, near_duplicates
from stages.dataset.bit_depth import FULL_DEPTH
from stages.dataset.image_folders import ImageFolder, Member, UnreadableError, reader
from stages.dataset.metadata import Orientation
from stages.splits import packed
from stages.splits.packed import Resize

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")  # few, because every decoder is open to attack by hostile files
MAX_PIXELS = 50_000_000  # more than most cameras give; 200 MB decoded
_TOO_LARGE = f"has more than {MAX_PIXELS:,} pixels"
TASK_BYTES = 3 * 2**20  # of decoded pixels: a thousand images of CIFAR-10, enough to make the messages cheap

# Pillow refuses to open an image of twice this limit; below that it only warns.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS

_TURNS = {  # by EXIF orientation; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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


class Converted(NamedTuple):
    """An image as RGB of the wanted size.

    Attributes:
        conversion: what was done to it; empty: nothing.
        picture: left, upper, right and lower edge of what is not border, if it has a border.
        depth: if it had 16 bits a channel.
    """

    image: Image.Image
    conversion: str
    picture: tuple[int, int, int, int] | None = None
    depth: int | None = None


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
    with _parallel_map(processes) as map_tasks:
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


def decode_image(
    data: bytes, size: int | None, depth: int = FULL_DEPTH, resize: Resize = "squash"
) -> tuple[Image.Image, str]:
    """One image as RGB of ``size`` × ``size``, and what was done to it, empty if nothing.

    If ``size`` is None, the image keeps its own. Of 16 bits a channel the lower ``depth`` are used.

    Raises:
        UnreadableError: ``data`` is no single image in one of :data:`FORMATS`, or is damaged or too large.
    """
    return _convert(data, size, depth, resize)[:2]


def _convert(data: bytes, size: int | None, depth: int, resize: Resize) -> Converted:
    if not data:
        raise UnreadableError("is empty")
    data, orientation = metadata.strip(data)
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableError(_TOO_LARGE)
            if _is_animated(image):
                raise UnreadableError("has several frames; save the one that is meant as a file of its own")
            deep = bit_depth.raw_mode(image)
            image = _load(image, data)
            if not deep:
                return _to_square_rgb(image, size, resize, orientation)
            own = bit_depth.depth_of(image)
            shallow = bit_depth.to_eight_bits(image, data, deep, depth)
            converted = _to_square_rgb(shallow, size, resize, orientation, image.mode)
            taken = bit_depth.description(depth, own)
            conversion = f"{converted.conversion}, {taken}" if converted.conversion else taken
            return converted._replace(conversion=conversion, depth=own)
    except UnreadableError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableError(_TOO_LARGE) from None
    except UnidentifiedImageError:
        raise UnreadableError(_why_not_identified(data)) from None
    except Exception as error:  # of a damaged file decoders raise anything, IndexError and struct.error too
        raise UnreadableError(f"can't be decoded: {printable(str(error)) or type(error).__name__}") from error


def _is_animated(image: ImageFile) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a GIF is damaged after its first frame
        return False


def _load(image: ImageFile, data: bytes) -> ImageFile:
    """Load the pixels of ``image``, just opened from ``data``."""
    try:
        image.load()
        return image
    except OSError:
        if image.format != "JPEG":
            raise
        image.close()
        # Some JPEGs lack only the end marker. If the picture is the same with any filler at the end, no pixel is
        # missing. Of 6,000 JPEGs that lacked a byte more, these three fillers accepted none, but two accepted 113.
        if len({_digest(_load_with_end(data, filler)) for filler in (b"\x00", b"\x55", b"\xaa")}) > 1:
            raise
        return _load_with_end(data, b"\x00")


def _load_with_end(data: bytes, filler: bytes) -> ImageFile:
    image = Image.open(BytesIO(data.removesuffix(b"\xff") + 100 * filler + b"\xff\xd9"), formats=("JPEG",))
    image.load()
    return image


def _digest(image: Image.Image) -> bytes:
    digest = blake2b()
    for box in bit_depth.strips(image):
        digest.update(image.crop(box).tobytes())
    return digest.digest()


def _why_not_identified(data: bytes) -> str:
    reason = f"is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"
    for kind in FORMATS:
        open_image, is_of_kind = Image.OPEN[kind]
        if is_of_kind and is_of_kind(data[:16]) is True:
            try:
                open_image(BytesIO(data), "")
            except Exception as error:
                return f"{reason} that can be opened: {printable(str(error))}"
    return reason


def _to_square_rgb(
    image: Image.Image, size: int | None, resize: Resize, orientation: Orientation, stored_mode: str | None = None
) -> Converted:
    """``image`` as :func:`decode_image` returns it; its file has ``stored_mode``, by default the image's own."""
    mode, (width, height), turned = stored_mode or image.mode, image.size, orientation.value in _TURNS
    transparent = image.has_transparency_data
    if mode == "RGB" and width == height == size and not turned and not transparent:
        return Converted(image, "")
    done = []
    # Convert before resizing only modes that can't be interpolated; convert the rest on the smaller image.
    if transparent:
        image = image.convert("RGBA")
    elif mode in {"P", "1"}:
        image = image.convert("RGB")
    if size is not None and (width, height) != (size, size):
        image, how = _resize(image, size, resize)
        done.append(f"{how} from {width}x{height}")
    if turned:
        done.append(f"turned as its {orientation.source} orientation says")
        image = image.transpose(_TURNS[orientation.value])
    if transparent:
        done.append(f"put on white from {mode} with transparency")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif mode != "RGB":
        done.append(f"converted from mode {mode}")
    image, picture = image.convert("RGB"), None
    if size is not None and image.size != (size, size):
        # Only now, when turned, converted and opaque, so that the border is centred and black whatever the file's mode.
        left, upper = (size - image.width) // 2, (size - image.height) // 2
        picture = (left, upper, left + image.width, upper + image.height)
        square = Image.new("RGB", (size, size), "black")
        square.paste(image, picture)
        image = square
    return Converted(image, ", ".join(done), picture)


def _resize(image: Image.Image, size: int, resize: Resize) -> tuple[Image.Image, str]:
    """``image`` in ``size`` × ``size``, or within it if it is still to be padded, and what becomes of it in words."""
    width, height = image.size
    target, done = (size, size), []
    if resize == "crop" and width != height:
        # At whole pixels. ImageOps.fit cuts at halves too, which blurs an image that is only cropped.
        side = min(width, height)
        left, upper = (width - side) // 2, (height - side) // 2
        image = image.crop((left, upper, left + side, upper + side))
        done.append("cropped")
    elif resize == "pad" and width != height:
        # At least a pixel. ImageOps.contain fails for an image that would be thinner.
        longest = max(width, height)
        target = (max(1, round(width * size / longest)), max(1, round(height * size / longest)))
        if target != (size, size):
            done.append("padded")
    if image.size != target:
        image = image.resize(target, Image.Resampling.BILINEAR)
        done.append("resized")
    return image, " and ".join(done)


def _decode_task(task: Task) -> Decoded:
    count, size = len(task.members), task.image_size
    strip = Image.new("RGB", (size, size * count))  # one large array is made faster than a thousand small ones
    errors, conversions, pictures, depths = {}, {}, {}, {}
    with reader(task.path) as read, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's; what can't be repaired is an error too
        for index, member in enumerate(task.members):
            try:
                image, conversion, picture, depth = _convert(read(member), size, task.depth, task.resize)
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


_Map = Callable[[Callable[[Task], Decoded], Iterable[Task]], Iterator[Decoded]]


@contextmanager
def _parallel_map(processes: int) -> Iterator[_Map]:
    """``map``, over ``processes`` processes if there are several."""
    if processes == 1:
        yield map
        return
    # "spawn" is the one start method that is safe beside other threads and the same on every system.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_set_up_process)

    def mapped(function: Callable[[Task], Decoded], tasks: Iterable[Task]) -> Iterator[Decoded]:
        with interrupts.hidden_from_children():
            return pool.map(function, tasks)  # starts the processes

    try:
        yield mapped
    except BrokenProcessPool:
        raise UserError("a process that decodes images was killed, most likely for want of memory") from None
    except KeyboardInterrupt:
        for process in active_children():  # the pool would wait for them
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _set_up_process() -> None:
    """End when the parent ends: a killed parent must not leave writers behind."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
