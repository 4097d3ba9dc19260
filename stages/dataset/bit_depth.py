"""Images of 16 bits a channel as images of 8.

Such a file often holds less: microscopes, detectors and depth cameras give 10 to 14 bits, and some programs write 8
bits into 16. The high 8 of the 16 then show black, or nearly so. So one depth is taken for all images, that of the
training images together: equal values stay equal in all of them, and the test split chooses nothing. Where the training
images use all 16 bits, the high 8 are kept, as Pillow does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.ImageChops import add

FULL_DEPTH = 16
DEPTHS = (8, 10, 12, 14, FULL_DEPTH)  # bits a channel that sensors and programs give
STRIP = 256  # rows

# Pillow's raw modes of PNGs of 16 bits a channel, and those that read the low byte instead of the high one. Grey with
# alpha has none, but can be read as four channels of 8 bits, the second of which is grey's low byte.
_LOW_BYTES = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "LA;16B": "RGBA"}


def raw_mode(image: Image.Image) -> str | None:
    """How the PNG ``image``, opened but not loaded, stores its 16 bits a channel; None for any other image."""
    tiles = getattr(image, "tile", None)
    mode = tiles[0].args if tiles else None
    return mode if mode == "I;16B" or mode in _LOW_BYTES else None


def depth_of(image: Image.Image) -> int:
    """The least of :data:`DEPTHS` that holds all greys or colours of a loaded image of 16 bits a channel."""
    # Of colours Pillow loads the high bytes alone. The fourth channel is alpha.
    shift = 8 if image.mode == "I;16" else 0
    high = max(int(np.max(channel.getextrema())) >> shift for channel in image.split()[:3])
    return next(depth for depth in DEPTHS if depth >= 8 + high.bit_length())


def common_depth(depths: Iterable[int]) -> int:
    """The depth for all images, given those of the training images; full if none of these has 16 bits a channel."""
    return max(depths, default=FULL_DEPTH)


def to_eight_bits(image: Image.Image, data: bytes, stored: str, depth: int) -> Image.Image:
    """A loaded image of 16 bits a channel, taken as of ``depth``; what is brighter becomes white. Alpha always has 16.

    ``image`` itself is not to be used any more.

    Args:
        data: the file, of which the low bytes of colours are read where they are needed.
        stored: what :func:`raw_mode` says of it.
    """
    transparent = image.info.get("transparency")  # a grey or colour of 16 bits that stands for no pixel
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
    """Boxes that cover ``image``, for work that would otherwise take several times its memory."""
    for top in range(0, image.height, STRIP):
        yield 0, top, image.width, min(top + STRIP, image.height)


def _low_bytes(data: bytes, stored: str) -> Image.Image:
    with Image.open(BytesIO(data), formats=("PNG",)) as image:
        image.tile = [image.tile[0]._replace(args=_LOW_BYTES[stored])]
        image.load()
    return Image.merge("RGBA", [image.getchannel("G")] * 4) if stored == "LA;16B" else image


def description(depth: int, own: int) -> str:
    """What a user is told of an image of 16 bits a channel that needs ``own`` of them and was taken as of ``depth``."""
    if depth == FULL_DEPTH:
        return "taken as 16 bits a channel" + f", of which it uses {own}" * (own < depth)
    brighter = ", and what is brighter as white" * (own > depth)
    return f"taken as {depth} bits a channel, as many as the training images use{brighter}"
