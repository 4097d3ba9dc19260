"""Kill the pipeline again and again, at any moment, and compare every byte that it ends in.

``python -m tests.torture --kills 100 --seed 1`` makes a small project under DVC, runs it once undisturbed, and then
starts it anew and kills it with ``kill -9``, DVC, the stage and its helpers all at once. The seed draws a stage, each
with the same chance, and a moment of the time that it takes. What was killed is started again, and may be killed again;
when a run comes to its end, because its stage was done before or ended sooner, all files of the project must be those
of the undisturbed run, none missing, none left over. A run that refuses to go on counts as a difference, but for one
case, which is counted apart: DVC writes its ``dvc.lock`` and ``.dvc/tmp/rwlock`` in place, and a kill in the
milliseconds that this takes leaves a torn file that DVC refuses to read. That file is then removed, as a person would
do. ``--real`` kills the training of the real network on ``data/verified`` instead, cut to a few epochs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.defaults import EVERY_PART_OF_A_RECIPE, PARAMS_FILE, ROOT, SMALL_RESIDUAL
from tests.drawn import draw_folder
from tests.projects import Project, new_project

REAL_EPOCHS = 6
# What DVC says of a file of its own that it was killed in writing.
TORN = {
    "dvc.lock": r"dvc\.lock' (validation failed|is invalid)|failed to reproduce '\w+': \n",  # of an empty one, nothing
    ".dvc/tmp/rwlock": r"RWLock-file .* (is corrupted|format error)",
}


@dataclass
class Toll:
    """What a torture came to.

    Attributes:
        kills: by what was running.
        torn: files of DVC's own that had to be removed.
        runs: that came to their end.
        differences: of those to the undisturbed run.
    """

    kills: Counter[str] = field(default_factory=Counter)
    torn: list[str] = field(default_factory=list)
    runs: int = 0
    differences: list[str] = field(default_factory=list)


def small_pipeline(folder: Path) -> tuple[Project, list[str]]:
    """The tests' small project and the command that runs it, with images enough that verify starts helpers."""
    project = new_project(folder)
    draw_folder(folder / "data" / "tiny" / "large", per_class=12, seed=9, size=128)
    project.set(
        {
            "dataset.train": ["first", "second", "large"],
            "train.epochs": 30,
            **SMALL_RESIDUAL,
            **{f"train.{key}": value for key, value in EVERY_PART_OF_A_RECIPE.items()},
        }
    )
    project.run("git", "add", "--force", "data/tiny")  # ignored as any images, they would be cleaned away
    project.commit()
    return project, ["dvc", "repro"]


def real_training(folder: Path) -> tuple[Project, list[str]]:
    """The real network and the real data, without DVC, and the command that trains it."""
    project = Project(folder)
    shutil.copytree(ROOT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PARAMS_FILE, folder)
    (folder / "data").symlink_to(ROOT / "data")
    project.set({"train.epochs": REAL_EPOCHS})
    project.run("git", "init", "--quiet")
    project.commit()
    return project, [sys.executable, "-m", "stages.train"]


class Moment(NamedTuple):
    """So many seconds after a stage has begun; the stage ``start`` begins with the process."""

    stage: str
    seconds: float


class Run(NamedTuple):
    """What a command printed, its exit code, or None if it was killed, and when stages began and it ended, in seconds.

    The stages are those that DVC, or the training itself, has named, and ``start``.
    """

    output: str
    code: int | None
    began: dict[str, float]
    ended: float

    def durations(self) -> dict[str, float]:
        """How long each stage took, in seconds."""
        ends = pairwise([*self.began.values(), self.ended])
        return {stage: end - start for stage, (start, end) in zip(self.began, ends, strict=True)}


def torture(project: Project, command: list[str], kills: int, seed: int) -> Toll:
    """Kill ``command`` in ``project`` until it has been killed ``kills`` times and has come to its end after that."""
    generator = np.random.default_rng(seed)
    _undisturbed(project, command)  # only so that the next one finds the system's caches warm, as those to be killed do
    durations, expected = _undisturbed(project, command)
    taken = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in durations.items())
    print(f"undisturbed: {taken}; {len(expected)} files", flush=True)

    toll, since_end = Toll(), 0
    while toll.kills.total() < kills or since_end:
        stage = str(generator.choice(list(durations)))
        moment = Moment(stage, generator.uniform(0, durations[stage]))
        done = run(project, command, moment if toll.kills.total() < kills else None)
        if done.code is None:
            where = list(done.began)[-1]
            toll.kills[where] += 1
            since_end += 1
            print(f"kill {toll.kills.total()} in {where}, {done.ended - done.began[where]:.2f} s of it", flush=True)
            continue
        if torn := done.code and torn_file(done.output):
            (project.folder / torn).unlink()
            toll.torn.append(torn)
            print(f"DVC was killed in writing {torn}, which is now removed", flush=True)
            continue
        found = [done.output] if done.code else differences(expected, files_of(project.folder))
        print(f"came to its end after {since_end} kills, differences: {len(found)}", *found, sep="\n  ", flush=True)
        toll.runs += 1
        toll.differences += found
        since_end = 0
        _clean(project)
    return toll


def _undisturbed(project: Project, command: list[str]) -> tuple[dict[str, float], dict[str, str]]:
    """How long each stage of a run takes, in seconds, and the files that it ends in; the project is clean after it."""
    done = run(project, command)
    if done.code != 0:
        raise RuntimeError(f"the undisturbed run fails:\n{done.output}")
    files = files_of(project.folder)
    _clean(project)
    return done.durations(), files


def run(project: Project, command: list[str], moment: Moment | None = None) -> Run:
    """Run the command, to its end or to the moment at which it is to be killed, if it comes."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    started, killed = time.monotonic(), threading.Event()
    began: dict[str, float] = {}
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=project.folder,
        env=os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a process group of its own, so that all of it can be killed at once
    ) as process:

        def kill() -> None:
            with suppress(ProcessLookupError):  # it has come to its end
                os.killpg(process.pid, signal.SIGKILL)
                killed.set()

        timers: list[threading.Timer] = []

        def begin(stage: str) -> None:
            began[stage] = time.monotonic() - started
            if moment and moment.stage == stage:
                timers.append(threading.Timer(moment.seconds, kill))
                timers[-1].start()

        begin("start")
        assert process.stdout is not None
        for line in process.stdout:  # to the last line of the last process that writes to the pipe
            lines.append(line)
            named = re.match(r"Running stage '(\w+)'|(train):", line)
            stage = named and (named[1] or named[2])
            if stage and stage not in began:
                begin(stage)
        code = process.wait()
        for timer in timers:
            timer.cancel()
            timer.join()
    return Run("".join(lines), None if killed.is_set() and code < 0 else code, began, time.monotonic() - started)


def torn_file(output: str) -> str | None:
    """The file of DVC's own that DVC says it can't read."""
    return next((file for file, words in TORN.items() if re.search(words, output)), None)


def _clean(project: Project) -> None:
    """Bring the project back to a fresh clone's state, without outputs, lock file, cache and DVC's notes."""
    project.run("git", "clean", "-fdxq")
    project.run("git", "reset", "--hard", "--quiet")


def files_of(folder: Path) -> dict[str, str]:
    """The md5 of each file of the project, hidden ones included; of Git's, DVC's and Python's own none."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = {path: path.relative_to(folder) for path in files}
    return {
        str(name): hashlib.md5(path.read_bytes()).hexdigest()
        for path, name in names.items()
        if name.parts[0] not in {".git", ".dvc"} and "__pycache__" not in name.parts
    }


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    return [
        f"{name} is missing"
        if name not in found
        else f"{name} is left over"
        if name not in expected
        else f"{name} differs"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill the pipeline at random moments and compare what it ends in.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", action="store_true", help="the training on data/verified instead of a small pipeline")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project, command = (real_training if options.real else small_pipeline)(Path(folder) / "project")
        toll = torture(project, command, options.kills, options.seed)
    by_stage = ", ".join(f"{count} in {stage}" for stage, count in sorted(toll.kills.items()))
    print(f"{toll.kills.total()} kills ({by_stage}), files torn by DVC: {len(toll.torn)}")
    print(f"{toll.runs} runs to the end, differences: {len(toll.differences)}")
    return 1 if toll.differences else 0


if __name__ == "__main__":
    sys.exit(main())
