"""Ctrl-C and SIGTERM end a stage with one line, whenever they come.

- While modules load, nothing has been written, and the process ends at once. An exception would not do: many libraries
  swallow one that comes during their import, or turn it into an error of their own.
- While the stage works, the first signal raises ``KeyboardInterrupt``, so that half-written files are removed. A second
  one ends the process at once, like ``kill -9``. Where the exception comes while Python or a library tidies up, it is
  printed or dropped there, and the work would go on; so long work asks now and then whether there was a signal.
- When the stage is done, signals are ignored: there is nothing left to stop.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

_done_so_far = "nothing was left half-written"
_received: list[int] = []

SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}

try:
    # A duplicate, because standard error is redirected while TensorFlow loads.
    _standard_error = os.dup(2)
except OSError:  # the process was started without one
    _standard_error = os.open(os.devnull, os.O_WRONLY)


def end_loading_at_once() -> None:
    """Let an interrupt end the process at once while ``python -m stages.NAME`` loads its modules.

    A process that imports the stages for another purpose, such as a test, keeps its handlers.
    """
    if sys.argv[0] == "-m":  # Python's value until it has found the module to run
        # What stands before the module's own arguments, written apart from its option or not: -um stages.train
        name = sys.orig_argv[-len(sys.argv)].rpartition("stages.")[2]
        _handle(lambda number, _: _end_at_once(name, number))


@contextmanager
def handled(name: str) -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` in the block at an interrupt, and exit when the exception leaves the block.

    Raises:
        SystemExit: there was an interrupt; the code is 128 plus the signal's number, as in shells.
    """
    _received.clear()

    def handle(number: int, _: object) -> None:
        if _received:
            _end_at_once(name, number)
        _received.append(number)
        raise KeyboardInterrupt

    try:
        _handle(handle)
        yield
    except BaseException:
        # Of any type, because libraries turn a KeyboardInterrupt into errors of their own.
        if _received:
            _handle(signal.SIG_IGN)
            _say(name, _received[0])
            sys.exit(128 + _received[0])
        raise
    finally:
        _handle(signal.SIG_IGN)


def raise_if_received() -> None:
    """Raise the exception of an interrupt once more, for work that goes on because it was lost.

    Raises:
        KeyboardInterrupt: there was an interrupt.
    """
    if _received:
        raise KeyboardInterrupt


@contextmanager
def hidden_from_children() -> Iterator[None]:
    """Shield the processes that the block starts from Ctrl-C, which a terminal sends to all of them.

    A Ctrl-C during the block reaches this process when the block is done.
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
        # Shells start background processes with the signal ignored; it stays so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _end_at_once(name: str, number: int) -> NoReturn:
    _say(name, number)
    os._exit(128 + number)


def _say(name: str, number: int) -> None:
    text = f"\n{name}: {SIGNALS[signal.Signals(number)]}; {_done_so_far}\n"
    os.write(_standard_error, text.encode())
