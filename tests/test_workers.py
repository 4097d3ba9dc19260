"""A training that several workers share, each a process of its own, ends in the bytes of one process."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from stages.model.cluster import Cluster
from tests.defaults import EVERY_PART_OF_A_RECIPE, SMALL_RESIDUAL
from tests.projects import Project, new_project
from tests.teams import Worker, free_addresses, results, team, training_folder

pytestmark = pytest.mark.slow

EVERYTHING: dict[str, Any] = {
    **SMALL_RESIDUAL,
    **{f"train.{key}": value for key, value in EVERY_PART_OF_A_RECIPE.items()},
    "train.parts": 6,
    "train.epochs": 30,
}


def folders(parent: Path, count: int) -> list[Path]:
    return [training_folder(parent / str(index), EVERYTHING) for index in range(count)]


def trained(parent: Path, count: int) -> dict[str, bytes]:
    """The results of a training that so many workers share."""
    parent.mkdir()
    places = folders(parent, count)
    with ExitStack() as stack:
        workers = [stack.enter_context(worker) for worker in team(places)]
        assert [worker.code() for worker in workers] == [0] * count, [worker.lines() for worker in workers]
    for place in places[1:]:
        assert not {"models", "metrics", ".resume"} & {path.name for path in place.iterdir()}
    return results(places[0])


@pytest.fixture(scope="module")
def of_one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return trained(tmp_path_factory.mktemp("one") / "alone", 1)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_several_workers_end_in_the_bytes_of_one(tmp_path: Path, of_one: dict[str, bytes], count: int) -> None:
    assert trained(tmp_path / "several", count) == of_one


@pytest.mark.parametrize(
    ("victim", "number", "again"),
    [(0, signal.SIGKILL, 3), (1, signal.SIGKILL, 2), (2, signal.SIGKILL, 1), (0, signal.SIGTERM, 3)],
)
def test_when_a_worker_dies_the_others_end_and_name_it_and_any_number_goes_on_and_ends_in_equal_bytes(
    tmp_path: Path, of_one: dict[str, bytes], victim: int, number: int, again: int
) -> None:
    places = folders(tmp_path, 3)
    with ExitStack() as stack:
        workers = [stack.enter_context(worker) for worker in team(places)]
        workers[0].wait_for("epoch  3:")
        workers[victim].process.send_signal(number)
        for worker in workers[:victim] + workers[victim + 1 :]:
            assert worker.code(30) == 1
            assert worker.lines()[-1].partition(": ")[2].startswith(f"worker {victim} (127.0.0.1:")
            assert worker.lines()[-1].endswith("is lost; start all workers again")
    with ExitStack() as stack:
        workers = [stack.enter_context(worker) for worker in team(places[:again])]
        assert [worker.code() for worker in workers] == [0] * again, [worker.lines() for worker in workers]
        assert any(line.startswith("train: goes on after epoch") for line in workers[0].lines())
    assert results(places[0]) == of_one


def test_a_worker_that_hangs_is_taken_to_be_lost(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, other = (stack.enter_context(worker) for worker in team(folders(tmp_path, 2)))
        first.wait_for("epoch  1:")
        other.process.send_signal(signal.SIGSTOP)
        assert first.code(60) == 1
        assert "worker 1 (127.0.0.1:" in first.lines()[-1]


@pytest.mark.parametrize(
    ("changes", "difference"), [({"train.momentum": 0.8}, "parameters"), ({"seed": 2}, "parameters"), ({}, "data")]
)
def test_a_worker_with_other_parameters_or_data_ends_the_training_before_it_begins(
    tmp_path: Path, changes: dict[str, Any], difference: str
) -> None:
    places = folders(tmp_path, 2)
    Project(places[1]).set(changes)
    if not changes:
        labels = places[1] / "data/verified/validation/labels.npy"
        labels.write_bytes(labels.read_bytes()[:-4] + b"\1\0\0\0")
    with ExitStack() as stack:
        for worker in [stack.enter_context(worker) for worker in team(places)]:
            assert worker.code() == 1
            assert worker.lines()[-1].partition(": ")[2].startswith("worker 1 differs from worker 0 (127.0.0.1:")
            assert worker.lines()[-1].endswith(f"in {difference}")
            assert not any("epoch" in line for line in worker.lines())


def test_more_workers_than_parts_are_refused_by_all(tmp_path: Path) -> None:
    places = [training_folder(tmp_path / str(index), {"train.parts": 1}) for index in range(2)]
    with ExitStack() as stack:
        for worker in [stack.enter_context(worker) for worker in team(places)]:
            assert worker.code() == 1
            assert "train.parts: 1 parts of a batch are too few for 2 workers" in worker.lines()[-1]


def test_the_same_command_on_every_worker_of_a_shared_folder_is_dvc_repro(tmp_path: Path) -> None:
    project = new_project(tmp_path)
    addresses = free_addresses(2)
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(tmp_path, Cluster(addresses, index), "-m", "stages.worker")) for index in (0, 1)
        ]
        assert [worker.code() for worker in workers] == [0, 0], [worker.lines() for worker in workers]
    assert "Running stage 'train':" in workers[0].lines()
    assert project.repro() == set()


def test_a_stage_on_another_worker_than_the_first_says_which_command_to_run(tmp_path: Path) -> None:
    (place,) = folders(tmp_path, 1)
    with Worker(place, Cluster(free_addresses(2), 1), "-m", "stages.train") as worker:
        assert worker.code() == 1
        assert worker.lines()[-1].endswith("run `python -m stages.worker` here")


# TensorFlow sorts workers by their names, worker 10 before worker 2.
ROWS_OF_ALL = """
import os
from stages.model.backend import tf
from stages.model.cluster import from_tf_config
from stages.model.workers import Team
cluster = from_tf_config(os.environ)
workers = Team(cluster)
own = [[float(part)] for part in workers.share(25)]
print(workers.gathered(tf.constant(own), 25).numpy()[:, 0].tolist())
"""


def test_more_than_ten_workers_have_their_parts_in_order(tmp_path: Path) -> None:
    addresses = free_addresses(11)
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(tmp_path, Cluster(addresses, index), "-c", ROWS_OF_ALL)) for index in range(11)
        ]
        for worker in workers:
            assert worker.code() == 0, worker.lines()
            assert worker.lines()[-1] == str([float(part) for part in range(25)])
