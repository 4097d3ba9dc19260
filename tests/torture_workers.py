"""Kill the workers of a shared training again and again, at any moment, and compare every byte that it ends in.

``python -m tests.torture_workers --kills 30 --seed 1`` trains a tiny network by a recipe with everything on: once
undisturbed in one process, and then with one to three workers. The seed draws how many, which of them ``kill -9``
meets, and when: in a third of the cases before the first epoch. The others must end in time with a line that names it;
if they had not all met, they may wait for it by name instead. Then all are started again, in a number drawn anew. A
training that comes to its end must have every file of the undisturbed one, and no other file or process may be left.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from tests.clusters import processes_in
from tests.teams import EVERYTHING, Worker, team, training_folder
from tests.torture import differences, files_of

MOST = 3  # workers
EPOCHS = EVERYTHING["train.epochs"]
SECONDS_TO_END = 180.0  # after a worker was killed; to connect and to hear who is missing may take the others 90
SECONDS_TO_TRAIN = 1800.0  # on a busy machine


def torture(folder: Path, kills: int, seed: int) -> list[str]:
    """Kill so many workers, and let a training come to its end after that; what is wrong, a line each."""
    generator = np.random.default_rng(seed)
    places = _places(folder)
    untouched = _files(places[0])
    started = time.monotonic()
    with team(places[:1])[0] as alone:
        alone.wait_for("epoch  1:", SECONDS_TO_TRAIN)
        durations = [time.monotonic() - started]  # until the first epoch is done, and of a later one
        alone.wait_for(f"epoch {EPOCHS}:", SECONDS_TO_TRAIN)
        durations.append((time.monotonic() - started - durations[0]) / (EPOCHS - 1))
        assert alone.code(SECONDS_TO_TRAIN) == 0, alone.lines()
    expected = _files(places[0])
    print(f"undisturbed: {durations[0]:.1f} s, then {durations[1]:.2f} s an epoch; {len(expected)} files", flush=True)

    wrong: list[str] = []
    killed: Counter[str] = Counter()
    ends, longest = 0, 0.0
    places = _places(folder)
    while True:
        count = int(generator.integers(1, MOST, endpoint=True))
        victim = int(generator.integers(count))
        epochs = 0 if generator.random() < 1 / 3 else int(generator.integers(1, EPOCHS))
        seconds = generator.uniform(0, durations[min(epochs, 1)])
        with ExitStack() as stack:
            workers = [stack.enter_context(worker) for worker in team(places[:count])]
            if _killed(workers, victim if killed.total() < kills else None, epochs, seconds):
                killed[f"worker {victim} of {count}"] += 1
                found, waited = _wrong_with_others(workers, victim)
                longest = max(longest, waited)
                when = f"after {epochs} epochs" if epochs else "before the first epoch"
                print(f"kill {killed.total()}, of worker {victim} of {count} {when}", *found, sep="\n  ", flush=True)
                wrong += found
                continue
            found = [str(worker.lines()) for worker in workers if worker.code()]
        ends += 1
        found += differences(expected, _files(places[0]))
        found += [line for place in places[1:] for line in differences(untouched, _files(place))]
        found += [f"process {process} is left over" for process in processes_in(folder)]
        print(f"{count} workers came to the end, differences: {len(found)}", *found, sep="\n  ", flush=True)
        wrong += found
        if killed.total() >= kills:
            break
        places = _places(folder)
    by_worker = ", ".join(f"{number} of {name}" for name, number in sorted(killed.items()))
    print(f"{killed.total()} kills ({by_worker}), trainings that came to their end: {ends}")
    print(f"the others ended {longest:.0f} s after a kill at most")
    return wrong


def _places(folder: Path) -> list[Path]:
    """A new folder for each worker."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return [training_folder(folder / str(index), EVERYTHING) for index in range(MOST)]


def _files(place: Path) -> dict[str, str]:
    return {name: md5 for name, md5 in files_of(place).items() if not name.endswith(".log")}


def _killed(workers: list[Worker], victim: int | None, epochs: int, seconds: float) -> bool:
    """Kill ``victim`` so many seconds after so many epochs of this start; False if all end before."""
    due: float | None = None
    deadline = time.monotonic() + SECONDS_TO_TRAIN
    while any(_runs(worker) for worker in workers):
        assert time.monotonic() < deadline, [worker.lines() for worker in workers]
        if due is None and workers[0].log.read_text().count("train: epoch") >= epochs:
            due = time.monotonic() + seconds
        if victim is not None and due is not None and time.monotonic() >= due and _runs(workers[victim]):
            workers[victim].process.kill()
            workers[victim].process.wait()
            return True
        time.sleep(0.02)
    return False


def _wrong_with_others(workers: list[Worker], victim: int) -> tuple[list[str], float]:
    """What the others did that they should not, a line each; and for how many seconds those ran that ended."""
    killed = ended = time.monotonic()
    others = [worker for index, worker in enumerate(workers) if index != victim]
    running = others
    while running and time.monotonic() < killed + SECONDS_TO_END:
        time.sleep(0.1)
        still = [worker for worker in running if _runs(worker)]
        if len(still) < len(running):
            running, ended = still, time.monotonic()
    wrong = []
    for worker in others:
        last = worker.lines()[-1] if worker.lines() else ""
        named = f"worker {victim} (127.0.0.1:" in last
        if _runs(worker):
            worker.process.terminate()
            well = worker.code(SECONDS_TO_END) == 143 and named and "waits for" in last
        elif worker.code():
            well = worker.code() == 1 and named and last.endswith("start all workers again")
        else:
            well = any(f"epoch {EPOCHS}:" in line for line in worker.lines())  # it was done before
        if not well:
            wrong.append(f"{worker.log.name} ended in {worker.code()}: {worker.lines()}")
    return wrong, ended - killed


def _runs(worker: Worker) -> bool:
    return worker.process.poll() is None


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.torture_workers", description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        wrong = torture(Path(folder) / "training", arguments.kills, arguments.seed)
    print(f"{time.monotonic() - started:.0f} s, {len(wrong)} wrong", *wrong, sep="\n  ")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
