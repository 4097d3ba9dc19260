"""Reads folders of class folders of images, each a folder ``NAME/`` or a zip ``NAME.zip``, through one interface.

:func:`list_images` lists the images without opening one; :func:`reader` reads their bytes. Both treat the files as
hostile: a link or a path that leads out, a member that unpacks to gigabytes or a name that breaks a line is never
opened, but listed as refused, with the reason.

They also know what is usual:

- A single folder on top, as ``zip -r spring.zip spring`` makes it, is skipped.
- All images below a class folder are of the class, also in its subfolders, as in Keras's
  ``image_dataset_from_directory``.
- Class names that differ only in Unicode's form are one class: macOS decomposes é into two characters.
- Files that systems and programs leave in folders, and notes beside the images, are ignored.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from stages.common.console import UserError
from stages.common.file_names import printable, refusal
from stages.dataset import image_bytes
from stages.dataset.dvc_cache import cache_of
from stages.dataset.image_bytes import UnreadableError, ZipEntry, cannot_open
from stages.dataset.litter import is_litter_file, is_litter_folder, is_note
from stages.dataset.zip_names import member_name

# A higher ratio means a zip bomb or a blank bitmap; below HARMLESS_BYTES either is harmless.
MAX_INFLATION = 100
HARMLESS_BYTES = 2**20
READ_AHEAD = 2**20  # bytes; the images of a zip are read in the order of most zips
MAX_DEPTH = 32  # folders within folders
LONGEST_PATH = 300  # characters of a refused file's path in a message; in a zip it can have 65,535

_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[/\\]")
_LEADS_OUT = "is a link out of the dataset"
_TOO_DEEP = f"lies more than {MAX_DEPTH} folders deep"


class Member(NamedTuple):
    """One image.

    Attributes:
        class_name: in Unicode's composed form (NFC).
        file_name: its path below the class folder.
        zip_entry: where its bytes are in the zip; None in a folder.
        class_folder: path of the class folder as written in the folder or zip, with a slash at its end.
    """

    class_name: str
    file_name: str
    zip_entry: ZipEntry | None
    class_folder: str = ""

    @property
    def path(self) -> str:
        """Its path in the folder or zip."""
        return self.class_folder + self.file_name


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
        path: of the folder or the zip; None if there is neither.
        classes: names of the class folders, also of empty ones, sorted.
        members: the images, sorted by class and file.
        size: of all images together, in bytes.
        refused: the files that are not used.
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
        UserError: there are both.
    """
    folder, archive = _named(root, name), _named(root, f"{name}.zip")
    if folder.is_dir() and archive.is_file():
        raise UserError(f"{folder} and {archive} both exist; move one of them away")
    if folder.is_dir():
        return _list_folder(root, folder, name)
    if archive.is_file():
        return _list_zip(archive, name)
    return ImageFolder(name, None)


@contextmanager
def reader(path: Path) -> Iterator[Callable[[Member], bytes]]:
    """A function from a member of the folder or zip at ``path`` to its bytes, of which an image may have only so many.

    The function raises :class:`UnreadableError` if the bytes are not those that were listed.
    """
    if path.is_dir():
        yield lambda member: image_bytes.read_file(path / member.path)
        return
    with open(path, "rb", buffering=READ_AHEAD) as archive:

        def read(member: Member) -> bytes:
            assert member.zip_entry is not None
            return image_bytes.read_zip_entry(archive, member.zip_entry)

        yield read


def _named(root: Path, name: str) -> Path:
    """``root/name``, or the entry of that name in another of Unicode's forms."""
    path = root / name
    if name.isascii() or path.exists():
        return path
    same = (entry for entry in sorted(root.iterdir()) if _composed(entry.name) == _composed(name))
    return next(same, path)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


class _Listing:
    """Collects the files of one folder or zip; :meth:`finish` tells which are images of which class.

    A folder's path has a slash at its end; the path of the whole folder or zip is empty.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.folders: set[str] = set()  # in a zip without those that hold only folders
        self.files: defaultdict[str, list[tuple[str, int, ZipEntry | None]]] = defaultdict(list)  # by folder
        self.notes: list[tuple[str, str]] = []  # folder, file
        self.refused: list[Refused] = []

    def add(self, folder: str, file_name: str, size: int, zip_entry: ZipEntry | None) -> None:
        self.folders.add(folder)
        self.files[folder].append((file_name, size, zip_entry))

    def add_note(self, folder: str, file_name: str) -> None:
        self.folders.add(folder)
        self.notes.append((folder, file_name))

    def refuse(self, path: str, reason: str, check: str = "unsafe_file") -> None:
        if len(path) > LONGEST_PATH:
            path = f"{path[: LONGEST_PATH // 2]}…{path[-LONGEST_PATH // 2 :]}"
        self.refused.append(Refused(printable(f"{self.name}/{path}"), check, reason))

    def finish(self, path: Path) -> ImageFolder:
        class_folders = self._folders_in(self._top())
        class_names = {folder: _composed(folder.split("/")[-2]) for folder in class_folders.values()}
        members = []
        size = 0
        for folder, files in self.files.items():
            class_folder = class_folders.get(folder)
            if class_folder is None:
                for file_name, *_ in files:
                    self._misplace(folder + file_name)
                continue
            below = folder.removeprefix(class_folder)
            for file_name, file_size, zip_entry in files:
                members.append(Member(class_names[class_folder], below + file_name, zip_entry, class_folder))
                size += file_size
        for folder, file_name in self.notes:
            if folder not in class_folders:
                self._misplace(folder + file_name)
        classes = tuple(sorted(set(class_names.values())))
        return ImageFolder(self.name, path, classes, tuple(sorted(members)), size, tuple(sorted(self.refused)))

    def _top(self) -> str:
        """The folder that holds the class folders: below single folders that hold folders but no image."""
        top = ""
        while True:
            in_top = self._folders_in(top)
            heads = set(in_top.values())
            if len(heads) != 1 or heads == in_top.keys() or heads & self.files.keys():
                return top
            (top,) = heads

    def _folders_in(self, top: str) -> dict[str, str]:
        """For each folder below ``top``, the folder directly in ``top`` that it is or lies in."""
        below = (folder for folder in self.folders if folder.startswith(top) and folder != top)
        return {folder: folder[: folder.index("/", len(top)) + 1] for folder in below}

    def _misplace(self, path: str) -> None:
        self.refuse(path, "lies outside of the class folders", "misplaced_file")


def _list_folder(root: Path, folder: Path, name: str) -> ImageFolder:
    listing = _Listing(name)
    links = _Links(root)
    if not links.is_inside(folder):  # DVC would see no change of its images
        return ImageFolder(name, folder, refused=(Refused(name, "unsafe_file", _LEADS_OUT),))
    waiting = [""]
    while waiting:
        parent = waiting.pop()
        try:
            with os.scandir(folder / parent) as scanned:
                entries = list(scanned)
        except OSError as error:
            listing.refuse(parent, cannot_open(error))
            continue
        for entry in entries:
            path = parent + entry.name
            is_link = entry.is_symlink()
            # Path.is_dir would raise an error for a link to what may not be looked at.
            is_folder = os.path.isdir(entry.path) if is_link else entry.is_dir()  # noqa: PTH112
            if is_litter_folder(entry.name) if is_folder else is_litter_file(entry.name):
                continue
            problem = refusal(entry.name) or (links.problem(entry.path, is_folder, parent) if is_link else None)
            if problem:
                listing.refuse(path, problem)
            elif is_folder and parent.count("/") == MAX_DEPTH:
                listing.refuse(path, _TOO_DEEP)
            elif is_folder:
                listing.folders.add(f"{path}/")
                waiting.append(f"{path}/")
            elif not entry.is_file():
                listing.refuse(path, "is no regular file")
            elif is_note(entry.name):
                listing.add_note(parent, entry.name)
            else:
                try:
                    size = entry.stat().st_size
                except OSError as error:  # of a folder that may be listed and not entered
                    listing.refuse(path, cannot_open(error))
                    continue
                if size > image_bytes.MAX_IMAGE_BYTES:
                    listing.refuse(path, image_bytes.too_large(size))
                else:
                    listing.add(parent, entry.name, size, None)
    return listing.finish(folder)


class _Links:
    """Tells which links are part of the dataset: those within it, and those into DVC's cache."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real_root = Path(os.path.realpath(root))

    @cached_property
    def _caches(self) -> list[Path]:
        # The root may be a link to another project's data.
        return [found for place in (self._root, self._real_root) if (found := cache_of(place))]

    def is_inside(self, path: str | Path) -> bool:
        """Whether ``path`` lies within the dataset when all links in it are followed."""
        return Path(os.path.realpath(path)).is_relative_to(self._real_root)

    def problem(self, link: str, to_folder: bool, parent: str) -> str | None:
        """Why ``link``, in the folder ``parent`` of the listing, must not be followed; None if it may be."""
        target, inside = Path(os.path.realpath(link)), self.is_inside(link)
        if not os.path.exists(target):  # noqa: PTH110 - Path.exists can raise an error
            return "is a link to nothing" if inside else "is a link to nothing; `dvc checkout` mends it if DVC made it"
        if not inside and (to_folder or not any(target.is_relative_to(cache) for cache in self._caches)):
            return _LEADS_OUT
        if to_folder and parent:  # it could lead in a circle
            return "is a link to a folder; put that folder itself there"
        return None


def _list_zip(path: Path, name: str) -> ImageFolder:
    listing = _Listing(name)
    try:
        infos = image_bytes.zip_directory(path)
    except UnreadableError as error:
        return ImageFolder(name, path, refused=(Refused(path.name, "unsafe_file", str(error)),))
    seen: set[str] = set()
    folder_of = cache(_zip_folder)  # called for each image
    for info in infos:
        full_name = member_name(info)
        parent, _, file_name = full_name.rpartition("/")
        folder = folder_of(parent)
        if problem := _path_problem(full_name):
            listing.refuse(full_name, problem)
        elif folder.is_litter or (file_name and is_litter_file(file_name)):
            continue
        elif problem := folder.problem or (refusal(file_name) if file_name else None) or _zip_problem(info):
            listing.refuse(full_name, problem)
        elif not file_name:
            listing.folders.add(folder.path)
        elif is_note(file_name):
            listing.add_note(folder.path, file_name)
        elif folder.path + file_name in seen:
            listing.refuse(full_name, "is in the zip more than once")
        else:
            seen.add(folder.path + file_name)
            listing.add(folder.path, file_name, info.file_size, image_bytes.zip_entry(info))
    return listing.finish(path)


class _ZipFolder(NamedTuple):
    """A zip's folder; its path has no empty or dot parts, and a slash at its end."""

    path: str
    is_litter: bool
    problem: str | None


def _zip_folder(name: str) -> _ZipFolder:
    parts = [part for part in name.split("/") if part not in {"", "."}]
    problem = _TOO_DEEP if len(parts) > MAX_DEPTH else next(filter(None, map(refusal, parts)), None)
    return _ZipFolder("".join(f"{part}/" for part in parts), any(map(is_litter_folder, parts)), problem)


def _path_problem(name: str) -> str | None:
    """Why a zip's member of this name can't be trusted; None if it can."""
    if _ABSOLUTE.match(name):
        return "has an absolute path"
    if ".." in name and ".." in re.split(r"[/\\]", name):
        return "has a path that climbs out of the zip"
    return None


def _zip_problem(info: zipfile.ZipInfo) -> str | None:
    """Why a zip's member must not be listed, whatever its name; None if it may be."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "is a link"
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "is no regular file"
    if problem := image_bytes.member_problem(info):
        return problem
    if info.file_size > max(HARMLESS_BYTES, MAX_INFLATION * info.compress_size):
        return f"inflates more than {MAX_INFLATION}-fold"
    return None
