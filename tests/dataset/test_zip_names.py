"""The names in a zip are those that its maker saw, whichever program made it."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from stages.dataset.image_folders import list_images
from stages.dataset.zip_names import member_name
from tests.folders import contents, zip_of_names


def read(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return [member_name(info) for info in archive.infolist()]


def unicode_path(stored: bytes, name: str, version: int = 1) -> bytes:
    """Info-ZIP's field with the real name of the member that is stored as ``stored``; APPNOTE 4.6.9."""
    field = struct.pack("<BL", version, zlib.crc32(stored)) + name.encode()
    return struct.pack("<HH", 0x7075, len(field)) + field


TIMES = b"UT\x05\x00\x03\xf6\x21\x07\x6b"  # another field, which zip writes first


@pytest.mark.parametrize("name", ["Käse/1.png", "Ka\u0308se/1.png", "犬/é.png", "кот/1.png", "Été/\U0001f415.png"])
def test_utf_8_without_its_flag_is_utf_8(tmp_path: Path, name: str) -> None:
    assert read(zip_of_names(tmp_path / "of zip and macOS.zip", [name.encode()])) == [name]


@pytest.mark.parametrize("name", ["Käse/1.png", "犬/é.png", "plain/1.png", "K├ñse/1.png"])
def test_a_name_with_the_flag_is_taken_by_its_word(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "of Python.zip", "w") as archive:
        archive.writestr(name, "pixels")
    assert read(tmp_path / "of Python.zip") == [name]


@pytest.mark.parametrize("code_page", ["cp437", "cp850"])
@pytest.mark.parametrize("name", ["Käse/1.png", "Größe/ü.png", "garçon/é.png", "señor/ñ.png"])
def test_what_windows_writes_is_read_in_its_code_page(tmp_path: Path, name: str, code_page: str) -> None:
    assert read(zip_of_names(tmp_path / "of Windows.zip", [name.encode(code_page)])) == [name]


@pytest.mark.parametrize("name", ["pão/1.png", "África/1.png", "À la carte/1.png", "Ícaro/1.png"])
def test_letters_are_likelier_in_a_name_than_lines_of_boxes(tmp_path: Path, name: str) -> None:
    assert read(zip_of_names(tmp_path / "of Windows.zip", [name.encode("cp850")])) == [name]


def test_the_unicode_path_of_info_zip_is_the_name(tmp_path: Path) -> None:
    for stored in (b"K#U00e4se/1.png", "Käse/1.png".encode("cp437"), "犬/1.png".encode("cp932")):
        zip_of_names(tmp_path / "images.zip", [stored], TIMES + unicode_path(stored, "犬/é.png"))
        assert read(tmp_path / "images.zip") == ["犬/é.png"]


@pytest.mark.parametrize(
    "extra",
    [
        unicode_path(b"renamed/1.png", "old/1.png"),
        unicode_path(b"K#U00e4se/1.png", "Käse/1.png", version=2),
    ],
    ids=["of another name", "of another version"],
)
def test_a_unicode_path_that_does_not_belong_to_the_name_is_left_alone(tmp_path: Path, extra: bytes) -> None:
    zip_of_names(tmp_path / "images.zip", [b"K#U00e4se/1.png"], extra)
    with zipfile.ZipFile(tmp_path / "images.zip") as archive:
        assert [member_name(info) for info in archive.infolist()] == ["K#U00e4se/1.png"]


def test_a_unicode_path_is_trusted_no_more_than_a_name(tmp_path: Path) -> None:
    for name in ("../evil.png", "/etc/evil.png", "cat/two\nlines.png", "cat/nul\0.png"):
        zip_of_names(tmp_path / "images.zip", [b"cat/1.png"], unicode_path(b"cat/1.png", name))
        folder = list_images(tmp_path, "images")
        assert not folder.members
        assert [refused.check for refused in folder.refused] == ["unsafe_file"]


def test_backslashes_separate_folders_where_no_slash_does(tmp_path: Path) -> None:
    names = [b"spring\\cat\\1.png", b"spring\\dog\\2.png", "spring\\Käse\\ä.png".encode("cp437")]
    zip_of_names(tmp_path / "of Windows.zip", names)
    folder = list_images(tmp_path, "of Windows")
    assert folder.classes == ("Käse", "cat", "dog")
    assert set(contents(folder)) == {"cat/1.png", "dog/2.png", "Käse/ä.png"}
    assert not folder.refused


def test_one_class_in_two_zips_of_two_programs_is_one_class(tmp_path: Path) -> None:
    zip_of_names(tmp_path / "macOS.zip", ["Ka\u0308se/1.png".encode()])
    zip_of_names(tmp_path / "Windows.zip", ["Käse\\1.png".encode("cp850")])
    assert list_images(tmp_path, "macOS").classes == list_images(tmp_path, "Windows").classes == ("Käse",)
