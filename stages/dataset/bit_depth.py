"""Converts images of 16 bits a channel to 8.

Such a file often uses fewer bits: microscopes, detectors and depth cameras give 10 to 14, and some programs write 8
into 16. The high 8 bits are then black, or nearly so. So all images are read with one depth, the one that the training
images need: equal values stay equal, and the test split chooses nothing. If the training images use all 16 bits, the
high 8 are kept, as Pillow does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.ImageChops import add

FULL_DEPTH = 16
DEPTHS = (8, 10, 12, 14, FULL_DEPTH)  # bits a channel of sensors and programs
STRIP_ROWS = 256

# Pillow's raw modes of PNGs of 16 bits a channel, and the modes that read the low byte instead of the high one. Grey
# with alpha has no such mode, but can be read as four channels of 8 bits, whose second is grey's low byte.
_LOW_BYTES = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "LA;16B": "RGBA"}


def raw_mode(image: Image.Image) -> str | None:
    """Pillow's raw mode of ``image``, opened but not loaded, if it is a PNG of 16 bits a channel; else None."""
    mode = _stored_mode(image)
    return mode if mode == "I;16B" or mode in _LOW_BYTES else None


def grey_step(image: Image.Image) -> int:
    """How many of the 256 greys that Pillow will load lie between two of ``image``, opened but not loaded."""
    return {"L;2": 85, "L;4": 17}.get(_stored_mode(image) or "", 1)


def _stored_mode(image: Image.Image) -> str | None:
    tiles = getattr(image, "tile", None)
    mode = tiles[0].args if tiles else None
    return mode if isinstance(mode, str) else None


def depth_of(image: Image.Image) -> int:
    """The least of :data:`DEPTHS` that holds all greys or colours of a loaded image of 16 bits a channel."""
    # Pillow loads only the high bytes of colours. The fourth channel is alpha.
    shift = 8 if image.mode == "I;16" else 0
    high = max(int(np.max(channel.getextrema())) >> shift for channel in image.split()[:3])
    return next(depth for depth in DEPTHS if depth >= 8 + high.bit_length())


def common_depth(depths: Iterable[int]) -> int:
    """The depth for all images, given the training images'; full if none of these has 16 bits a channel."""
    return max(depths, default=FULL_DEPTH)


def to_eight_bits(image: Image.Image, data: bytes, stored: str, depth: int) -> Image.Image:
    """Convert a loaded image of 16 bits a channel, read as ``depth`` bits; brighter values become white.

    Alpha is always read as 16 bits. ``image`` must not be used afterwards.

    Args:
        data: the file, for the low bytes of colours.
        stored: its :func:`raw_mode`.
    """
    transparent = image.info.get("transparency")  # a grey or colour of 16 bits that means transparent
    if image.mode == "I;16":
        pixels = np.asarray(image)
        scaled = pixels >> (depth - 8)
        grey = Image.fromarray(np.minimum(scaled, 255, out=scaled).astype(np.uint8))
        if transparent is not None:
            grey.putalpha(Image.fromarray(np.where(pixels == transparent, 0, 255).astype(np.uint8)))
        return grey
    if transparent is not None:
        image.info["transparency"] = tuple(min(255, value >> (depth - 8)) for value in transparent)
    if depth == FULL_DEPTH:
        return image
    shift = FULL_DEPTH - depth
    from_high = [min(255, value << shift) for value in range(256)] * 3
    from_low = [value >> (8 - shift) for value in range(256)] * 3
    if image.mode == "RGBA":
        from_high += range(256)
        from_low += [0] * 256
    low = _low_bytes(data, stored)
    for box in strips(image):
        image.paste(add(image.crop(box).point(from_high), low.crop(box).point(from_low)), box)
    return image


def strips(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """Boxes that cover ``image``, for work that would take several times its memory if done at once."""
    for top in range(0, image.height, STRIP_ROWS):
        yield 0, top, image.width, min(top + STRIP_ROWS, image.height)


def _low_bytes(data: bytes, stored: str) -> Image.Image:
    with Image.open(BytesIO(data), formats=("PNG",)) as image:
        image.tile = [image.tile[0]._replace(args=_LOW_BYTES[stored])]
        image.load()
    return Image.merge("RGBA", [image.getchannel("G")] * 4) if stored == "LA;16B" else image


def description(depth: int, own: int) -> str:
    """How an image of 16 bits a channel that uses ``own`` of them was read with ``depth``, in words for the user."""
    if depth == FULL_DEPTH:
        return "taken as 16 bits a channel" + f", of which it uses {own}" * (own < depth)
    brighter = ", and what is brighter as white" * (own > depth)
    return f"taken as {depth} bits a channel, as many as the training images use{brighter}"
