"""Folders and zips of a dataset as tests write them, and what the dataset's code makes of them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from stages.dataset.decoding import Decoded, decode, tasks_of
from stages.dataset.image_folders import ImageFolder, list_images, reader
from stages.splits import packed

# What systems and programs leave, and the notes that go with images; as they are named on disk.
LITTER = (
    *("._x.png", ".DS_Store", "Icon\r", "Icon\uf00d", ".AppleDouble/x.png", "__MACOSX/x.png"),
    *("Thumbs.db", "thumbs.db", "THUMBS.DB", "Thumbs.db:encryptable", "ehthumbs.db", "desktop.ini", "Desktop.ini"),
    *("x.png:Zone.Identifier", "x.png:Zone.Identifier:$DATA", "x.pngZone.Identifier", "$RECYCLE.BIN/x.png"),
    *("@eaDir/x.png/SYNOPHOTO_THUMB_M.jpg", "x.png@SynoEAStream", "#recycle/x.png", "lost+found/x.png"),
    *(
        ".ipynb_checkpoints/x-checkpoint.png",
        ".gitignore",
        ".gitkeep",
        ".directory",
        "x.png~",
        "x.png.dvc",
        ".x.png.swp",
    ),
)
NOTES = (
    "x.xml",
    "labels.csv",
    "x.txt",
    "x.json",
    "_annotations.coco.JSON",
    "x.XMP",
    "IMG_1.AAE",
    "README",
    "data.yaml",
)
FILES = {"a cat/2.png": b"second", "a cat/1.png": b"first" * 100, "<img src=x onerror=alert(1)> 犬/é.png": b"third"}


def write_folder(root: Path, files: dict[str, bytes], name: str = "images") -> Path:
    for path, content in files.items():
        (root / name / path).parent.mkdir(parents=True, exist_ok=True)
        (root / name / path).write_bytes(content)
    return root / name


def write_zip(root: Path, members: dict[str, bytes], name: str = "images", method: int = zipfile.ZIP_STORED) -> Path:
    path = root / f"{name}.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return path


def both(root: Path, files: dict[str, bytes], name: str = "images") -> tuple[ImageFolder, ImageFolder]:
    """The listings of a zip and of a folder that hold ``files``."""
    write_zip(root, files, f"{name} in a zip")
    write_folder(root, files, name)
    return list_images(root, f"{name} in a zip"), list_images(root, name)


def contents(folder: ImageFolder) -> dict[str, bytes]:
    assert folder.path is not None
    with reader(folder.path) as read:
        return {f"{member.class_name}/{member.file_name}": read(member) for member in folder.members}


def reasons(folder: ImageFolder) -> dict[str, str]:
    return {refused.name: refused.reason for refused in folder.refused}


def change_directory(path: Path, offset: int, value: bytes) -> None:
    """Overwrite ``value`` at ``offset`` of the first entry of a zip's directory (PKWARE's APPNOTE 4.3.12)."""
    content = bytearray(path.read_bytes())
    start = content.index(b"PK\x01\x02") + offset
    content[start : start + len(value)] = value
    path.write_bytes(content)


def zip_of_names(path: Path, names: list[bytes], extra: bytes = b"") -> Path:
    """A zip whose members' names are these bytes, without the flag that says that they are UTF-8."""
    stand_ins = [chr(ord("A") + number) * len(name) for number, name in enumerate(names)]
    with zipfile.ZipFile(path, "w") as archive:
        for stand_in in stand_ins:
            info = zipfile.ZipInfo(stand_in)
            info.extra = extra
            archive.writestr(info, "pixels")
    content = path.read_bytes()
    for stand_in, name in zip(stand_ins, names, strict=True):
        content = content.replace(stand_in.encode(), name)
    path.write_bytes(content)
    return path


def decoded_into(split: Path, folder: ImageFolder, size: int, processes: int = 1) -> Decoded:
    split.mkdir()
    packed.allocate_images(split, len(folder.members), size)
    return decode(tasks_of([folder], split, size), processes, lambda count: None)
