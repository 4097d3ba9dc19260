"""A real server on loopback that answers a download well, badly, or not at all."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from stages.cifar10.downloads import Patience, Remote

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


def another_size(handler: Handler) -> None:
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


def another_range(handler: Handler) -> None:
    handler.begin(206, Content_Range=f"bytes 5-9/{len(CONTENT)}", Content_Length=5)
    handler.wfile.write(b"12345")


def gzip_labelled(handler: Handler) -> None:
    """As servers do that take the archive for a page which they have packed for the journey."""
    handler.begin(Content_Length=len(CONTENT), Content_Encoding="x-gzip")
    handler.wfile.write(CONTENT)
