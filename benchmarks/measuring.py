"""Commands timed as whole processes, with the memory that they and their children hold, and figures over rounds."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

SECONDS_BETWEEN_SAMPLES = 0.5  # of memory; the kernel takes some milliseconds to count the pages of a large process


class Run(NamedTuple):
    """One run of a command.

    Attributes:
        seconds: from its start to its end.
        memory: the most that it and its children held, in MiB; what they share counts once where the system tells.
        lines: what it printed on standard output, each with the second in which it came.
    """

    seconds: float
    memory: float
    lines: list[tuple[float, str]]


def run(command: Sequence[str | Path], folder: Path) -> Run:
    """Run a command that must succeed."""
    # With it Python would compile all modules anew each time: half a second of DVC's alone.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        ended = threading.Event()
        samples: list[int] = []
        sampler = threading.Thread(target=_sample, args=(psutil.Process(process.pid), ended, samples), daemon=True)
        sampler.start()
        assert process.stdout is not None
        with process.stdout as printed:
            lines = [(time.perf_counter() - started, line.rstrip()) for line in printed]
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        sampler.join()
        if process.returncode:
            errors.seek(0)
            sys.exit(f"bench: {' '.join(map(str, command))} failed\n{errors.read()}")
    largest = usage.ru_maxrss * (1 if sys.platform == "darwin" else 2**10)  # in bytes there, in KiB elsewhere
    return Run(seconds, max(largest, *samples, 0) / 2**20, lines)


def _sample(process: psutil.Process, ended: threading.Event, samples: list[int]) -> None:
    while not ended.wait(SECONDS_BETWEEN_SAMPLES):
        with suppress(psutil.Error):
            tree = [process, *process.children(recursive=True)]
            samples.append(sum(_memory(each) for each in tree))


def _memory(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        memory = process.memory_full_info()
        return int(getattr(memory, "pss", memory.uss))
    return 0


def ratio(seconds: Sequence[float], of: Sequence[float]) -> str:
    """Median and range of the ratios, round by round."""
    return spread([one / other for one, other in zip(seconds, of, strict=True)], decimals=2)


def spread(values: Sequence[float], decimals: int = 1) -> str:
    """Median and range."""
    return f"{statistics.median(values):.{decimals}f} ({min(values):.{decimals}f} to {max(values):.{decimals}f})"


def processor() -> str:
    information = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", information.read_text()) if information.exists() else []
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"
