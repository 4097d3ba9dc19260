"""Folders and zips: the same images either way, and nothing of what means harm is opened."""

from __future__ import annotations

import os
import struct
import unicodedata
import zipfile
from pathlib import Path
from typing import Literal

import pytest

from stages.common.console import UserError
from stages.dataset import image_bytes
from stages.dataset.image_bytes import UnreadableError
from stages.dataset.image_folders import MAX_DEPTH, ImageFolder, Refused, list_images, reader
from tests.folders import FILES, LITTER, NOTES, both, change_directory, contents, reasons, write_folder, write_zip


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


@pytest.mark.parametrize("name", [*LITTER, *NOTES])
def test_litter_and_notes_in_a_class_folder_are_passed_over(tmp_path: Path, name: str) -> None:
    for folder in both(tmp_path, {**FILES, f"a cat/{name}": b"no image", f"a cat/more/{name}": b"no image"}):
        assert folder.classes == ("<img src=x onerror=alert(1)> 犬", "a cat")
        assert contents(folder) == FILES
        assert not folder.refused


@pytest.mark.parametrize("name", [name for name in LITTER if "/" not in name])
def test_litter_beside_class_folders_is_passed_over(tmp_path: Path, name: str) -> None:
    for folder in both(tmp_path, {**FILES, name: b"no image"}):
        assert not folder.refused


def test_an_image_named_like_litter_is_an_image(tmp_path: Path) -> None:
    names = ("readme.png", "desktop.jpg", "icon.png", "zone identifier.png", "txt.png", "a.csv.png", "thumbs.png")
    files = {f"{label}/{name}": name.encode() for label in ("model.json", "dvc", "README", "a~") for name in names}
    for folder in both(tmp_path, files):
        assert contents(folder) == files
        assert not folder.refused


def test_files_outside_of_class_folders_are_misplaced(tmp_path: Path) -> None:
    for folder in both(tmp_path, {**FILES, "notes.txt": b"", "3.png": b""}):
        assert contents(folder) == FILES
        assert folder.refused == (
            Refused(f"{folder.name}/3.png", "misplaced_file", "lies outside of the class folders"),
            Refused(f"{folder.name}/notes.txt", "misplaced_file", "lies outside of the class folders"),
        )


def test_images_in_folders_below_a_class_folder_are_of_the_class(tmp_path: Path) -> None:
    nested = {**FILES, "a cat/batch 2/1.png": b"fourth", "a cat/batch 2/more/1.png": b"fifth"}
    for folder in both(tmp_path, nested):
        assert folder.classes == ("<img src=x onerror=alert(1)> 犬", "a cat")
        assert contents(folder) == nested
        assert folder.size == sum(map(len, nested.values()))
        assert not folder.refused


@pytest.mark.parametrize("top", ["images/", "images/images/", "Some Photos (1)/data/"])
def test_a_single_folder_on_top_is_stepped_into(tmp_path: Path, top: str) -> None:
    beside = {"__MACOSX/._images": b"", ".DS_Store": b"", f"{top}.DS_Store": b"", f"{top}cat.dvc": b""}
    notes = {"README.md": b"", f"{top}README.dataset.txt": b"", f"{top}LICENSE": b""}
    for folder in both(tmp_path, {**{f"{top}{path}": content for path, content in FILES.items()}, **beside, **notes}):
        assert folder.classes == ("<img src=x onerror=alert(1)> 犬", "a cat")
        assert contents(folder) == FILES
        assert [member.path for member in folder.members] == [f"{top}{path}" for path in sorted(FILES)]
        assert sorted(reasons(folder)) == sorted(f"{folder.name}/{note}" for note in notes)


def test_a_single_class_folder_is_no_folder_on_top(tmp_path: Path) -> None:
    for folder in both(tmp_path, {"a cat/1.png": b"first", "a cat/batch 2/1.png": b"second"}):
        assert folder.classes == ("a cat",)
        assert len(folder.members) == 2
    (tmp_path / "empty/a cat").mkdir(parents=True)
    write_zip(tmp_path, {"a cat/": b""}, "empty zip")
    for name in ("empty", "empty zip"):
        assert list_images(tmp_path, name).classes == ("a cat",)


def test_two_folders_on_top_are_two_classes_though_they_hold_folders(tmp_path: Path) -> None:
    for folder in both(tmp_path, {"cat/batch 1/1.png": b"first", "dog/batch 1/1.png": b"second"}):
        assert folder.classes == ("cat", "dog")


def test_both_unicode_forms_of_a_name_are_one_class(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Käse") for form in ("NFC", "NFD"))
    for folder in both(tmp_path, {f"{composed}/1.png": b"first", f"{decomposed}/1.png": b"second", "dog/1.png": b""}):
        assert folder.classes == (composed, "dog")
        assert [member.class_name for member in folder.members] == [composed, composed, "dog"]
        assert len({member.path for member in folder.members}) == 3
        with reader(folder.path or Path()) as read:
            assert {read(member) for member in folder.members} == {b"first", b"second", b""}


@pytest.mark.parametrize(("asked", "there"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_folder_or_zip_is_found_under_either_unicode_form_of_its_name(
    tmp_path: Path, asked: Literal["NFC", "NFD"], there: Literal["NFC", "NFD"]
) -> None:
    write_folder(tmp_path, FILES, unicodedata.normalize(there, "Frühling"))
    write_zip(tmp_path, FILES, unicodedata.normalize(there, "Spätsommer"))
    for name in (unicodedata.normalize(asked, "Frühling"), unicodedata.normalize(asked, "Spätsommer")):
        folder = list_images(tmp_path, name)
        assert folder.name == name
        assert contents(folder) == FILES


@pytest.mark.parametrize("name", ["./{}", ".//{}"])
def test_needless_parts_of_a_path_in_a_zip_are_dropped(tmp_path: Path, name: str) -> None:
    write_zip(tmp_path, {"./": b"", **{name.format(path): content for path, content in FILES.items()}})
    folder = list_images(tmp_path, "images")
    assert contents(folder) == FILES
    assert not folder.refused


@pytest.mark.parametrize("slash", ["/", "\\"])
def test_folders_within_folders_without_end_are_refused(tmp_path: Path, slash: str) -> None:
    write_zip(tmp_path, {**FILES, slash.join(["a cat"] * MAX_DEPTH) + f"{slash}1.png": b"deep"}, "as deep as can be")
    write_zip(tmp_path, {**FILES, slash.join(["a cat"] * 10_000) + f"{slash}1.png": b"deep"}, "deeper")
    assert not list_images(tmp_path, "as deep as can be").refused
    (reason,) = reasons(list_images(tmp_path, "deeper")).values()
    assert reason == f"lies more than {MAX_DEPTH} folders deep"


def test_a_folder_deeper_than_allowed_is_refused_and_the_rest_is_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    (folder / "a cat" / "/".join("x" * (MAX_DEPTH + 5))).mkdir(parents=True)
    found = list_images(tmp_path, "images")
    assert list(reasons(found).values()) == [f"lies more than {MAX_DEPTH} folders deep"]
    assert contents(found) == FILES


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


def test_a_folder_that_is_itself_a_link_out_of_the_dataset_is_refused_as_dvc_sees_no_change_there(
    tmp_path: Path,
) -> None:
    elsewhere = write_folder(tmp_path / "elsewhere", FILES)
    root = tmp_path / "root"
    write_folder(root, FILES, "own")
    (root / "images").symlink_to(elsewhere)
    (root / "same").symlink_to("own")
    (tmp_path / "root too").symlink_to(root)
    for place in (root, tmp_path / "root too"):
        assert reasons(list_images(place, "images")) == {"images": "is a link out of the dataset"}
        assert contents(list_images(place, "same")) == FILES


def test_links_that_lead_round_or_nowhere_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "root", FILES)
    (folder / "a cat/itself.png").symlink_to("itself.png")
    (folder / "a cat/round").symlink_to("..")
    (folder / "a cat/batch 2").symlink_to(tmp_path)
    (folder / "a cat/gone.png").symlink_to(tmp_path / "gone.png")
    (folder / "all").symlink_to(".")
    found = list_images(tmp_path / "root", "images")
    assert {path: reason for path, reason in reasons(found).items() if "/all/" not in path} == {
        "images/a cat/itself.png": "is a link to nothing",
        "images/a cat/round": "is a link to a folder; put that folder itself there",
        "images/a cat/batch 2": "is a link out of the dataset",
        "images/a cat/gone.png": "is a link to nothing; `dvc checkout` mends it if DVC made it",
    }
    assert found.classes == ("<img src=x onerror=alert(1)> 犬", "a cat", "all")
    assert {path: data for path, data in contents(found).items() if not path.startswith("all/")} == FILES


def test_a_single_folder_that_is_a_link_to_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/images").symlink_to(".")
    assert list(reasons(list_images(tmp_path, "images"))) == ["images/images/images"]


@pytest.mark.parametrize(
    ("locked", "mode", "told"),
    [
        ("images/", 0, "images/"),
        ("images/a cat/", 0, "images/a cat/"),
        ("images/a cat/batch 2/", 0, "images/a cat/batch 2/"),
        ("images/a cat/batch 2/", 0o644, "images/a cat/batch 2/1.png"),  # may be listed and not entered
        ("images.zip", 0, "images.zip"),
    ],
)
def test_what_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locked: str, mode: int, told: str
) -> None:
    write = write_zip if locked.endswith(".zip") else write_folder
    write(tmp_path, {"a cat/batch 2/1.png": b"first", "a dog/1.png": b"second"})
    monkeypatch.chdir(tmp_path)  # another user could not come here
    Path().chmod(0o755)
    Path(locked).chmod(mode)
    user = os.geteuid()
    if user == 0:  # who may read everything
        os.seteuid(65534)
    try:
        found = list_images(Path(), "images")
    finally:
        os.seteuid(user)
        Path(locked).chmod(0o755)
    assert reasons(found) == {told: "can't be opened: Permission denied"}
    assert len(found.members) == (locked not in ("images/", "images.zip"))


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    os.mkfifo(folder / "a cat/pipe.png")
    assert reasons(list_images(tmp_path, "images")) == {"images/a cat/pipe.png": "is no regular file"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("two\nlines.png", "its name holds a line break"),
        ("\x1b[31mred.png", "its name holds a line break, another control character"),
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


def test_names_that_begin_with_a_dash_are_names(tmp_path: Path) -> None:
    files = {**FILES, "a cat/-rf.png": b"fourth", "--help/1.png": b"fifth"}
    for folder in both(tmp_path, files, "-images"):
        assert contents(folder) == files
        assert not folder.refused


def test_a_class_named_like_a_drive_is_a_class_in_a_zip_too(tmp_path: Path) -> None:
    files = {"A: good/1.png": b"first", "B: bad/1.png": b"second"}
    write_folder(tmp_path, files, "folder")
    write_zip(tmp_path, files, "zip")
    for name in ("folder", "zip"):
        assert contents(list_images(tmp_path, name)) == files


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("../evil.png", "climbs out"),
        ("..\\evil.png", "climbs out"),
        ("a cat\\..\\..\\evil.png", "climbs out"),
        ("\\\\server\\evil.png", "absolute"),
        ("C:\\evil.png", "absolute"),
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


def test_a_repeated_name_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path, FILES)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a cat/1.png", b"again")
    folder = list_images(tmp_path, "images")
    assert reasons(folder) == {"images/a cat/1.png": "is in the zip more than once"}
    assert contents(folder) == FILES


def test_a_file_larger_than_allowed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_bytes, "MAX_IMAGE_BYTES", 400)
    write_folder(tmp_path, FILES, "folder")
    write_zip(tmp_path, FILES, "zip")
    assert reasons(list_images(tmp_path, "folder"))["folder/a cat/1.png"].startswith("has 500 bytes")
    assert reasons(list_images(tmp_path, "zip"))["zip/a cat/1.png"].startswith("has 500 bytes")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [(24, 3, "another size"), (24, 600, "another size"), (16, 0, "another checksum"), (42, 5, "not where")],
)
def test_a_false_size_checksum_or_offset_is_noticed_when_reading(
    tmp_path: Path, method: int, offset: int, value: int, reason: str
) -> None:
    path = write_zip(tmp_path, {"a cat/1.png": b"first" * 100}, method=method)
    change_directory(path, offset, struct.pack("<I", value))
    with pytest.raises(UnreadableError, match=reason):
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
    assert refused.reason.startswith("is no sound zip file: its members overlap, or lie outside of it")


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_zip_that_lacks_its_first_bytes_is_refused(tmp_path: Path, cut: int) -> None:
    path = write_zip(tmp_path, FILES)
    path.write_bytes(path.read_bytes()[cut:])
    (refused,) = list_images(tmp_path, "images").refused
    assert refused.reason.startswith("is no sound zip file")


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"no zip at all" * 100])
def test_a_file_that_is_no_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images.zip").write_bytes(content)
    (refused,) = list_images(tmp_path, "images").refused
    assert refused.reason.startswith("is no sound zip file")


def test_a_file_that_vanished_is_unreadable(tmp_path: Path) -> None:
    write_folder(tmp_path, FILES)
    folder = list_images(tmp_path, "images")
    (tmp_path / "images/a cat/1.png").unlink()
    with pytest.raises(UnreadableError, match="can't be opened"):
        contents(folder)
