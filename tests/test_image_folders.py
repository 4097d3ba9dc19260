"""Folders and zips: the same images either way, and nothing of what means harm is opened."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from stages.common.console import UserError
from stages.dataset import image_folders
from stages.dataset.image_folders import ImageFolder, UnreadableError, list_images, reader

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


def contents(folder: ImageFolder) -> dict[str, bytes]:
    assert folder.path is not None
    with reader(folder.path) as read:
        return {f"{member.class_name}/{member.file_name}": read(member) for member in folder.members}


def reasons(folder: ImageFolder) -> dict[str, str]:
    return {refused.name: refused.reason for refused in folder.refused}


@pytest.mark.parametrize("kind", ["folder", "stored", "deflated"])
def test_a_folder_and_a_zip_hold_the_same_images_in_sorted_order(tmp_path: Path, kind: str) -> None:
    if kind == "folder":
        write_folder(tmp_path, FILES)
    else:
        write_zip(tmp_path, FILES, method=zipfile.ZIP_STORED if kind == "stored" else zipfile.ZIP_DEFLATED)
    folder = list_images(tmp_path, "images")
    assert folder.classes == ("<img src=x onerror=alert(1)> 犬", "a cat")
    assert list(contents(folder).items()) == sorted(FILES.items())
    assert folder.size == sum(map(len, FILES.values()))
    assert not folder.refused


def test_a_missing_folder_has_no_path(tmp_path: Path) -> None:
    assert list_images(tmp_path, "images") == ImageFolder("images", None)


def test_a_folder_beside_a_zip_of_its_name_is_an_error(tmp_path: Path) -> None:
    write_folder(tmp_path, FILES)
    write_zip(tmp_path, FILES)
    with pytest.raises(UserError, match="both exist"):
        list_images(tmp_path, "images")


def test_empty_classes_are_listed(tmp_path: Path) -> None:
    (write_folder(tmp_path, FILES, "folder") / "empty").mkdir()
    write_zip(tmp_path, {**FILES, "empty/": b""}, "zip")
    assert "empty" in list_images(tmp_path, "folder").classes
    assert "empty" in list_images(tmp_path, "zip").classes


def test_what_operating_systems_leave_behind_is_passed_over(tmp_path: Path) -> None:
    litter = {".DS_Store": b"", "a cat/.DS_Store": b"", "a cat/Thumbs.db": b"", "__MACOSX/a cat/._1.png": b""}
    write_zip(tmp_path, {**FILES, **litter}, "zip")
    write_folder(tmp_path, {**FILES, **litter}, "folder")
    for folder in (list_images(tmp_path, "zip"), list_images(tmp_path, "folder")):
        assert contents(folder) == FILES
        assert not folder.refused


def test_files_outside_of_class_folders_are_misplaced(tmp_path: Path) -> None:
    stray = {"notes.txt": b"", "a cat/deeper/3.png": b""}
    write_zip(tmp_path, {**FILES, **stray}, "zip")
    write_folder(tmp_path, {**FILES, **stray}, "folder")
    for folder in (list_images(tmp_path, "zip"), list_images(tmp_path, "folder")):
        assert contents(folder) == FILES
        assert [refused.check for refused in folder.refused] == ["misplaced_file"] * 2


def test_a_link_out_of_the_dataset_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    folder = write_folder(root, FILES)
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "secrets").mkdir()
    (folder / "a cat/link.png").symlink_to(tmp_path / "secret.png")
    (folder / "a cat/gone.png").symlink_to(root / "nothing.png")
    (folder / "linked class").symlink_to(tmp_path / "secrets")
    (folder / "a cat/same.png").symlink_to(folder / "a cat/1.png")
    found = list_images(root, "images")
    assert reasons(found) == {
        "images/a cat/link.png": "is a link out of the dataset",
        "images/a cat/gone.png": "is a link to nothing",
        "images/linked class": "is a link out of the dataset",
    }
    assert contents(found) == {**FILES, "a cat/same.png": FILES["a cat/1.png"]}


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    os.mkfifo(folder / "a cat/pipe.png")
    assert reasons(list_images(tmp_path, "images")) == {"images/a cat/pipe.png": "is no regular file"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("two\nlines.png", "its name holds a line break"),
        ("\x1b[31mred.png", "its name holds a line break, another control character"),
        ("-rf.png", "its name begins with a dash"),
        ("back\\slash.png", "its name is a path"),
    ],
)
def test_names_that_break_lines_or_commands_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    write_folder(tmp_path, {**FILES, f"a cat/{name}": b"", f"{name}/1.png": b""}, "folder")
    write_zip(tmp_path, {**FILES, f"a cat/{name}": b"", f"{name}/1.png": b""}, "zip")
    for folder in (list_images(tmp_path, "folder"), list_images(tmp_path, "zip")):
        assert contents(folder) == FILES
        assert len(folder.refused) == 2
        assert all(refused.reason.startswith(reason) for refused in folder.refused)
        assert all(refused.name.isprintable() for refused in folder.refused)


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("../evil.png", "climbs out"),
        ("a cat/../../evil.png", "climbs out"),
        ("/etc/evil.png", "absolute"),
        ("C:/evil.png", "absolute"),
    ],
)
def test_a_member_that_leaves_the_zip_is_refused(tmp_path: Path, member: str, reason: str) -> None:
    write_zip(tmp_path, {**FILES, member: b"evil"})
    folder = list_images(tmp_path, "images")
    assert [reason in refused.reason for refused in folder.refused] == [True]
    assert contents(folder) == FILES


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path, FILES)
    link = zipfile.ZipInfo("a cat/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert reasons(list_images(tmp_path, "images")) == {"images/a cat/link.png": "is a link"}


def test_a_repeated_name_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path, FILES)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a cat/1.png", b"again")
    folder = list_images(tmp_path, "images")
    assert reasons(folder) == {"images/a cat/1.png": "is in the zip more than once"}
    assert contents(folder) == FILES


def test_a_member_that_inflates_a_thousandfold_is_refused(tmp_path: Path) -> None:
    write_zip(tmp_path, {"a cat/bomb.png": bytes(2**22)}, method=zipfile.ZIP_DEFLATED)
    assert reasons(list_images(tmp_path, "images")) == {"images/a cat/bomb.png": "inflates more than 100-fold"}


def test_a_file_larger_than_allowed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_folders, "MAX_IMAGE_BYTES", 400)
    write_folder(tmp_path, FILES, "folder")
    write_zip(tmp_path, FILES, "zip")
    assert reasons(list_images(tmp_path, "folder"))["folder/a cat/1.png"].startswith("has 500 bytes")
    assert reasons(list_images(tmp_path, "zip"))["zip/a cat/1.png"].startswith("has 500 bytes")


def change_directory(path: Path, offset: int, value: bytes) -> None:
    """Overwrite ``value`` at ``offset`` of the first entry of a zip's directory (PKWARE's APPNOTE 4.3.12)."""
    content = bytearray(path.read_bytes())
    start = content.index(b"PK\x01\x02") + offset
    content[start : start + len(value)] = value
    path.write_bytes(content)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    change_directory(write_zip(tmp_path, {"a cat/1.png": b"first"}), 8, struct.pack("<H", 1))
    assert reasons(list_images(tmp_path, "images")) == {"images/a cat/1.png": "is encrypted"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("size", [3, 600])
def test_a_false_size_is_noticed_when_reading(tmp_path: Path, method: int, size: int) -> None:
    path = write_zip(tmp_path, {"a cat/1.png": b"first" * 100}, method=method)
    change_directory(path, 24, struct.pack("<I", size))
    with pytest.raises(UnreadableError, match="another size"):
        contents(list_images(tmp_path, "images"))


def test_a_false_checksum_is_noticed_when_reading(tmp_path: Path) -> None:
    change_directory(write_zip(tmp_path, {"a cat/1.png": b"first"}), 16, b"\0\0\0\0")
    with pytest.raises(UnreadableError, match="another checksum"):
        contents(list_images(tmp_path, "images"))


def test_a_false_offset_is_noticed_when_reading(tmp_path: Path) -> None:
    change_directory(write_zip(tmp_path, {"a cat/1.png": b"first"}), 42, struct.pack("<I", 5))
    with pytest.raises(UnreadableError, match="not where"):
        contents(list_images(tmp_path, "images"))


@pytest.mark.parametrize(
    ("offset", "value"),
    [(20, struct.pack("<II", 10**6, 10**6)), (42, struct.pack("<I", 10**6))],
    ids=["claims more bytes", "lies beyond the end"],
)
def test_a_zip_whose_members_do_not_fit_is_refused(tmp_path: Path, offset: int, value: bytes) -> None:
    change_directory(write_zip(tmp_path, {"a cat/1.png": b"first"}), offset, value)
    (refused,) = list_images(tmp_path, "images").refused
    assert (refused.name, refused.check) == ("images.zip", "unsafe_file")
    assert refused.reason.startswith("is no sound zip file: its members overlap, or lie beyond its end")


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"no zip at all" * 100])
def test_a_file_that_is_no_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images.zip").write_bytes(content)
    (refused,) = list_images(tmp_path, "images").refused
    assert refused.reason.startswith("is no sound zip file")


def test_a_cut_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path, FILES)
    path.write_bytes(path.read_bytes()[:-30])
    assert list_images(tmp_path, "images").refused[0].reason.startswith("is no sound zip file")


def test_a_file_that_vanished_is_unreadable(tmp_path: Path) -> None:
    write_folder(tmp_path, FILES)
    folder = list_images(tmp_path, "images")
    (tmp_path / "images/a cat/1.png").unlink()
    with pytest.raises(UnreadableError, match="can't be opened"):
        contents(folder)
