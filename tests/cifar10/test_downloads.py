"""Downloads from a real server on loopback that behaves well, badly, and not at all."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.cifar10.downloads import Patience, Remote, download
from stages.common.console import UserError
from tests.servers import (
    CONTENT,
    IMPATIENT,
    Behaviour,
    Server,
    another_range,
    another_size,
    broken_off,
    endless,
    gzip_labelled,
    hung_up,
    page,
    ranged,
    running_server,
    silent,
    silent_midway,
    status,
    trickle,
    whole,
    wrong_bytes,
)


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.mark.parametrize(
    ("behaviours", "requests"),
    [
        ([whole], [None]),
        ([gzip_labelled], [None]),
        ([broken_off, ranged], [None, "bytes=333333-"]),
        ([broken_off, whole], [None, "bytes=333333-"]),  # a server that knows no ranges starts again
        ([silent_midway, ranged], [None, "bytes=333333-"]),
        ([broken_off, status(416), ranged], [None, "bytes=333333-", None]),
        ([broken_off, another_range, ranged], [None, "bytes=333333-", None]),
        ([status(503), status(429), whole], [None, None, None]),
        ([silent, whole], [None, None]),
    ],
)
def test_a_download_succeeds(
    tmp_path: Path, server: Server, behaviours: list[Behaviour], requests: list[str | None]
) -> None:
    server.behaviours = list(behaviours)
    download(tmp_path / "archive", server.remote(), IMPATIENT)
    assert (tmp_path / "archive").read_bytes() == CONTENT
    assert server.ranges == requests
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


@pytest.mark.parametrize(
    ("behaviour", "attempts", "reason"),
    [
        (status(404), 1, "the server answered with status 404"),
        (status(503), 3, "the server answered with status 503 (0 of 1,000,000 bytes have arrived)"),
        (page, 1, "the server answered with a web page instead of the archive"),
        (another_size, 1, "the server offers 5 bytes instead of 1,000,000"),
        (wrong_bytes, 1, "the server sent a file of the right size with a wrong checksum"),
        (endless, 1, "the server sends more than the 1,000,000 bytes of the archive"),
        (hung_up, 3, "the connection broke off (0 of 1,000,000 bytes have arrived)"),
        pytest.param(silent, 3, "no answer within 0.8 s (0 of 1,000,000 bytes have arrived)", marks=pytest.mark.slow),
    ],
)
def test_a_download_fails_with_a_reason(
    tmp_path: Path, server: Server, behaviour: Behaviour, attempts: int, reason: str
) -> None:
    server.behaviours = [behaviour]
    with pytest.raises(UserError) as error:
        download(tmp_path / "archive", server.remote(), IMPATIENT)
    assert str(error.value) == reason
    assert len(server.ranges) == attempts
    assert not (tmp_path / "archive").exists()


def test_a_server_that_always_breaks_off_at_the_same_place_is_given_up(tmp_path: Path, server: Server) -> None:
    server.behaviours = [broken_off]
    reason = r"^the connection broke off \(333,333 of 1,000,000 bytes have arrived\)$"
    with pytest.raises(UserError, match=reason):
        download(tmp_path / "archive", server.remote(), IMPATIENT)
    assert len(server.ranges) == 4  # the first brought something new, the next three did not


@pytest.mark.slow
def test_a_trickle_can_not_outlast_the_deadline(tmp_path: Path, server: Server) -> None:
    server.behaviours = [trickle]
    with pytest.raises(UserError, match=r"^too slow: not done after 1 s \([0-9]+ of 1,000,000 bytes have arrived\)$"):
        download(tmp_path / "archive", server.remote(), Patience(silence=60, total=1))


def test_the_next_run_goes_on_where_the_last_broke_off(tmp_path: Path, server: Server) -> None:
    (tmp_path / ".archive.part").write_bytes(CONTENT[:600_000])
    server.behaviours = [ranged]
    download(tmp_path / "archive", server.remote(), IMPATIENT)
    assert (tmp_path / "archive").read_bytes() == CONTENT
    assert server.ranges == ["bytes=600000-"]


@pytest.mark.parametrize("left", [bytes(600_000), bytes(1_000_000), bytes(1_200_000)])
def test_a_wrong_part_of_an_earlier_run_is_fetched_again(tmp_path: Path, server: Server, left: bytes) -> None:
    (tmp_path / ".archive.part").write_bytes(left)
    server.behaviours = [ranged]
    download(tmp_path / "archive", server.remote(), IMPATIENT)
    assert (tmp_path / "archive").read_bytes() == CONTENT
    assert server.ranges[-1] is None


def test_a_wrong_checksum_leaves_nothing_to_go_on_from(tmp_path: Path, server: Server) -> None:
    server.behaviours = [wrong_bytes]
    with pytest.raises(UserError, match="wrong checksum"):
        download(tmp_path / "archive", server.remote(), IMPATIENT)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_named_in_words(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but nobody listens
        remote = Remote(f"http://127.0.0.1:{unused.getsockname()[1]}/", 10, "")
        with pytest.raises(UserError, match=r"^connection failed: .*refused.* \(0 of 10 bytes have arrived\)$"):
            download(tmp_path / "archive", remote, IMPATIENT)
