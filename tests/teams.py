"""Several workers on this machine that share a training: real processes, each in its own folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from stages.model.cluster import Cluster
from tests.defaults import EVERY_PART_OF_A_RECIPE, PARAMS_FILE, ROOT, SMALL_RESIDUAL
from tests.drawn import make_split
from tests.projects import TINY, Project

EVERYTHING: dict[str, Any] = {
    **SMALL_RESIDUAL,
    **{f"train.{key}": value for key, value in EVERY_PART_OF_A_RECIPE.items()},
    "train.parts": 6,
    "train.epochs": 30,
}


def free_addresses(count: int) -> tuple[str, ...]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listening.getsockname()[1] for listening in sockets]
    for listening in sockets:
        listening.close()
    return tuple(f"127.0.0.1:{port}" for port in ports)


class Worker:
    """A process in a folder, and what it prints; ended at the end of a ``with`` block if it has not ended by then."""

    def __init__(self, folder: Path, cluster: Cluster | None, *command: str, **variables: str) -> None:
        self.log = folder / f"worker{cluster.index if cluster else ''}.log"
        environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
        proxy = {"http_proxy": "http://127.0.0.1:9"}  # for other traffic; workers have to do without it
        environment |= (
            {"PYTHONPATH": str(ROOT)} | ({"TF_CONFIG": cluster.as_tf_config()} if cluster else {}) | proxy | variables
        )
        with open(self.log, "w") as log:
            command = (sys.executable, *command)
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def wait_for(self, text: str, seconds: float = 400) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.log.read_text():
            assert time.monotonic() < deadline, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def code(self, seconds: float = 400) -> int:
        """Its exit code; a test fails if there is none in this time."""
        return self.process.wait(seconds)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def training_folder(folder: Path, changes: dict[str, Any]) -> Path:
    """A small project as ``verify`` leaves it, with changed parameters."""
    folder.mkdir()
    shutil.copy(PARAMS_FILE, folder)
    Project(folder).set(TINY | changes)
    for seed, split in enumerate(("train", "validation")):
        make_split(folder / "data/verified" / split, (21, 12), seed)
    return folder


def team(folders: list[Path]) -> list[Worker]:
    """A training that is shared by a worker in each of the folders; the first folder alone: by one process."""
    addresses = free_addresses(len(folders))
    clusters = [Cluster(addresses, index) if len(folders) > 1 else None for index in range(len(folders))]
    return [
        Worker(folder, cluster, "-m", "stages.worker" if cluster and cluster.index else "stages.train")
        for folder, cluster in zip(folders, clusters, strict=True)
    ]


def results(folder: Path) -> dict[str, bytes]:
    files = [*(folder / "models").iterdir(), *(folder / "metrics").iterdir()]
    return {file.name: file.read_bytes() for file in files}
