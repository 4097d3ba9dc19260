"""Which workers share a training, and which of them this process is, as the surroundings say.

A worker is a process, on one machine with others or on one of its own. ``TF_CONFIG`` names them, TensorFlow's own way.
SLURM and Kubernetes number the processes that they start; ``stages/worker.py`` makes a ``TF_CONFIG`` of that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stages.common.console import UserError

PORT = 2222  # where none is given; TensorFlow's documentation has it in its examples
# SLURM may run two jobs on a machine. As is usual there, each takes ports of its own, by its number; so many that its
# further tasks don't take those of the next job.
SLURM_FIRST_PORT, SLURM_JOBS, SLURM_PORTS_A_JOB = 10_000, 1_000, 20
EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Cluster:
    """The workers of a training.

    Attributes:
        addresses: ``host:port`` of each worker, reachable by all others; the first one's first.
        index: of this process among them, from 0.
    """

    addresses: tuple[str, ...]
    index: int

    def __post_init__(self) -> None:
        for address in self.addresses:
            found = re.fullmatch(r"(?:[^\s:]+|\[[\da-fA-F:]+\]):(\d{1,5})", address)
            if not found or int(found[1]) not in range(1, 65_536):
                raise UserError(f"the address of a worker should be host:port, port 1 to 65535; it is {address}")
        if len(set(self.addresses)) < len(self.addresses):
            raise UserError(f"two workers have one address: {', '.join(self.addresses)}")
        if self.index not in range(len(self.addresses)):
            raise UserError(f"there are {len(self.addresses)} workers, numbered from 0; this one can't be {self.index}")

    @property
    def others(self) -> list[int]:
        return [index for index in range(len(self.addresses)) if index != self.index]

    def name(self, index: int) -> str:
        return f"worker {index} ({self.addresses[index]})"

    def endpoint(self, index: int) -> tuple[str, int]:
        """Host and port of a worker."""
        host, _, port = self.addresses[index].rpartition(":")
        return host.strip("[]"), int(port)

    def as_tf_config(self) -> str:
        task = {"type": "worker", "index": self.index}
        return json.dumps({"cluster": {"worker": list(self.addresses)}, "task": task})


def from_tf_config(environment: Mapping[str, str]) -> Cluster | None:
    """The cluster that ``TF_CONFIG`` describes; None without it.

    Raises:
        UserError: it is no such description.
    """
    if not environment.get("TF_CONFIG"):
        return None
    try:
        config = json.loads(environment["TF_CONFIG"])
        (kind,) = config["cluster"]
        addresses, task = config["cluster"]["worker"], config["task"]
        fits = kind == task["type"] == "worker" and isinstance(addresses, list)
        fits = fits and all(isinstance(address, str) for address in addresses)
        index = int(str(task["index"]))  # so that 1.5 and true are none
    except (ValueError, KeyError, TypeError):
        fits = False
    if not fits:
        raise UserError(f"TF_CONFIG should be like {EXAMPLE}; it is {environment['TF_CONFIG']}")
    return Cluster(tuple(addresses), index)


def from_slurm(environment: Mapping[str, str]) -> Cluster | None:
    """The tasks of the job step that ``srun`` has started; None without one.

    SLURM numbers the tasks machine by machine, unless ``srun --distribution`` asks for something else.

    Raises:
        UserError: a variable of SLURM's is missing, or they don't fit each other.
    """
    if "SLURM_STEP_NUM_TASKS" not in environment:
        return None
    try:
        hosts = _hosts(environment["SLURM_STEP_NODELIST"])
        tasks = list(_repeated(environment["SLURM_STEP_TASKS_PER_NODE"]))
        port = SLURM_FIRST_PORT + int(environment["SLURM_JOB_ID"]) % SLURM_JOBS * SLURM_PORTS_A_JOB
        addresses = [f"{host}:{port + task}" for host, count in zip(hosts, tasks, strict=True) for task in range(count)]
        return Cluster(tuple(addresses), int(environment["SLURM_PROCID"]))
    except (KeyError, ValueError) as error:
        raise UserError(f"SLURM's variables don't tell the tasks of this step ({error}); start it by `srun`") from None


def from_kubernetes(environment: Mapping[str, str]) -> Cluster | None:
    """The pods of an indexed job whose template lists their hosts in ``WORKERS``, comma-separated; None without it.

    Raises:
        UserError: the index of the pod is no number.
    """
    if not environment.get("WORKERS") or "JOB_COMPLETION_INDEX" not in environment:
        return None
    hosts = [host.strip() for host in environment["WORKERS"].split(",")]
    addresses = [host if ":" in host else f"{host}:{PORT}" for host in hosts]
    index = environment["JOB_COMPLETION_INDEX"]
    if not index.isdecimal():
        raise UserError(f"JOB_COMPLETION_INDEX should be the number of this pod, from 0; it is {index!r}")
    return Cluster(tuple(addresses), int(index))


def _hosts(nodes: str) -> Iterator[str]:
    """The hosts of a list of SLURM's: ``n[01-03,7],m`` stands for n01, n02, n03, n7 and m."""
    for pattern in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", nodes):
        yield from _expanded(pattern)


def _expanded(pattern: str) -> Iterator[str]:
    match = re.fullmatch(r"([^\[]*)\[([^\]]*)\](.*)", pattern)
    if not match:
        yield pattern
        return
    before, ranges, after = match.groups()
    for numbers in ranges.split(","):
        first, _, last = numbers.partition("-")
        for number in range(int(first), int(last or first) + 1):
            yield from _expanded(f"{before}{number:0{len(first)}}{after}")


def _repeated(counts: str) -> Iterator[int]:
    """The numbers of a list of SLURM's: ``2(x3),1`` stands for 2, 2, 2 and 1."""
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", counts):
        yield from [int(count)] * int(times or 1)
