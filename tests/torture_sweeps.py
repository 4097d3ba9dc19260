"""Kill a sweep on a cluster again and again, at any moment, and look at what it ends in.

``python -m tests.torture_sweeps --runs 100 --kills 30 --seed 1`` makes a project whose stages take no time, a scheduler
and two workers that share a Git repository and a remote of DVC with it, and starts a sweep. The seed draws whom
``kill -9`` meets, the sweep itself or one of the workers, and when. What was killed is started again. In the end each
run must be there once, with the model and the table of an undisturbed sweep, and no clone or process may be left over.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tests.clusters import Cluster, processes_in, until
from tests.stub_projects import StubProject

WORKERS = "one", "two"
SECONDS_BETWEEN_KILLS = 5.0, 55.0  # a run takes about 10
SECONDS_WITHOUT_A_RUN = 300.0  # after which the sweep is stuck


def torture(folder: Path, runs: int, kills: int, seed: int) -> list[str]:
    """What is wrong at the end, a line each."""
    generator = np.random.default_rng(seed)
    project = shared_project(folder)
    seeds = list(range(1, runs + 1))
    project.write("sweeps/one.yaml", f"recipes: [two]\nseeds: {seeds}")
    cluster = Cluster(folder / "cluster", project.environment)
    try:
        workers = {name: cluster.start_worker(name) for name in WORKERS}
        sweep = _start(project, cluster)
        killed: Counter[str] = Counter()
        given_up = 0
        while True:
            there = _there(project)
            still = killed.total() < kills
            try:
                code = sweep.wait(generator.uniform(*SECONDS_BETWEEN_KILLS) if still else SECONDS_WITHOUT_A_RUN)
            except subprocess.TimeoutExpired:
                if not still:
                    if _there(project) == there:
                        return [f"no run was done in {SECONDS_WITHOUT_A_RUN:.0f} seconds:\n{_tail(project)}"]
                    continue
                name = str(generator.choice(["sweep", *WORKERS]))
                victim = sweep if name == "sweep" else workers[name]
                victim.kill()
                victim.wait()
                killed[name] += 1
                print(f"kill {killed.total()}, of {name}; {there} of {runs + 1} experiments were there", flush=True)
                if name == "sweep":
                    sweep = _start(project, cluster)
                else:
                    workers[name] = cluster.start_worker(name)
                continue
            if code == 0:
                break
            given_up += 1  # Dask gives a run up whose workers were killed three times
            print(_tail(project), flush=True)
            sweep = _start(project, cluster)
        for worker in workers.values():
            worker.terminate()
            worker.wait()
        print(f"killed: {dict(killed)}; sweeps that gave a run up: {given_up}", flush=True)
        return found_wrong(project, cluster, seeds)
    finally:
        cluster.close()


def shared_project(folder: Path) -> StubProject:
    """A project with two remotes: a bare repository of Git and a folder of DVC's."""
    project = StubProject(folder / "project")
    project.run("dvc", "remote", "add", "--quiet", "--default", "storage", str(folder / "storage"))
    project.commit()
    project.run("git", "init", "--quiet", "--bare", str(folder / "origin.git"))
    project.run("git", "remote", "add", "origin", str(folder / "origin.git"))
    project.run("git", "push", "--quiet", "--set-upstream", "origin", "main")
    return project


def found_wrong(project: StubProject, cluster: Cluster, seeds: list[int]) -> list[str]:
    wrong = []
    names = sorted(["dataset", *(f"two-seed{seed}" for seed in seeds)])
    for place, found in (("the project", project.experiments()), ("the remote", project.experiments("origin"))):
        wrong += [f"{place} lacks {name}" for name in names if name not in found]
        wrong += [f"{place} has {name} {found.count(name)} times" for name in set(found) if found.count(name) > 1]
    values = json.loads((project.folder / "sweeps/one.json").read_text())[0]["values"]["two"]
    if values != (expected := {str(seed): round(0.5 + 0.02 * seed, 10) for seed in seeds}):
        wrong.append(f"the table has {values} instead of {expected}")
    trained = [name for name in project.experiment_names() if name.startswith("two-seed")]
    project.run("dvc", "exp", "pull", "--quiet", "origin", *trained)
    for name in trained:
        project.run("dvc", "exp", "apply", "--quiet", name)
        if (model := (project.folder / "models/model").read_text()) != f"{re.findall(r'[0-9]+', name)[0]} 2":
            wrong.append(f"the model of {name} is {model!r}")
    wrong += [f"{clone} is left over" for clone in project.leftovers()]
    wrong += [f"{clone} is left over" for clone in cluster.folder.glob("*/**/clone")]
    until(lambda: not processes_in(project.folder))
    return wrong


def _there(project: StubProject) -> int:
    return len(project.experiments("origin"))


def _start(project: StubProject, cluster: Cluster) -> subprocess.Popen[bytes]:
    log = (project.folder.parent / "printed").open("wb")
    command = [sys.executable, "-m", "stages.sweep", "sweeps/one.yaml", "--scheduler", cluster.address]
    return subprocess.Popen(command, cwd=project.folder, env=project.environment, stdout=log, stderr=log)


def _tail(project: StubProject) -> str:
    return (project.folder.parent / "printed").read_text()[-2000:]


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.torture_sweeps", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    started = time.monotonic()
    wrong = torture(folder, arguments.runs, arguments.kills, arguments.seed)
    print(f"{time.monotonic() - started:.0f} s, {len(wrong)} wrong", *wrong, sep="\n  ")
    if wrong:
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
