"""A training that several workers share, each a process of its own, ends in the bytes of one process, or near them."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.model.cluster import Cluster
from tests.projects import Project, new_project
from tests.teams import EVERYTHING, Worker, free_addresses, results, team, training_folder

pytestmark = pytest.mark.slow


def folders(parent: Path, count: int, **changes: Any) -> list[Path]:
    changed = {f"train.{key}": value for key, value in changes.items()}
    return [training_folder(parent / str(index), EVERYTHING | changed) for index in range(count)]


def printed(places: list[Path], script: str) -> list[str]:
    """What each worker of a team, in a folder each, that runs ``script`` prints last."""
    addresses = free_addresses(len(places))
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(place, Cluster(addresses, index), "-c", script))
            for index, place in enumerate(places)
        ]
        assert [worker.code() for worker in workers] == [0] * len(places), [worker.lines() for worker in workers]
        return [worker.lines()[-1] for worker in workers]


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
    tmp_path: Path, of_one: dict[str, bytes], victim: int, number: signal.Signals, again: int
) -> None:
    places = folders(tmp_path, 3)
    lose_a_worker(places, victim, number)
    go_on(places[:again])
    assert results(places[0]) == of_one


def lose_a_worker(places: list[Path], victim: int, number: signal.Signals) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(worker) for worker in team(places)]
        workers[0].wait_for("epoch  3:")
        workers[victim].process.send_signal(number)
        for worker in workers[:victim] + workers[victim + 1 :]:
            assert worker.code() == 1
            assert worker.lines()[-1].partition(": ")[2].startswith(f"worker {victim} (127.0.0.1:")
            assert worker.lines()[-1].endswith("is lost or out of reach; start all workers again")


def go_on(places: list[Path]) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(worker) for worker in team(places)]
        assert [worker.code() for worker in workers] == [0] * len(places), [worker.lines() for worker in workers]
        assert any(line.startswith("train: goes on after epoch") for line in workers[0].lines())


@pytest.mark.parametrize("all_reduce", ["gathered", "ring"])
def test_a_worker_that_hangs_is_taken_to_be_lost(tmp_path: Path, all_reduce: str) -> None:
    with ExitStack() as stack:
        first, other = (stack.enter_context(worker) for worker in team(folders(tmp_path, 2, all_reduce=all_reduce)))
        first.wait_for("epoch  1:")
        other.process.send_signal(signal.SIGSTOP)
        assert first.code() == 1
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


CONNECTS = """
import os
from stages.common.console import run_stage
from stages.model import meeting, workers
from stages.model.cluster import from_tf_config
cluster = from_tf_config(os.environ)
workers.SECONDS_TO_CONNECT, workers.SECONDS_TO_HEAR = 15, 10
def connect():
    if cluster.index:
        meeting.wait_for_first(cluster)
    if cluster.index == VICTIM:
        meeting.meet(cluster, {})
        os._exit(0)
    with workers.together(cluster, "gathered", {}):
        pass
run_stage("train", connect)
"""


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_worker_that_dies_before_it_is_connected_is_named_by_the_others(tmp_path: Path, victim: int) -> None:
    addresses, program = free_addresses(3), CONNECTS.replace("VICTIM", str(victim))
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(tmp_path, Cluster(addresses, index), "-c", program)) for index in range(3)
        ]
        assert workers.pop(victim).code(300) == 0
        for worker in workers:
            assert worker.code(300) == 1
            lost = f"train: worker {victim} ({addresses[victim]}) is lost or out of reach; start all workers again"
            assert worker.lines()[-1] == lost


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
    assert printed([tmp_path] * 11, ROWS_OF_ALL) == [str([float(part) for part in range(25)])] * 11


SUMS_OF_GRADIENTS = """
import os, sys
from pathlib import Path
import numpy as np
from stages.model.backend import keras, tf
from stages.model.cluster import from_tf_config
from stages.model.workers import Ring, Team
from stages.splits import packed
from tests.trainings import build
PARTS = 6
ring = Ring(from_tf_config(os.environ))
split = packed.load(Path("data/verified/train"))
network = build(batch_normalization=True)
def gradients(part):
    rows = slice(5 * part, 5 * part + 5)
    with tf.GradientTape() as tape:
        probabilities = network(split.images[rows].astype(np.float32), training=True)
        loss = tf.reduce_sum(keras.losses.sparse_categorical_crossentropy(split.labels[rows], probabilities))
    return tape.gradient(loss, network.trainable_variables)
def joined(tensors):
    return np.concatenate([np.ravel(tensor) for tensor in tensors])
own = [gradients(part) for part in ring.share(PARTS)]
parts = ring.gathered(tf.stack([joined(part) for part in own]), PARTS)
np.savez("sums", parts=parts, ring=joined(ring.summed(own, PARTS)), team=joined(Team.summed(ring, own, PARTS)))
print("saved")
"""


@pytest.mark.parametrize("count", [2, 3])
def test_sums_in_a_ring_differ_from_those_in_the_parts_order_no_more_than_rounding_can_make_them(
    tmp_path: Path, count: int
) -> None:
    places = folders(tmp_path, count)
    printed(places, SUMS_OF_GRADIENTS)
    found = [np.load(place / "sums.npz") for place in places]
    parts = found[0]["parts"].astype(np.float64)
    rounding = (len(parts) - 1) * 2.0**-24
    bound = 2 * rounding / (1 - rounding) * np.abs(parts).sum(axis=0)  # docstring of Ring
    for of_worker in found:
        difference = np.abs(of_worker["ring"].astype(np.float64) - of_worker["team"])
        assert np.all(difference <= bound)
        assert np.any(difference > 0), "the order of the sums should be another"
        assert of_worker["ring"].tobytes() == found[0]["ring"].tobytes()


TRAINING = """
import os
from pathlib import Path
from stages import parameters
from stages.model import training
from stages.model.cluster import from_tf_config
from stages.splits import packed
from tests.trainings import digest
settings = parameters.load(Path("params.yaml"))
splits = [packed.load(Path("data/verified", name)) for name in ("train", "validation")]
cluster = from_tf_config(os.environ)
print(digest(training.train(settings.model, settings.train, settings.seed, *splits, cluster=cluster).network))
"""


def test_all_workers_of_a_ring_end_with_the_same_weights_and_so_does_the_same_number_again(tmp_path: Path) -> None:
    places = folders(tmp_path, 3, all_reduce="ring", epochs=5)
    of_three = {*printed(places, TRAINING), *printed(places, TRAINING)}
    of_two = {*printed(places[:2], TRAINING)}
    assert len(of_two) == len(of_three) == 1
    assert of_two != of_three


def test_when_a_worker_of_a_ring_dies_the_others_end_and_name_it_and_any_number_goes_on(tmp_path: Path) -> None:
    places = folders(tmp_path, 3, all_reduce="ring")
    lose_a_worker(places, 1, signal.SIGKILL)
    go_on(places[:2])


# As several GPUs would be, two devices are made of the processor.
TWO_DEVICES = """
from stages.model import workers
from stages.model.backend import tf
(processor,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
tf.debugging.set_log_device_placement(True)
workers.ACCELERATOR = "CPU"
"""


def test_several_devices_of_a_machine_compute_a_part_each_and_end_in_the_bytes_of_one(tmp_path: Path) -> None:
    of_one, of_two = folders(tmp_path, 2, parts=2, epochs=2)
    with Worker(of_one, None, "-c", TRAINING) as worker:
        assert worker.code() == 0, worker.lines()
        digest = worker.lines()[-1]
    with Worker(of_two, None, "-c", TWO_DEVICES + TRAINING, TF_CPP_MIN_LOG_LEVEL="0") as worker:
        assert worker.code() == 0, worker.lines()
        assert worker.lines()[-1] == digest
        placed = [line for line in worker.lines() if "(Conv2DBackpropFilter)" in line]
        assert {line.rpartition("device:")[2] for line in placed} == {"CPU:0", "CPU:1"}
