"""How workers meet: each in a thread, over real connections of this machine."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from stages.common.console import UserError
from stages.model import meeting
from stages.model.cluster import Cluster
from tests.teams import free_addresses

INPUTS = {"parameters": "1", "data": "2", "code": "3"}


@pytest.fixture
def addresses() -> tuple[str, ...]:
    return free_addresses(3)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "SECONDS_BETWEEN_QUESTIONS", 0.05)
    monkeypatch.setattr(meeting, "SECONDS_TO_GET_PORT", 0.2)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "MINUTES", 0.02)


def error_of(addresses: tuple[str, ...], index: int, inputs: dict[str, str] = INPUTS) -> str:
    """What keeps a worker from meeting the others; nothing if they meet."""
    cluster = Cluster(addresses, index)
    try:
        if index:
            meeting.wait_for_first(cluster)
        meeting.meet(cluster, inputs)
    except UserError as error:
        return str(error)
    return ""


def errors_of(*workers: tuple[tuple[str, ...], int, dict[str, str]]) -> list[str]:
    with ThreadPoolExecutor(len(workers)) as pool:
        return list(pool.map(lambda worker: error_of(*worker), workers))


def test_workers_with_the_same_inputs_meet_in_any_order(addresses: tuple[str, ...]) -> None:
    assert errors_of(*((addresses, index, INPUTS) for index in (2, 0, 1))) == ["", "", ""]


def test_a_worker_with_other_inputs_is_named_to_all(addresses: tuple[str, ...]) -> None:
    other = INPUTS | {"data": "other", "code": "other"}
    errors = errors_of((addresses, 0, INPUTS), (addresses, 1, INPUTS), (addresses, 2, other))
    assert errors == [f"worker 2 differs from worker 0 ({addresses[0]}) in data and code"] * 3


def test_a_worker_with_another_list_of_workers_is_named_to_both(addresses: tuple[str, ...]) -> None:
    errors = errors_of((addresses[:2], 0, INPUTS), (addresses, 1, INPUTS))
    assert errors == [f"worker 1 differs from worker 0 ({addresses[0]}) in list of workers"] * 2


@pytest.mark.slow
@pytest.mark.usefixtures("_impatient")
def test_the_first_waits_for_a_bounded_time_and_says_for_whom(
    addresses: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    first, other = errors_of((addresses, 0, INPUTS), (addresses, 1, INPUTS))
    assert first == other == f"after 0.02 minutes there is no worker 2 ({addresses[2]}); start all workers again"
    printed = capsys.readouterr().out
    assert f"train: waits for worker 1 ({addresses[1]}), worker 2 ({addresses[2]}), at most" in printed
    assert f"worker 1: waits for worker 2 ({addresses[2]})" in printed


@pytest.mark.slow
@pytest.mark.usefixtures("_impatient")
def test_the_others_wait_for_the_first_for_a_bounded_time(addresses: tuple[str, ...]) -> None:
    assert error_of(addresses, 1) == f"worker 0 ({addresses[0]}) did not begin to train within 0.02 minutes"


def test_what_other_programs_send_to_the_first_keeps_nobody_waiting(addresses: tuple[str, ...]) -> None:
    def disturb() -> None:
        for content in (
            b"",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\xff\n",
            b'{"index": 9}\n',
            b"[]\n",
            b'{"index": 1, "inputs": 0}\n',
        ):
            with socket.create_connection(Cluster(addresses, 0).endpoint(0)) as connection:
                connection.sendall(content)

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(error_of, addresses[:2], 0)
        while not first.done():
            try:
                disturb()
                break
            except ConnectionRefusedError:
                continue
        assert pool.submit(error_of, addresses[:2], 1).result() == ""
        assert first.result() == ""


def test_a_port_that_another_program_has_is_an_error_of_one_line(addresses: tuple[str, ...]) -> None:
    for index in (0, 1):
        with socket.create_server(Cluster(addresses, index).endpoint(index)):
            assert (
                error_of(addresses, index)
                == f"worker {index} ({addresses[index]}) can't use its port: Address already in use"
            )
