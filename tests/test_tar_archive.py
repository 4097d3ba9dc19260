"""Tar archives that mean harm, or are just broken."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from stages.common.console import UserError
from stages.dataset.tar_archive import read_members, top_folder
from tests.tiny_cifar10 import tar_gz


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    archive = tar_gz(tmp_path / "a.tgz", {"top/one": b"1", "top/two": b"22"}, member("top/folder", tarfile.DIRTYPE))
    assert list(read_members(archive, {"top/two": 2})) == [("top/two", b"22")]
    assert top_folder(archive) == "top"


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (member("/etc/passwd"), "the name '/etc/passwd' leads out of the archive"),
        (member("top/../../up"), "the name 'top/../../up' leads out of the archive"),
        (member("..", tarfile.DIRTYPE), "the name '..' leads out of the archive"),
        (member("top/one"), "holds 'top/one' twice"),
        (member("top/link", tarfile.SYMTYPE, "/etc/passwd"), "'top/link' is neither a plain file nor a folder"),
        (member("top/link", tarfile.LNKTYPE, "top/one"), "'top/link' is neither a plain file nor a folder"),
        (member("top/pipe\n", tarfile.FIFOTYPE), "'top/pipe\\n' is neither a plain file nor a folder"),
        (member("top/disk", tarfile.BLKTYPE), "'top/disk' is neither a plain file nor a folder"),
    ],
)
def test_an_archive_with_an_odd_member_is_refused(tmp_path: Path, odd: tarfile.TarInfo, reason: str) -> None:
    archive = tar_gz(tmp_path / "a.tgz", {"top/one": b"1"}, odd)
    with pytest.raises(UserError) as error:
        list(read_members(archive, {"top/one": 1}))
    assert str(error.value) in (f"{archive}: {reason}", f"{archive} {reason}")


def test_a_link_in_the_place_of_a_wanted_member_is_not_followed(tmp_path: Path) -> None:
    archive = tar_gz(tmp_path / "a.tgz", {}, member("top/one", tarfile.SYMTYPE, "/etc/passwd"))
    with pytest.raises(UserError, match="'top/one' is neither a plain file nor a folder"):
        list(read_members(archive, {"top/one": 10_000}))


@pytest.mark.parametrize("size", [8_000_000_000, 2**60, -512])
def test_a_false_size_is_refused_at_once(tmp_path: Path, size: int) -> None:
    info = member("top/one")
    info.size = size
    (tmp_path / "a.tgz").write_bytes(gzip.compress(info.tobuf() + bytes(10_240)))
    with pytest.raises(UserError, match="'top/one' declares a false size"):
        list(read_members(tmp_path / "a.tgz", {"top/two": 1}))


def test_a_missing_member_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.tgz holds no top/two"):
        list(read_members(tar_gz(tmp_path / "a.tgz", {"top/one": b"1"}), {"top/one": 1, "top/two": 1}))


def test_a_member_beyond_its_bound_is_not_inflated(tmp_path: Path) -> None:
    archive = tar_gz(tmp_path / "a.tgz", {"top/one": bytes(10_000_000)})
    assert archive.stat().st_size < 100_000
    with pytest.raises(UserError, match="top/one has 10,000,000 bytes; 1,000 at most"):
        list(read_members(archive, {"top/one": 1_000}))


def test_an_archive_that_inflates_without_end_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.tgz"
    megabyte = bytes(1_000_000)
    with gzip.open(archive, "wb", compresslevel=1) as packed:
        for name in ("top/bomb", "top/another"):
            info = member(name)
            info.size = 512 * 300_000
            packed.write(info.tobuf())
            for _ in range(info.size // len(megabyte)):
                packed.write(megabyte)
            packed.write(bytes(info.size % len(megabyte)))
    with pytest.raises(UserError, match=r"bomb\.tgz inflates to more than 256,000,000 bytes"):
        list(read_members(archive, {"top/one": 1}))


def test_an_archive_of_many_members_is_refused(tmp_path: Path) -> None:
    archive = tar_gz(tmp_path / "a.tgz", {f"top/{number}": b"" for number in range(101)})
    with pytest.raises(UserError, match="holds more than 100 members"):
        list(read_members(archive, {"top/1": 1}))


def test_a_file_that_is_no_archive_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "no_tar.gz").write_bytes(gzip.compress(b"no archive" * 1000))
    (tmp_path / "folder").mkdir()
    for name in ("text", "empty", "no_tar.gz"):
        with pytest.raises(UserError, match=f"{name} is not a gzipped tar archive, or is damaged: "):
            top_folder(tmp_path / name)
    for name in ("missing", "folder"):
        with pytest.raises(UserError, match=f"{name}: (no such file or directory|is a directory)"):
            top_folder(tmp_path / name)


def test_a_truncated_archive_is_an_error(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    whole = tar_gz(tmp_path / "whole.tgz", {"top/one": content}).read_bytes()
    cut = tmp_path / "cut.tgz"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.tgz is not a gzipped tar archive, or is damaged: "):
        list(read_members(cut, {"top/one": len(content)}))
    cut.write_bytes(gzip.compress(gzip.decompress(whole)[:100_000]))
    with pytest.raises(UserError, match=r"cut\.tgz (is truncated|is not a gzipped tar archive)"):
        list(read_members(cut, {"top/one": len(content)}))


def test_headers_nested_without_end_are_refused(tmp_path: Path) -> None:
    # A long name that is itself preceded by a long name, and so on: the standard library recurses at each.
    long_name = member("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    long_name.size = 2
    nested = io.BytesIO((long_name.tobuf() + b"x".ljust(512, b"\0")) * 5000)
    (tmp_path / "deep.tgz").write_bytes(gzip.compress(nested.getvalue()))
    with pytest.raises(UserError, match=r"deep\.tgz is not a gzipped tar archive, or is damaged"):
        top_folder(tmp_path / "deep.tgz")
