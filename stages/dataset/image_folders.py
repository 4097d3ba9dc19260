"""Folders of class folders of images, each a folder ``NAME/`` or a zip ``NAME.zip``, read through one interface.

:func:`list_images` says which images there are without opening one; :func:`reader` hands out their bytes. Both expect
the worst of what they read: a link or a path that leads out, a member that unpacks to gigabytes, a name that breaks a
line. Such a file is never opened; it is listed as refused, with the reason.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from stages.common.console import UserError
from stages.common.names import refusal, shown

MAX_IMAGE_BYTES = 64 * 2**20  # a photograph of 50 million pixels has 10 to 30 MB
# Images are compressed already and hardly shrink in a zip. What inflates more than this was made to fill the memory,
# or is a blank bitmap, of which a megabyte does no harm.
MAX_INFLATION = 100
HARMLESS_BYTES = 2**20
READ_AHEAD = 2**20  # bytes; the images of a zip are read in the order in which most zips hold them

# What operating systems leave in folders; it is not the user's, so it is passed over without a word.
_LITTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}


class UnreadableError(Exception):
    """An image that can't be read; its text is the reason, to be put behind the image's name."""


class Stored(NamedTuple):
    """Where a zip holds a member, as its directory says; sizes in bytes."""

    offset: int
    compressed_size: int
    size: int
    crc: int
    deflated: bool


class Member(NamedTuple):
    """One image: its class folder, its file, and its place in the zip (None in a folder)."""

    class_name: str
    file_name: str
    stored: Stored | None


class Refused(NamedTuple):
    """A file that is not used: its path below the dataset's root, the check that it fails, and the reason."""

    name: str
    check: str
    reason: str


@dataclass(frozen=True)
class ImageFolder:
    """What one named folder holds.

    Attributes:
        name: as in the parameters.
        path: of the folder or the zip; None where there is neither.
        classes: names of its class folders, empty ones included, sorted.
        members: its images, sorted by class and file.
        size: of all its images together, in bytes.
        refused: its files that are not used.
    """

    name: str
    path: Path | None
    classes: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()
    size: int = 0
    refused: tuple[Refused, ...] = ()


def list_images(root: Path, name: str) -> ImageFolder:
    """List the images of ``root/name/`` or ``root/name.zip``.

    Raises:
        UserError: there are both, so which of them is meant is not known.
    """
    folder, archive = root / name, root / f"{name}.zip"
    if folder.is_dir() and archive.is_file():
        raise UserError(f"{folder} and {archive} both exist; move one of them away")
    if folder.is_dir():
        return _list_folder(root, folder)
    if archive.is_file():
        return _list_zip(archive, name)
    return ImageFolder(name, None)


@contextmanager
def reader(path: Path) -> Iterator[Callable[[Member], bytes]]:
    """A function from a member of the folder or zip at ``path`` to its bytes, :data:`MAX_IMAGE_BYTES` at most.

    The function raises :class:`UnreadableError` where the bytes are not those that the listing promised.
    """
    if path.is_dir():
        yield lambda member: _read_file(path / member.class_name / member.file_name)
        return
    with open(path, "rb", buffering=READ_AHEAD) as archive:

        def read(member: Member) -> bytes:
            assert member.stored is not None
            return _read_stored(archive, member.stored)

        yield read


class _Listing:
    """The images and the refused files of one folder, as they are found."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.classes: set[str] = set()
        self.members: list[Member] = []
        self.size = 0
        self.refused: list[Refused] = []

    def add(self, member: Member, size: int) -> None:
        self.members.append(member)
        self.size += size

    def refuse(self, path: str, reason: str, check: str = "unsafe_file") -> None:
        self.refused.append(Refused(shown(f"{self.name}/{path}"), check, reason))

    def finish(self, path: Path) -> ImageFolder:
        self.members.sort()
        return ImageFolder(
            self.name, path, tuple(sorted(self.classes)), tuple(self.members), self.size, tuple(sorted(self.refused))
        )


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or one of those that operating systems leave."""
    return name.startswith(".") or name in _LITTER


def _list_folder(root: Path, folder: Path) -> ImageFolder:
    listing = _Listing(folder.name)
    inside = Path(os.path.realpath(root))
    for class_entry in _entries(folder):
        class_name = class_entry.name
        if not class_entry.is_dir():
            listing.refuse(class_name, "lies outside of the class folders", "misplaced_file")
        elif problem := refusal(class_name) or _link_problem(class_entry, inside):
            listing.refuse(class_name, problem)
        else:
            listing.classes.add(class_name)
            for entry in _entries(Path(class_entry.path)):
                path = f"{class_name}/{entry.name}"
                if problem := refusal(entry.name) or _link_problem(entry, inside):
                    listing.refuse(path, problem)
                elif entry.is_dir():
                    listing.refuse(path, "is a folder inside a class folder", "misplaced_file")
                elif not entry.is_file():
                    listing.refuse(path, "is no regular file")
                elif (size := entry.stat().st_size) > MAX_IMAGE_BYTES:
                    listing.refuse(path, _too_large(size))
                else:
                    listing.add(Member(class_name, entry.name, None), size)
    return listing.finish(folder)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not is_litter(entry.name)]


def _link_problem(entry: os.DirEntry[str], inside: Path) -> str | None:
    if not entry.is_symlink():
        return None
    target = Path(os.path.realpath(entry.path))
    if not target.is_relative_to(inside):
        return "is a link out of the dataset"
    return None if target.exists() else "is a link to nothing"


def _list_zip(path: Path, name: str) -> ImageFolder:
    listing = _Listing(name)
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, UnicodeDecodeError) as error:
        return ImageFolder(name, path, refused=(Refused(path.name, "unsafe_file", f"is no sound zip file: {error}"),))
    size = path.stat().st_size
    if sum(info.compress_size for info in infos) > size or any(info.header_offset >= size for info in infos):
        reason = "is no sound zip file: its members overlap, or lie beyond its end"
        return ImageFolder(name, path, refused=(Refused(path.name, "unsafe_file", reason),))
    seen: set[str] = set()
    for info in infos:
        full_name = info.orig_filename  # as stored; the other attribute has been cut at a zero byte
        class_name, _, file_name = full_name.partition("/")
        if problem := _zip_problem(info, seen):
            listing.refuse(full_name, problem)
        elif is_litter(class_name) or is_litter(file_name):
            continue
        elif problem := refusal(class_name) or (refusal(file_name) if file_name and "/" not in file_name else None):
            listing.refuse(full_name, problem)
        elif full_name.endswith("/") and file_name == "":
            listing.classes.add(class_name)
        elif "/" in file_name:
            listing.refuse(full_name, "lies deeper than in a class folder at the top of the zip", "misplaced_file")
        elif file_name == "":
            listing.refuse(full_name, "lies outside of the class folders", "misplaced_file")
        else:
            listing.classes.add(class_name)
            listing.add(Member(class_name, file_name, stored_at(info)), info.file_size)
    return listing.finish(path)


def _zip_problem(info: zipfile.ZipInfo, seen: set[str]) -> str | None:
    """Why a member must not be read; ``seen`` is filled with the names so far."""
    name = info.orig_filename
    if name in seen:
        return "is in the zip more than once"
    seen.add(name)
    if name.startswith(("/", "\\")) or re.match("[A-Za-z]:", name):
        return "has an absolute path"
    if ".." in name and ".." in re.split(r"[/\\]", name):
        return "has a path that climbs out of the zip"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "is a link"
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "is no regular file"
    if problem := member_problem(info):
        return problem
    if info.file_size > max(HARMLESS_BYTES, MAX_INFLATION * info.compress_size):
        return f"inflates more than {MAX_INFLATION}-fold"
    return None


def member_problem(info: zipfile.ZipInfo) -> str | None:
    """Why :func:`reader` must not be asked for a zip's member, whatever its name, or None."""
    if info.flag_bits & 0x41:  # bit 0: encrypted; bit 6: strongly
        return "is encrypted"
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return "is compressed by another method than deflate"
    if (size := max(info.file_size, info.compress_size)) > MAX_IMAGE_BYTES:
        return _too_large(size)
    return None


def stored_at(info: zipfile.ZipInfo) -> Stored:
    """The place of a zip's member of which :func:`member_problem` says nothing."""
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    return Stored(info.header_offset, info.compress_size, info.file_size, info.CRC, deflated)


def _too_large(size: int) -> str:
    return f"has {size:,} bytes; an image may have {MAX_IMAGE_BYTES:,} at most"


def _read_file(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_IMAGE_BYTES + 1)
    except OSError as error:
        raise UnreadableError(f"can't be opened: {error.strerror}") from error
    if len(data) > MAX_IMAGE_BYTES:
        raise UnreadableError("has grown since it was listed")
    return data


def _read_stored(archive: BinaryIO, stored: Stored) -> bytes:
    """The bytes of a member, read by the zip's directory rather than through :class:`zipfile.ZipFile`.

    So a process that decodes some images of a zip needs not parse the directory of all of them, which would cost as
    much time as the decoding of a thousand images and, in a large zip, more memory than all else.
    """
    archive.seek(stored.offset)
    header = archive.read(30)  # fixed part of a local header; PKWARE's APPNOTE 4.3.7
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        raise UnreadableError("is not where the zip's directory says")
    name_length, extra_length = struct.unpack_from("<HH", header, 26)
    archive.seek(name_length + extra_length, os.SEEK_CUR)
    data = archive.read(stored.compressed_size)
    if stored.deflated:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, stored.size + 1)
        except zlib.error as error:
            raise UnreadableError("can't be inflated") from error
    if len(data) != stored.size:
        raise UnreadableError("has another size than the zip's directory says")
    if zlib.crc32(data) != stored.crc:
        raise UnreadableError("has another checksum than the zip's directory says")
    return data
