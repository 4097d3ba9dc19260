"""Reads the bytes of one image, from a file or from a zip, and no more of them than an image may have.

Both are taken as hostile: what a zip's directory says of a member is compared with what is there.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

MAX_IMAGE_BYTES = 64 * 2**20  # a photograph of 50 million pixels has 10 to 30 MB


class UnreadableError(Exception):
    """An image can't be read; the text is the reason, to follow the image's name."""


class ZipEntry(NamedTuple):
    """A member as its zip's directory describes it; sizes in bytes."""

    offset: int
    compressed_size: int
    size: int
    crc: int
    deflated: bool


def zip_directory(path: Path) -> list[zipfile.ZipInfo]:
    """The members that a zip's directory lists.

    Raises:
        UnreadableError: it can't be opened, it is no zip, or the members can't be as large as it says (a zip bomb).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise UnreadableError(f"is no sound zip file: {error}") from error
    except OSError as error:
        raise UnreadableError(cannot_open(error)) from error
    size = path.stat().st_size
    if sum(info.compress_size for info in infos) > size or not all(0 <= info.header_offset < size for info in infos):
        raise UnreadableError("is no sound zip file: its members overlap, or lie outside of it")
    return infos


def member_problem(info: zipfile.ZipInfo) -> str | None:
    """Why a zip's member must not be read, whatever its name; None if it may."""
    if info.flag_bits & 0x41:  # bit 0: encrypted; bit 6: strongly
        return "is encrypted"
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return "is compressed by another method than deflate"
    if (size := max(info.file_size, info.compress_size)) > MAX_IMAGE_BYTES:
        return too_large(size)
    return None


def zip_entry(info: zipfile.ZipInfo) -> ZipEntry:
    """Where a zip's member is; :func:`member_problem` must have nothing against it."""
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    return ZipEntry(info.header_offset, info.compress_size, info.file_size, info.CRC, deflated)


def cannot_open(error: OSError) -> str:
    return f"can't be opened: {error.strerror}"


def too_large(size: int) -> str:
    return f"has {size:,} bytes; an image may have {MAX_IMAGE_BYTES:,} at most"


def read_file(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_IMAGE_BYTES + 1)
    except OSError as error:
        raise UnreadableError(cannot_open(error)) from error
    if len(data) > MAX_IMAGE_BYTES:
        raise UnreadableError("has grown since it was listed")
    return data


def read_zip_entry(archive: BinaryIO, entry: ZipEntry) -> bytes:
    """The bytes of a member, read without :class:`zipfile.ZipFile`.

    A process that decodes some images of a zip thus need not parse the whole directory, which takes as long as decoding
    a thousand images and, in a large zip, more memory than all else.
    """
    archive.seek(entry.offset)
    header = archive.read(30)  # fixed part of a local header; PKWARE's APPNOTE 4.3.7
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        raise UnreadableError("is not where the zip's directory says")
    name_length, extra_length = struct.unpack_from("<HH", header, 26)
    archive.seek(name_length + extra_length, os.SEEK_CUR)
    data = archive.read(entry.compressed_size)
    if entry.deflated:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, entry.size + 1)
        except zlib.error as error:
            raise UnreadableError("can't be inflated") from error
    if len(data) != entry.size:
        raise UnreadableError("has another size than the zip's directory says")
    if zlib.crc32(data) != entry.crc:
        raise UnreadableError("has another checksum than the zip's directory says")
    return data
