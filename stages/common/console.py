"""What the user sees of a stage in the terminal: its errors and its progress."""

from __future__ import annotations

import errno
import gc
import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from tqdm import tqdm

from stages.common import interrupts

SECONDS_BETWEEN_LOG_LINES = 15.0


class UserError(Exception):
    """A mistake that the user can fix; its text says what is wrong, where, and what to do."""


def run_stage(name: str, stage: Callable[[], None]) -> None:
    """Run ``stage`` as the main program of a process.

    A :class:`UserError`, a failure of the file system (full disk, read-only folder), Ctrl-C or SIGTERM ends the
    process with one short message on standard error and a non-zero exit code. Any other exception is a bug and keeps
    its traceback.
    """
    # The imported modules stay until the process ends; searching them for garbage would take 0.3 s.
    gc.freeze()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Some locales know few characters; a class's name must not make the stage fail there. In a log, lines stand in
        # the order in which they were printed, errors among them.
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        with interrupts.handled(name):
            stage()
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of the output, such as `head`, has left. Python would complain again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in FILE_SYSTEM_ERRORS:
            raise
        if error.errno in NO_ROOM:
            _remove_compiled_modules()
        place = error.filename2 or error.filename  # the second is where a file should have been moved to
        where = f": {place}" if place else ""
        remedy = "allow reading and writing" if isinstance(error, PermissionError) else "make room or allow writing"
        print(f"{name}: {os.strerror(error.errno)}{where}; {remedy} there, then run again", file=sys.stderr)
        sys.exit(1)


NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FILE_SYSTEM_ERRORS = {
    *NO_ROOM,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,  # a file stands where a folder belongs
    errno.EISDIR,  # and the other way round
    errno.EEXIST,
}


def _remove_compiled_modules() -> None:
    """Remove what Python compiled of the pipeline's modules; it does so again when it loads them.

    Where there is no room for all of such a file, Python before 3.12.8 and 3.13.1 leaves a part of it, and can't load
    the module from then on (cpython#126606).
    """
    for folder in Path(__file__).parents[1].rglob("__pycache__"):
        shutil.rmtree(folder, ignore_errors=True)


class Progress:
    """Shows progress: as a bar on a terminal, as a line every 15 seconds in a log."""

    def __init__(self, title: str, total: int | None, unit: str) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._done = 0
        self._last_line, self._done_then = time.monotonic(), 0
        self._bar = (  # it appears after a second; quicker work needs none
            tqdm(desc=title, total=total, unit=unit, unit_scale=True, dynamic_ncols=True, delay=1, leave=False)
            if sys.stderr.isatty()
            else None
        )

    def advance(self, count: int) -> None:
        """Count ``count`` more units as done.

        Raises:
            KeyboardInterrupt: there was an interrupt, and the work went on nevertheless.
        """
        interrupts.raise_if_received()
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif (seconds := time.monotonic() - self._last_line) >= SECONDS_BETWEEN_LOG_LINES:
            line = f"{self._title}: {self._done:,}"
            if self._total:
                left = (self._total - self._done) * seconds / max(1, self._done - self._done_then)
                line += f" of {self._total:,} {self._unit}, at most {timedelta(seconds=round(left))} left"
            else:
                line += f" {self._unit}"
            print(line, file=sys.stderr, flush=True)
            self._last_line, self._done_then = time.monotonic(), self._done

    def say(self, line: str) -> None:
        """Print ``line`` above the bar; in a log it replaces the next line of progress."""
        self._last_line, self._done_then = time.monotonic(), self._done
        tqdm.write(f"{self._title}: {line}")
        sys.stdout.flush()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


@contextmanager
def progress(title: str, total: int | None, unit: str) -> Iterator[Progress]:
    """A :class:`Progress` over ``total`` units (None if unknown), closed at the end."""
    bar = Progress(title, total, unit)
    try:
        yield bar
    finally:
        bar.close()
