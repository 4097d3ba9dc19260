"""Downloads a large file over HTTP: resumes it, limits its size and time, and checks its SHA-256.

What has arrived lies beside the target as ``.NAME.part``. Unlike the parts of ``stages.common.files`` it is kept when a
run fails, and the next run continues from there.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import requests
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from stages.common.console import UserError, progress

CHUNK_BYTES = 1 << 18


@dataclass(frozen=True)
class Remote:
    """A file on a server: its address, its size in bytes and its SHA-256 in hexadecimal."""

    url: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Patience:
    """When to give up on a server; all but ``attempts`` in seconds."""

    connect: float = 10.0
    silence: float = 30.0  # between two pieces of the answer
    total: float = 7200.0  # twice the slowest reported download of CIFAR-10
    attempts: int = 4  # in a row without new bytes
    pause: float = 1.0  # before the second attempt, then doubled


class _BrokenOffError(Exception):
    """An attempt ended early; another one may succeed."""


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def download(target: Path, remote: Remote, patience: Patience = Patience()) -> None:
    """Download ``remote`` to ``target``, which appears only when it is whole and has the right checksum.

    Raises:
        UserError: the server refuses or sends something else, or ``patience`` ran out; the text says which.
    """
    part = target.with_name(f".{target.name}.part")
    resumed = _size(part) > 0
    _complete(part, remote, patience)
    if resumed and sha256_of(part) != remote.sha256:
        # The bytes of an earlier run may be wrong, so start again.
        part.unlink()
        _complete(part, remote, patience)
    if sha256_of(part) != remote.sha256:
        part.unlink()
        raise UserError("the server sent a file of the right size with a wrong checksum")
    os.replace(part, target)


def _complete(part: Path, remote: Remote, patience: Patience) -> None:
    """Download ``part`` to its full size in as many attempts as ``patience`` allows."""
    deadline = time.monotonic() + patience.total
    furthest, fruitless = _size(part), 0
    while True:
        try:
            _attempt(part, remote, patience, deadline)
            return
        except _BrokenOffError as error:
            reason = str(error)
        fruitless = 0 if _size(part) > furthest else fruitless + 1
        furthest = max(furthest, _size(part))
        if fruitless == patience.attempts or time.monotonic() > deadline:
            raise UserError(f"{reason} ({furthest:,} of {remote.size:,} bytes have arrived)")
        time.sleep(patience.pause * 2 ** max(fruitless - 1, 0))


def _attempt(part: Path, remote: Remote, patience: Patience, deadline: float) -> None:
    """Request the missing bytes of ``part`` once and append them.

    Raises:
        _BrokenOffError: the answer ended early, or the server asks to wait.
        UserError: another attempt would not help.
    """
    offset = _size(part)
    if offset >= remote.size:
        return
    # A server that compresses the answer would count other bytes.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    try:
        with requests.get(
            remote.url, headers=headers, stream=True, timeout=(patience.connect, patience.silence)
        ) as answer:
            offset = _start_of(answer, offset, part, remote)
            with part.open("ab" if offset else "wb") as file, progress("downloading", remote.size, "B") as bar:
                bar.advance(offset)
                # read1 returns what has arrived, so a slow trickle can't outlast the deadline.
                while chunk := answer.raw.read1(CHUNK_BYTES, decode_content=False):
                    offset += len(chunk)
                    if offset > remote.size:
                        part.unlink()
                        raise UserError(f"the server sends more than the {remote.size:,} bytes of the archive")
                    file.write(chunk)
                    bar.advance(len(chunk))
                    if time.monotonic() > deadline:
                        raise _BrokenOffError(f"too slow: not done after {patience.total:,.0f} s")
    except (requests.RequestException, HTTPError) as error:
        raise _BrokenOffError(_in_words(error, patience)) from error
    if offset < remote.size:
        raise _BrokenOffError("the server ended the answer early")


def _start_of(answer: requests.Response, offset: int, part: Path, remote: Remote) -> int:
    """Where the answer's first byte belongs in the file: at ``offset`` if the server resumes, else at 0.

    Raises:
        _BrokenOffError: the answer is of no use, but the next one may be.
        UserError: the answer is not the file.
    """
    status = answer.status_code
    if status in (408, 429) or status >= 500:
        raise _BrokenOffError(f"the server answered with status {status}")
    if status == 416 or (status == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-")):
        part.unlink()
        raise _BrokenOffError("the server would not go on from where the download broke off")
    if status not in (200, 206):
        raise UserError(f"the server answered with status {status}")
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        raise UserError("the server answered with a web page instead of the archive")
    start = offset if status == 206 else 0
    length = answer.headers.get("Content-Length", "")
    if length.isdecimal() and start + int(length) != remote.size:
        raise UserError(f"the server offers {start + int(length):,} bytes instead of {remote.size:,}")
    return start


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _in_words(error: Exception, patience: Patience) -> str:
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {patience.connect:g} s"
    if isinstance(error, (requests.ReadTimeout, ReadTimeoutError)):
        return f"no answer within {patience.silence:g} s"
    # requests wraps urllib3's error, which wraps the system's; the innermost one says what happened.
    cause = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    if isinstance(cause, ProtocolError):
        return "the connection broke off"
    cause = getattr(cause, "reason", None) or cause
    return f"connection failed: {str(cause).rpartition(': ')[2].strip()[:200]}"
