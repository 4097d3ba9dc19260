"""Clusters of Dask's on this machine, whose workers share nothing with the project but its remotes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


class Cluster:
    """A scheduler, and workers in empty folders of their own, from which the project's code can't be imported."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.contact = folder / "scheduler.json"
        self.processes = [self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")]
        until(self.contact.exists)
        self.address: str = json.loads(self.contact.read_text())["address"]

    def start_worker(self, name: str) -> subprocess.Popen[bytes]:
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(self.folder / name))
        self.processes.append(self._start("worker", "--name", name, *options))
        return self.processes[-1]

    def _start(self, kind: str, *options: str) -> subprocess.Popen[bytes]:
        own = self.folder / options[1] if kind == "worker" else self.folder / kind
        own.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            f"distributed.cli.dask_{kind}",
            "--scheduler-file",
            str(self.contact),
            *options,
        ]
        return subprocess.Popen(command, cwd=own, env=self.environment)

    def close(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


def until(condition: Callable[[], object], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def processes_in(folder: Path) -> list[int]:
    """The processes whose current folder is ``folder`` or lies in it."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and (entry / "cwd").readlink().is_relative_to(folder):
                found.append(int(entry.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found
