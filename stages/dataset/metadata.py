"""Reads the orientation from an image file's metadata, then removes the metadata, so that only pixels are decoded.

Profiles, texts and thumbnails are of no use in training, but decoders are strict about them: Pillow refuses a PNG whose
profile is large or whose comment has a wrong checksum, and takes the extra images that phones append to a JPEG for the
frames of a film. Removed metadata can't do this, and needs no memory.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

ORIENTATION = 0x0112  # the tag, in EXIF as in TIFF
_INTEGERS = {1: "B", 3: "H", 4: "L"}  # TIFF's types in which files give an orientation; the standard's is the second
_IN_XMP = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])""")

# Limits, because a text of a kilobyte can unpack to a megabyte, and a file can hold thousands.
MAX_TEXTS = 10
MAX_TEXT_BYTES = 2**20

_TEXT_CHUNKS = {b"tEXt", b"zTXt", b"iTXt"}
_XMP, _RAW = b"XML:com.adobe.xmp\0", b"Raw profile type "
_KEYWORDS = (_XMP, _RAW + b"exif\0", _RAW + b"APP1\0", _RAW + b"xmp\0")

_PNG_CHUNK = struct.Struct(">I4s")
_ANCILLARY = 0x20  # this bit of the first letter of a PNG chunk's name says that decoders may skip the chunk
_ANCILLARY_BUT_NEEDED = {b"tRNS", b"acTL", b"fcTL", b"fdAT"}  # for transparency, and to recognise an animation
_WEBP_PIXELS = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"}


class Orientation(NamedTuple):
    """How a picture must be turned, by EXIF's number from 1 (upright) to 8, and which metadata say so."""

    value: int
    source: str


UPRIGHT = Orientation(1, "")


class _Part(NamedTuple):
    """A part of a file that no decoder needs, the bytes ``start:end``; ``content`` is its EXIF or XMP data, if any."""

    start: int
    end: int
    content: bytes = b""


def strip(data: bytes) -> tuple[bytes, Orientation]:
    """An image file without its metadata, and the orientation that these give; EXIF goes before XMP.

    Formats other than PNG, JPEG and WebP are returned unchanged.
    """
    parts: Callable[[bytes], Iterator[_Part]]
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        parts = _in_png
    elif data.startswith(b"\xff\xd8\xff"):
        parts = _in_jpeg
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        parts = _in_webp
    else:
        return data, UPRIGHT
    kept, contents, position = [], [], 0
    for part in parts(data):
        kept.append(data[position : part.start])
        if part.content:
            contents.append(part.content)
        position = part.end
    pixels = b"".join([*kept, data[position:]]) if position else data
    if parts is _in_webp:  # its header has the length of the rest
        pixels = b"RIFF" + struct.pack("<I", len(pixels) - 8) + pixels[8:]
    return pixels, _orientation(contents)


def _orientation(contents: list[bytes]) -> Orientation:
    for read, source in ((_exif_orientation, "EXIF"), (_xmp_orientation, "XMP")):
        for content in contents[:MAX_TEXTS]:
            if 1 <= (value := read(content)) <= 8:
                return Orientation(value, source)
    return UPRIGHT


def _exif_orientation(content: bytes) -> int:
    """The orientation in the first directory of EXIF data (TIFF 6.0, section 2); 0 if there is none.

    Pillow would load every entry, and fail at the first damaged one.
    """
    tiff = re.sub(rb"\A(?:Exif\0\0)*", b"", content)
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 0
    try:
        (start,) = struct.unpack_from(f"{order}L", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == ORIENTATION and kind in _INTEGERS:
                return int(struct.unpack_from(order + _INTEGERS[kind], tiff, entry + 8)[0])
    except struct.error:  # cut off
        pass
    return 0


def _xmp_orientation(content: bytes) -> int:
    match = _IN_XMP.search(content)
    return int(match[1]) if match else 0


def _in_png(data: bytes) -> Iterator[_Part]:
    """The chunks that decoders may skip (PNG, third edition, 5.4), unless the pixels need them."""
    position, texts = 8, 0
    while position + 8 <= len(data):
        length, name = _PNG_CHUNK.unpack_from(data, position)
        end = position + 12 + length
        if name == b"IEND":
            return
        if name[0] & _ANCILLARY and name.isalpha() and name not in _ANCILLARY_BUT_NEEDED:
            content = b""
            if name == b"eXIf":
                content = data[position + 8 : end - 4]
            elif name in _TEXT_CHUNKS and texts < MAX_TEXTS and data.startswith(_KEYWORDS, position + 8):
                content = _text_content(name, data[position + 8 : end - 4])
                texts += 1
            yield _Part(position, end, content)
        position = end


def _text_content(name: bytes, chunk: bytes) -> bytes:
    """The EXIF or XMP data in a text chunk of a PNG; empty if they can't be read.

    XMP has its own keyword. ImageMagick and programs like it write both as a "raw profile": a line with the name, a
    line with the length, and the bytes as hexadecimal digits.
    """
    keyword, _, text = chunk.partition(b"\0")
    packed = name == b"zTXt" or (name == b"iTXt" and text[:1] == b"\1")
    if name == b"zTXt":
        text = text[1:]  # after the method
    elif name == b"iTXt":
        text = text[2:].split(b"\0", 2)[-1]  # after flag, method, language and translated keyword
    try:
        if packed:
            text = zlib.decompressobj().decompress(text, MAX_TEXT_BYTES)
        if keyword.startswith(_RAW):
            digits = re.sub(rb"\A\s*\S+\s+\d+|\s", b"", text)
            text = bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii"))
    except (zlib.error, ValueError):
        return b""
    return text


def _in_jpeg(data: bytes) -> Iterator[_Part]:
    """Comments and application segments before the first scan (ITU-T T.81, annex B).

    Segments that say how colours are stored are left in; libjpeg reads the same ones, of at least these lengths.
    """
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # padding
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        end = position + 2 + length
        if marker < 0xC0 or 0xD0 <= marker <= 0xDA or length < 2 or end > len(data):
            return
        content = data[position + 4 : end]
        colours = (marker == 0xE0 and content.startswith(b"JFIF\0") and len(content) >= 14) or (
            marker == 0xEE and content.startswith(b"Adobe") and len(content) >= 12
        )
        if (0xE0 <= marker <= 0xEF or marker == 0xFE) and not colours:
            tells = marker == 0xE1 and content.startswith((b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"))
            yield _Part(position, end, content if tells else b"")
        position = end


def _in_webp(data: bytes) -> Iterator[_Part]:
    """The chunks of a RIFF file that hold no pixels, also a truncated one, and whatever follows the last."""
    (size,) = struct.unpack_from("<I", data, 4)
    stop = min(8 + size, len(data))
    position = 12
    while position + 8 <= stop:
        name, length = struct.unpack_from("<4sI", data, position)
        end = position + 8 + length + length % 2
        if name not in _WEBP_PIXELS:
            yield _Part(position, min(end, stop), data[position + 8 : position + 8 + length])
        position = end
    if min(position, stop) < len(data):
        yield _Part(min(position, stop), len(data))
