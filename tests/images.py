"""The bytes of images of many formats, and of some that no program writes."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

SIZE = 32


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


PNG = encoded(Image.fromarray(noise(SIZE, SIZE, 3)))
JPEG = encoded(Image.fromarray(noise(SIZE, SIZE, 3)), "JPEG")
GIF = encoded(Image.fromarray(noise(SIZE, SIZE)), "GIF")
BMP = encoded(Image.fromarray(noise(SIZE, SIZE, 3)), "BMP")
WEBP_OPTIONS = {"lossless": True, "exact": True}
WEBP = encoded(Image.fromarray(noise(SIZE, SIZE, 3)), "WEBP", **WEBP_OPTIONS)


def chunk(kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    """A chunk of a PNG, with its true checksum unless one is given."""
    checksum = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a hundred bytes that says it has this size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def png_of_16_bits(values: NDArray[np.uint16], *ancillary: bytes) -> bytes:
    """A PNG of ``values``, shape (height, width) or (height, width, channels), which Pillow can't write in colour."""
    height, width, channels = (*values.shape, 1)[:3]
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [chunk(b"IHDR", header), *ancillary, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def gradient(bits: int) -> NDArray[np.uint16]:
    """An image of 64 x 64 whose values go through all that so many bits can hold."""
    return np.array(np.arange(4096) * (2**bits - 1) // 4095, np.uint16).reshape(64, 64)


SIDEWAYS = 6  # must be turned by 90 degrees clockwise to be upright
EXIF = b"Exif\0\0MM\0*" + struct.pack(">LHHHLHxx", 8, 1, ExifTags.Base.Orientation, 3, 1, SIDEWAYS)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def raw_profile(name: str, content: bytes) -> bytes:
    """As ImageMagick writes EXIF and XMP into a text chunk."""
    digits = content.hex()
    lines = [digits[start : start + 72] for start in range(0, len(digits), 72)]
    return f"\n{name}\n{len(content):8}\n{chr(10).join(lines)}\n".encode()


def png_with(*chunks: bytes, behind_the_pixels: bool = False) -> bytes:
    position = PNG.index(b"IEND" if behind_the_pixels else b"IDAT") - 4
    return PNG[:position] + b"".join(chunks) + PNG[position:]


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    inserted = (struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content for marker, content in segments)
    return JPEG[:2] + b"".join(inserted) + JPEG[2:]


def itxt(content: bytes, packed: bool = False) -> bytes:
    head = b"XML:com.adobe.xmp\0" + bytes([packed]) + b"\0en\0translated\0"
    return chunk(b"iTXt", head + (zlib.compress(content) if packed else content))


def ztxt(keyword: str, content: bytes) -> bytes:
    return chunk(b"zTXt", keyword.encode() + b"\0\0" + zlib.compress(content))
