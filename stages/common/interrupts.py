"""Ctrl-C and SIGTERM end a stage with one line, at whichever moment they come.

- While modules are loaded nothing has been written yet, and the process ends at once. An exception would not do: many a
  library swallows one that comes in the middle of its import, or turns it into an error of its own.
- While the stage works, the first of them raises ``KeyboardInterrupt``, so that half-written files are removed. Who
  can't wait for that sends another, which ends the process at once; then it is as after ``kill -9``.
- When the stage is done they are ignored: there is nothing left to stop.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

_done_so_far = "nothing was left half-written"

SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}

try:
    # A duplicate, because standard error is set aside while TensorFlow is loaded.
    _standard_error = os.dup(2)
except OSError:  # the process was started without one
    _standard_error = os.open(os.devnull, os.O_WRONLY)


def end_loading_at_once() -> None:
    """Let an interrupt end the process while the modules of ``python -m stages.NAME`` are loaded.

    In a process that imports the stages for another purpose, such as a test, nothing changes.
    """
    if sys.argv[0] == "-m":  # so Python has it while it looks for the module to run; then it is that module's path
        name = sys.orig_argv[sys.orig_argv.index("-m") + 1].removeprefix("stages.")
        _handle(lambda number, _: _end_at_once(name, number))


@contextmanager
def handled(name: str) -> Iterator[None]:
    """Raise an interrupt inside the block, and end the process when the exception leaves it.

    Raises:
        SystemExit: there was an interrupt; the code is 128 and the signal's number, as shells have it.
    """
    received: list[int] = []

    def handle(number: int, _: object) -> None:
        if received:
            _end_at_once(name, number)
        received.append(number)
        raise KeyboardInterrupt

    try:
        _handle(handle)
        yield
    except BaseException:
        # Whatever its type: libraries turn a KeyboardInterrupt into errors of their own.
        if received:
            _handle(signal.SIG_IGN)
            _say(name, received[0])
            sys.exit(128 + received[0])
        raise
    finally:
        _handle(signal.SIG_IGN)


@contextmanager
def hidden_from_children() -> Iterator[None]:
    """Let processes that the block starts never hear of Ctrl-C, which a terminal sends to all of them.

    One that comes meanwhile reaches this process when the block is done.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # processes inherit the mask
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def say_if_interrupted(done_so_far: str) -> None:
    """Let the line of an interrupt end in these words from now on."""
    global _done_so_far
    _done_so_far = done_so_far


def _handle(handler: Callable[[int, Any], Any] | signal.Handlers) -> None:
    for number in SIGNALS:
        # Ignored at the start, it is not for this process: so shells start what runs in the background.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _end_at_once(name: str, number: int) -> NoReturn:
    _say(name, number)
    os._exit(128 + number)


def _say(name: str, number: int) -> None:
    text = f"\n{name}: {SIGNALS[signal.Signals(number)]}; {_done_so_far}\n"
    os.write(_standard_error, text.encode())
