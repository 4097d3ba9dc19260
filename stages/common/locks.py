"""Locks between processes. The system gives each up when its process ends, however it does."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from io import FileIO
from pathlib import Path

from stages.common.console import UserError

STAGES = Path(".dvc/tmp/stages.lock")  # beside DVC's own locks


@contextmanager
def locked(path: Path, on_busy: Callable[[str], object]) -> Iterator[None]:
    """Hold the lock ``path`` during the block, and wait for it if another process does.

    Where there can be none, as in a folder that is absent or may not be written, the block runs without.

    Args:
        on_busy: is called before the wait, with the number of the other process, or nothing if it could not be noted.
    """
    with _opened(path) as file:
        if file is None:
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            on_busy(file.read().decode())
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks
        with suppress(OSError):  # a full disk
            file.truncate(0)
            file.write(str(os.getpid()).encode())
        yield


@contextmanager
def one_stage_at_a_time() -> Iterator[None]:
    """Let no other stage write into this project during the block.

    DVC runs one stage at a time. But that of a ``dvc repro`` that was killed alone runs on, and would replace the
    results of a later one by its own.

    Raises:
        UserError: another stage runs.
    """

    def refuse(process: str) -> None:
        end = f", or end it by `kill {process}`" if process else ""
        raise UserError(f"another stage still runs in this folder; wait for it{end}")

    with locked(STAGES, refuse):
        yield


def _opened(path: Path) -> AbstractContextManager[FileIO | None]:
    try:
        path.parent.mkdir(exist_ok=True)
        return open(path, "ab+", buffering=0)
    except OSError:
        return nullcontext()
