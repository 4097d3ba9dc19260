"""The workers of a training: each computes some of the parts of every batch, and all add up all parts.

So all take the same step and have the same weights, to the byte, at any time. By default parts are sent as they are and
added in their order by everyone, so the sums don't depend on the number of workers. In a ring they do, in their last
bits, but less is sent. A process alone is a team of one, which sends nothing.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.common import interrupts
from stages.common.console import UserError
from stages.model import meeting
from stages.model.backend import tf
from stages.model.cluster import Cluster

# Several of these compute a part of each batch each. The tests have none, and make several of their CPU.
ACCELERATOR = "GPU"
SECONDS_TO_CONNECT = 60  # after all have met; then the first worker tells the others who is missing
SECONDS_TO_HEAR = 30  # how much longer the others wait for its answer
# After which a worker is taken to be lost; the first after half of it. With TensorFlow's 10, a first worker that stands
# still for five seconds on a busy machine ends the training.
SECONDS_OF_SILENCE = 20
# The others still ask a worker that has lost one which one it was, if they were busy meanwhile.
SECONDS_TO_TELL = 5.0
PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # by which TensorFlow's transport would send what workers say


class Workers:
    """The workers of a training, seen from one of them; here a process alone, which computes all parts.

    Attributes:
        first: whether this is the first one, which alone writes files.
    """

    first = True

    def __init__(self) -> None:
        self._devices = tf.config.list_logical_devices(ACCELERATOR)

    def parts(self, parts: int) -> int:
        """Into how many parts a batch is cut, of a recipe that says ``parts``."""
        # A GPU shares its part among its own cores, and rounds in a way of its own.
        return len(self._devices) or parts

    def place(self, part: int) -> AbstractContextManager[None]:
        """Where this part is computed: in the block, on its own GPU; the weights and the sums are on the first."""
        return tf.device(self._devices[part].name if self._devices else None)

    def share(self, parts: int) -> range:
        """The parts, counted from 0, that this worker computes."""
        return range(parts)

    def summed(self, results: list[list[tf.Tensor]], parts: int) -> list[tf.Tensor]:
        """The sums over the results of all ``parts``, in their order.

        Args:
            results: of each part that this worker computes, as many tensors as any other part's, of equal shapes.
        """
        return [tf.add_n(values) for values in zip(*results, strict=True)]

    def gathered(self, rows: tf.Tensor, parts: int) -> tf.Tensor:
        """A row of each of ``parts``, in their order.

        Args:
            rows: of the parts that this worker computes, shape (len(share), n).
        """
        return rows

    def from_first(self, content: bytes | None) -> bytes | None:
        """The first worker's ``content``, whatever that of this one is."""
        return content


class Team(Workers):
    """Several workers, connected by TensorFlow's collective operations."""

    def __init__(self, cluster: Cluster) -> None:
        self._count = len(cluster.addresses)
        self.first = cluster.index == 0
        self._index = cluster.index
        self._connection = _connected(cluster)  # it ends with this object
        self._instances = itertools.count(1)
        # TensorFlow sorts the workers by their names, so worker 10 comes before worker 2.
        self._places = np.argsort(self._sent_to_all(tf.constant([cluster.index])).numpy())

    def parts(self, parts: int) -> int:
        if parts < self._count:
            raise UserError(
                f"train.parts: {parts} parts of a batch are too few for {self._count} workers; raise it, or take fewer"
            )
        return parts

    def place(self, part: int) -> AbstractContextManager[None]:
        return tf.device(None)  # all parts of this worker on the same device

    def share(self, parts: int) -> range:
        return _share(parts, self._index, self._count)

    def summed(self, results: list[list[tf.Tensor]], parts: int) -> list[tf.Tensor]:
        rows = tf.stack([_joined(part) for part in results])
        return _cut(tf.add_n(tf.unstack(self.gathered(rows, parts), parts)), like=results[0])

    def gathered(self, rows: tf.Tensor, parts: int) -> tf.Tensor:
        shares = [len(_share(parts, index, self._count)) for index in range(self._count)]
        most = max(shares)
        # All have to send as many rows.
        sent = self._sent_to_all(tf.pad(rows, [[0, most - shares[self._index]], [0, 0]]))
        return tf.gather(sent, [most * self._places[i] + row for i, share in enumerate(shares) for row in range(share)])

    def from_first(self, content: bytes | None) -> bytes | None:
        (size,) = self._broadcast(np.array([-1 if content is None else len(content)]), 1)
        if size < 0:
            return None
        own = content or b""
        padded = np.frombuffer(own + bytes(8 - len(own) % 8), np.int64)
        return self._broadcast(padded, size // 8 + 1).tobytes()[:size]

    def _sent_to_all(self, rows: tf.Tensor) -> tf.Tensor:
        """The rows of all workers, in TensorFlow's order of them."""
        with tf.device("CPU:0"):
            return tf.raw_ops.CollectiveGatherV2(input=rows, ordering_token=[], **self._next_operation())

    def _broadcast(self, numbers: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        with tf.device("CPU:0"):
            if self.first:
                return tf.raw_ops.CollectiveBcastSendV2(input=numbers, **self._next_operation()).numpy()
            return tf.raw_ops.CollectiveBcastRecvV2(T=tf.int64, shape=[length], **self._next_operation()).numpy()

    def _next_operation(self) -> dict[str, object]:
        """What tells TensorFlow which operations of the workers belong together: all build them in the same order."""
        number = next(self._instances)
        return {"group_size": self._count, "group_key": 1, "instance_key": number, "communication_hint": "ring"}


class Ring(Team):
    """Several workers whose sums go round: each adds what it has to what it gets, and passes it on.

    Each worker sends about twice the size of the sums, whatever the number of workers and of parts. Where a sum begins
    its way depends on the number of workers, and so does the order in which its terms are added.

    All orders of adding n terms in float32 have an error of at most (n - 1) u / (1 - (n - 1) u) times the sum of the
    terms' magnitudes, u = 2 ** -24 (N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 2002,
    section 4.2). So these sums and those of :class:`Team` differ by twice that at most.
    """

    def summed(self, results: list[list[tf.Tensor]], parts: int) -> list[tf.Tensor]:
        own = Workers.summed(self, results, parts)
        with tf.device("CPU:0"):
            total = tf.raw_ops.CollectiveReduceV2(
                input=_joined(own), ordering_token=[], merge_op="Add", final_op="Id", **self._next_operation()
            )
        return _cut(total, like=own)


@contextmanager
def together(
    cluster: Cluster | None, all_reduce: Literal["gathered", "ring"], inputs: Mapping[str, str]
) -> Iterator[Workers]:
    """The workers of ``cluster``, once all are there; this process alone if there are no others.

    Args:
        all_reduce: how they sum.
        inputs: a digest of everything that must be the same for all workers, by its name.

    Raises:
        UserError: the workers do not come together, or in the block one of them is lost.
    """
    if cluster is None or not cluster.others:
        yield Workers()
        return
    meeting.meet(cluster, inputs)
    try:
        yield Ring(cluster) if all_reduce == "ring" else Team(cluster)
    except tf.errors.OpError as error:
        if "Collective" not in error.message and "CoordinationService" not in error.message:
            raise
        time.sleep(SECONDS_TO_TELL)
        raise UserError(f"{_lost(cluster, error.message)} is lost or out of reach; start all workers again") from None


def _connected(cluster: Cluster) -> tf.distribute.Strategy:
    """TensorFlow's connection to the other workers, who have to connect at the same time."""
    for name in PROXIES:
        os.environ.pop(name, None)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.index,
        rpc_layer="grpc",
    )
    # TensorFlow's own settings wait an hour for a worker that dies in this moment, and Python can do nothing meanwhile.
    from tensorflow.python.eager.context import context  # which has no public name

    seconds = SECONDS_TO_CONNECT + (SECONDS_TO_HEAR if cluster.index else 0)
    context().configure_coordination_service(
        "standalone",
        "/job:worker/replica:0/task:0",
        cluster_register_timeout_in_ms=1000 * seconds,
        heartbeat_timeout_in_ms=1000 * SECONDS_OF_SILENCE,
    )
    service = context().coordination_service
    service.coordinated_job_list.add(name="worker", num_tasks=len(cluster.addresses))
    service.cluster_register_with_barrier = True  # only there the time limit holds
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    finally:
        # TensorFlow has put a handler of its own in place of Python's for SIGTERM.
        for number in interrupts.SIGNALS:
            signal.signal(number, signal.getsignal(number))


def _lost(cluster: Cluster, message: str) -> str:
    """The worker with whom all errors began: the first of the others in TensorFlow's ``message``.

    If it names none, the first worker is out of reach, which watches over all. Where workers wait for each other, the
    message begins with one that is there, and then lists those that are not.
    """
    message = message.partition("timed out task names")[2] or message
    named = [int(number) for number in re.findall(r"/task:(\d+)", message)]
    return cluster.name(next((index for index in named if index != cluster.index), 0))


def _joined(tensors: list[tf.Tensor]) -> tf.Tensor:
    """The numbers of all ``tensors``, one after the other, shape (n,)."""
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)


def _cut(numbers: tf.Tensor, like: list[tf.Tensor]) -> list[tf.Tensor]:
    """Tensors of the shapes of ``like``, whose numbers lie one after the other in ``numbers``."""
    shapes = [tensor.shape for tensor in like]
    pieces = tf.split(numbers, [math.prod(shape) for shape in shapes])
    return [tf.reshape(piece, shape) for piece, shape in zip(pieces, shapes, strict=True)]


def _share(parts: int, index: int, count: int) -> range:
    return range(parts * index // count, parts * (index + 1) // count)
