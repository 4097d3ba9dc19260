"""Downloads from a real server on loopback that behaves well, badly, and not at all."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from stages.cifar10.downloads import Patience, Remote, download
from stages.common.console import UserError

CONTENT = np.random.default_rng(0).bytes(1_000_000)
IMPATIENT = Patience(connect=2, silence=0.8, total=20, attempts=3, pause=0.01)
Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers each request by the next of the server's behaviours, the last of them again and again."""

    server: Server

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        behaviours = self.server.behaviours
        (behaviours.pop(0) if len(behaviours) > 1 else behaviours[0])(self)

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def begin(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviours: list[Behaviour] = []
        self.ranges: list[str | None] = []
        self.stopping = threading.Event()

    def remote(self, content: bytes = CONTENT) -> Remote:
        url = f"http://127.0.0.1:{self.server_address[1]}/archive.tar.gz"
        return Remote(url, len(content), hashlib.sha256(content).hexdigest())


@contextmanager
def running_server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


def _offset(handler: Handler) -> int:
    return int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))


def whole(handler: Handler) -> None:
    handler.begin(Content_Length=len(CONTENT))
    handler.wfile.write(CONTENT)


def ranged(handler: Handler) -> None:
    offset = _offset(handler)
    if not offset:
        whole(handler)
        return
    span = f"bytes {offset}-{len(CONTENT) - 1}/{len(CONTENT)}"
    handler.begin(206, Content_Length=len(CONTENT) - offset, Content_Range=span)
    handler.wfile.write(CONTENT[offset:])


def broken_off(handler: Handler) -> None:
    """A third of the file, as though a cable had been pulled."""
    handler.begin(Content_Length=len(CONTENT))
    handler.wfile.write(CONTENT[:333_333])


def hung_up(handler: Handler) -> None:
    """The connection ends without an answer."""
    handler.close_connection = True


def silent(handler: Handler) -> None:
    handler.server.stopping.wait(10)


def silent_midway(handler: Handler) -> None:
    broken_off(handler)
    handler.wfile.flush()
    handler.server.stopping.wait(10)


def trickle(handler: Handler) -> None:
    handler.begin(Content_Length=len(CONTENT))
    while not handler.server.stopping.wait(0.05):
        handler.wfile.write(b"x")


def status(code: int) -> Behaviour:
    return lambda handler: handler.begin(code, Content_Length=0)


def page(handler: Handler) -> None:
    handler.begin(Content_Type="text/html; charset=utf-8", Content_Length=13)
    handler.wfile.write(b"<html></html>")


def of_another_size(handler: Handler) -> None:
    handler.begin(Content_Length=5)
    handler.wfile.write(b"12345")


def wrong_bytes(handler: Handler) -> None:
    handler.begin(Content_Length=len(CONTENT))
    handler.wfile.write(bytes(len(CONTENT)))


def endless(handler: Handler) -> None:
    handler.begin()  # no length: the end of the connection would be the end of the file
    while not handler.server.stopping.is_set():
        try:
            handler.wfile.write(bytes(100_000))
        except OSError:
            return


def of_another_range(handler: Handler) -> None:
    handler.begin(206, Content_Range=f"bytes 5-9/{len(CONTENT)}", Content_Length=5)
    handler.wfile.write(b"12345")


def gzip_labelled(handler: Handler) -> None:
    """As servers do that take the archive for a page which they have packed for the journey."""
    handler.begin(Content_Length=len(CONTENT), Content_Encoding="x-gzip")
    handler.wfile.write(CONTENT)


@pytest.mark.parametrize(
    ("behaviours", "requests"),
    [
        ([whole], [None]),
        ([gzip_labelled], [None]),
        ([broken_off, ranged], [None, "bytes=333333-"]),
        ([broken_off, whole], [None, "bytes=333333-"]),  # a server that knows no ranges starts again
        ([silent_midway, ranged], [None, "bytes=333333-"]),
        ([broken_off, status(416), ranged], [None, "bytes=333333-", None]),
        ([broken_off, of_another_range, ranged], [None, "bytes=333333-", None]),
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
        (of_another_size, 1, "the server offers 5 bytes instead of 1,000,000"),
        (wrong_bytes, 1, "the server sent a file of the right size with a wrong checksum"),
        (endless, 1, "the server sends more than the 1,000,000 bytes of the archive"),
        (hung_up, 3, "the connection broke off (0 of 1,000,000 bytes have arrived)"),
        (silent, 3, "no answer within 0.8 s (0 of 1,000,000 bytes have arrived)"),
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


def test_a_trickle_can_not_outlast_the_deadline(tmp_path: Path, server: Server) -> None:
    server.behaviours = [trickle]
    start = time.monotonic()
    with pytest.raises(UserError, match=r"^too slow: not done after 1 s \([0-9]+ of 1,000,000 bytes have arrived\)$"):
        download(tmp_path / "archive", server.remote(), Patience(silence=5, total=1))
    assert time.monotonic() - start < 3


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
