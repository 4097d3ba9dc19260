"""Finds images anywhere: single files, folders and zips of any depth, standard input.

These images have a name but no class, unlike those of :mod:`stages.dataset.image_folders`. They are treated as just as
hostile: nothing is unpacked to disk, only regular files are opened, and the size of an image is limited.
"""

from __future__ import annotations

import os
import stat
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from stages.dataset.image_bytes import (
    MAX_IMAGE_BYTES,
    UnreadableError,
    cannot_open,
    member_problem,
    zip_directory,
    zip_entry,
)
from stages.dataset.image_folders import Member, reader
from stages.dataset.litter import is_litter_file, is_litter_folder, is_note
from stages.dataset.zip_names import member_name

STANDARD_INPUT = "-"


class LooseImage(NamedTuple):
    """An image's path, and a function that reads its bytes or raises :class:`UnreadableError`.

    Call it before asking for the next image.
    """

    name: str
    read: Callable[[], bytes]


def find_images(places: Iterable[str]) -> Iterator[LooseImage]:
    """The images at each place: a file, a folder, a zip (by its suffix), or ``-`` for standard input.

    Every file in a folder or zip counts as an image, except litter and notes (see :mod:`stages.dataset.litter`). They
    are sorted by name. A place that can't be read or has no images comes as an image whose reading fails.
    """
    for place in places:
        found = False
        try:
            for image in _images_at(place):
                found = True
                yield image
        except OSError as error:
            yield _unreadable(place, cannot_open(error))
        else:
            if not found:
                yield _unreadable(place, "holds no images")


def _images_at(place: str) -> Iterator[LooseImage]:
    path = Path(place)
    if place == STANDARD_INPUT:
        yield LooseImage(place, _read_standard_input)
    elif path.is_dir():
        yield from _in_folder(path)
    elif path.suffix.lower() == ".zip" and path.is_file():
        yield from _in_zip(path)
    else:
        yield LooseImage(place, partial(_read_file, path))


def _in_folder(folder: Path) -> Iterator[LooseImage]:
    failures: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=failures.append):
        folders[:] = sorted(name for name in folders if not is_litter_folder(name))
        for name in folders:
            if Path(parent, name).is_symlink():  # it could lead in a circle
                yield _unreadable(str(Path(parent, name)), "is a link to a folder; give that folder itself")
        for name in sorted(files):
            if not _is_ignored(name):
                path = Path(parent, name)
                yield LooseImage(str(path), partial(_read_file, path))
    for failure in failures:
        yield _unreadable(str(failure.filename), cannot_open(failure))


def _in_zip(path: Path) -> Iterator[LooseImage]:
    try:
        infos = zip_directory(path)
    except UnreadableError as error:
        yield _unreadable(str(path), str(error))
        return
    with reader(path) as read:
        for name, info in sorted(((member_name(info), info) for info in infos), key=itemgetter(0)):
            *folders, file_name = name.split("/")
            ignored = any(is_litter_folder(part) for part in folders if part not in {".", ".."})
            if file_name and not ignored and not _is_ignored(file_name):
                yield LooseImage(f"{path}/{name}", partial(_read_member, read, info))


def _is_ignored(file_name: str) -> bool:
    return is_litter_file(file_name) or is_note(file_name)


def _read_standard_input() -> bytes:
    return _not_too_large(sys.stdin.buffer.read(MAX_IMAGE_BYTES + 1))


def _read_file(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe could block forever
            raise UnreadableError("is no regular file")
        with path.open("rb") as file:
            return _not_too_large(file.read(MAX_IMAGE_BYTES + 1))
    except OSError as error:
        raise UnreadableError(cannot_open(error)) from error


def _read_member(read: Callable[[Member], bytes], info: zipfile.ZipInfo) -> bytes:
    if problem := member_problem(info):
        raise UnreadableError(problem)
    return read(Member("", info.orig_filename, zip_entry(info)))


def _not_too_large(data: bytes) -> bytes:
    if len(data) > MAX_IMAGE_BYTES:
        raise UnreadableError(f"has more than {MAX_IMAGE_BYTES:,} bytes")
    return data


def _unreadable(name: str, reason: str) -> LooseImage:
    def read() -> bytes:
        raise UnreadableError(reason)

    return LooseImage(name, read)
