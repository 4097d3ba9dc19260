"""Processes that share out the decoding of images, and end when their parent does."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from typing import Any

from stages.common import interrupts
from stages.common.console import UserError

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


@contextmanager
def parallel_map(processes: int) -> Iterator[Map]:
    """``map``, over ``processes`` processes if there are several."""
    if processes == 1:
        yield map
        return
    # "spawn" is the one start method that is safe beside other threads and the same on every system.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_set_up_process)

    def mapped(function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        with interrupts.hidden_from_children():
            return pool.map(function, tasks)  # starts the processes

    try:
        yield mapped
    except BrokenProcessPool:
        raise UserError("a process that decodes images was killed, most likely for want of memory") from None
    except KeyboardInterrupt:
        for process in active_children():  # the pool would wait for them
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _set_up_process() -> None:
    """End when the parent ends: a killed parent must not leave writers behind."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
