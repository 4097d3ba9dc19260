"""The workers of a training meet: all are there, and have the same parameters, data, code and versions.

TensorFlow's own start of a cluster can't be interrupted while it waits for workers, so they meet before it. The first
worker listens at its address; the others ask it again and again whether all are there. Question and answer are a line
of JSON each, on a connection of their own. Neither they nor what TensorFlow sends afterwards are encrypted or
authenticated: the network between the workers has to be a trusted one.
"""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Collection, Mapping
from typing import Any

from stages.common.console import UserError
from stages.model.cluster import Cluster

MINUTES = 30  # to wait for others
SECONDS_BETWEEN_QUESTIONS = 0.5
SECONDS_OF_SILENCE = 5.0  # after which a worker that asked, or should answer, is taken to be gone
SECONDS_TO_GET_PORT = 20.0  # from the worker of a training that has just lost another
LONGEST_LINE = 65_536  # bytes


def wait_for_first(cluster: Cluster) -> None:
    """Wait until the first worker is ready to train.

    Raises:
        UserError: it is not within :data:`MINUTES`, or another program has this worker's port.
    """
    _listener(cluster).close()  # because TensorFlow has no good words for a port that it can't get
    print(f"worker {cluster.index}: waits for {cluster.name(0)}, at most {MINUTES} minutes", flush=True)
    deadline = time.monotonic() + 60 * MINUTES
    while _ask(cluster, {}) is None:
        if time.monotonic() > deadline:
            raise UserError(f"{cluster.name(0)} did not begin to train within {MINUTES} minutes")
        time.sleep(SECONDS_BETWEEN_QUESTIONS)


def meet(cluster: Cluster, inputs: Mapping[str, str]) -> None:
    """Wait until all workers are there, and return in all of them at nearly the same time.

    Args:
        inputs: a digest of everything that must be the same for all workers, by its name.

    Raises:
        UserError: a worker does not come within :data:`MINUTES`, is gone again, or has other inputs than the first; or
            another program has this worker's port.
    """
    own = {"list of workers": json.dumps(cluster.addresses), **inputs}
    if error := _receive(cluster, own) if cluster.index == 0 else _report(cluster, own):
        raise UserError(error)


def _receive(cluster: Cluster, inputs: dict[str, str]) -> str:
    """Wait for the others, and tell them that all are there or what is wrong; the latter, or an empty text."""
    error = ""
    asked: dict[int, float] = {}
    deadline = time.monotonic() + 60 * MINUTES
    named: list[int] = []
    with _listener(cluster) as listener:
        while missing := [i for i in cluster.others if asked.get(i, -math.inf) < time.monotonic() - SECONDS_OF_SILENCE]:
            if missing != named:
                print(f"train: waits for {_names(cluster, missing)}, at most {MINUTES} minutes", flush=True)
                named = missing
            if time.monotonic() > deadline:
                error = f"after {MINUTES} minutes there is no {_names(cluster, missing)}; start all workers again"
                break
            index, theirs = _answer(listener, {"missing": missing})
            if theirs and (different := [name for name in inputs if theirs.get(name) != inputs[name]]):
                error = f"worker {index} differs from {cluster.name(0)} in {' and '.join(different)}"
                break
            if theirs:
                asked[index] = time.monotonic()
        untold = set(cluster.others)
        until = time.monotonic() + SECONDS_OF_SILENCE
        while untold and time.monotonic() < until:
            index, theirs = _answer(listener, {"error": error})
            if theirs:
                untold.discard(index)
    return error or (f"{_names(cluster, untold)} is gone; start all workers again" if untold else "")


def _report(cluster: Cluster, inputs: dict[str, str]) -> str:
    """Ask the first worker until it says that all are there or what is wrong; the latter, or an empty text."""
    named: set[int] = set()
    heard = time.monotonic()
    while time.monotonic() < heard + SECONDS_OF_SILENCE:
        answer = _ask(cluster, inputs)
        if answer is not None:
            if "error" in answer:
                return str(answer["error"])
            heard = time.monotonic()
            missing = set(cluster.others) & set(answer.get("missing", []))
            if missing and missing != named:
                print(f"worker {cluster.index}: waits for {_names(cluster, missing)}", flush=True)
                named = missing
        time.sleep(SECONDS_BETWEEN_QUESTIONS)
    return f"{cluster.name(0)} is gone; start all workers again"


def _listener(cluster: Cluster) -> socket.socket:
    """A socket at this worker's own port."""
    _, port = cluster.endpoint(cluster.index)
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    deadline = time.monotonic() + SECONDS_TO_GET_PORT
    while True:
        try:
            listener = socket.create_server(("", port), family=family, dualstack_ipv6=both)
        except OSError as error:
            if time.monotonic() > deadline:
                text = f"{cluster.name(cluster.index)} can't use its port: {os.strerror(error.errno or 0)}"
                raise UserError(text) from None
            time.sleep(SECONDS_BETWEEN_QUESTIONS)
        else:
            listener.settimeout(1.0)
            return listener


def _answer(listener: socket.socket, answer: dict[str, Any]) -> tuple[int, dict[str, str]]:
    """Answer one question. Returns the asking worker's index and inputs; (-1, {}) if none came within a second."""
    try:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(1.0)
            question = _received(connection)
            _send(connection, answer)
            return int(question["index"]), dict(question["inputs"])
    except (OSError, ValueError, KeyError, TypeError):  # nobody, or somebody else's program
        return -1, {}


def _ask(cluster: Cluster, inputs: dict[str, str]) -> dict[str, Any] | None:
    """The first worker's answer to this one with ``inputs``; None if it gives none."""
    try:
        with socket.create_connection(cluster.endpoint(0), SECONDS_OF_SILENCE / 2) as connection:
            _send(connection, {"index": cluster.index, "inputs": inputs})
            return dict(_received(connection))
    except (OSError, ValueError, TypeError):  # not there yet, or another program at its address
        return None


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _received(connection: socket.socket) -> Any:
    with connection.makefile("rb") as lines:
        return json.loads(lines.readline(LONGEST_LINE))


def _names(cluster: Cluster, indices: Collection[int]) -> str:
    return ", ".join(cluster.name(index) for index in sorted(indices))
