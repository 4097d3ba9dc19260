"""Kill the pipeline again and again, at any moment, and compare every byte that it ends in.

``python -m tests.torture --kills 100 --seed 1`` makes a small project under DVC, runs it once undisturbed, and then
starts it anew and kills it with ``kill -9``, DVC, the stage and its helpers all at once, at moments drawn from the seed
over the whole time that the pipeline takes. What was killed is started again, and mostly killed again; when a run comes
to its end before its moment does, all files of the project must be those of the undisturbed run, none missing, none
left over. A run that refuses to go on counts as a difference, but for one case, which is counted apart: DVC writes its
``dvc.lock`` and ``.dvc/tmp/rwlock`` in place, and a kill in the milliseconds that this takes leaves a torn file that
DVC refuses to read. That file is then removed, as a person would do. ``--real`` kills the training of the real network
on ``data/verified`` instead, cut to a few epochs.
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
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.conftest import draw_folder
from tests.test_pipeline import ROOT, Project, new_project

REAL_EPOCHS = 6
SECONDS_AT_MOST = 600  # for one run; one that takes longer hangs
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
            "train.learning_rate_drop.patience": 1,
            "train.early_stopping.patience": 30,
        }
    )
    project.commit()
    return project, ["dvc", "repro", "validate", "report"]


def real_training(folder: Path) -> tuple[Project, list[str]]:
    """The real network and the real data, without DVC, and the command that trains it."""
    project = Project(folder)
    shutil.copytree(ROOT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "data").symlink_to(ROOT / "data")
    project.set({"train.epochs": REAL_EPOCHS})
    project.run("git", "init", "--quiet")
    project.commit()
    return project, [sys.executable, "-m", "stages.train"]


def torture(project: Project, command: list[str], kills: int, seed: int) -> Toll:
    """Kill ``command`` in ``project`` until it has been killed ``kills`` times and has come to its end after that."""
    generator = np.random.default_rng(seed)
    _undisturbed(project, command)  # only so that the next one finds the system's caches warm, as those to be killed do
    seconds, expected = _undisturbed(project, command)
    print(f"undisturbed: {seconds:.1f} s, {len(expected)} files", flush=True)

    toll, since_end = Toll(), 0
    while toll.kills.total() < kills or since_end:
        moment = generator.uniform(0, seconds) if toll.kills.total() < kills else SECONDS_AT_MOST
        output, ended = run(project, command, moment)
        if ended is None:
            where = _last_stage(output)
            toll.kills[where] += 1
            since_end += 1
            print(f"kill {toll.kills.total()} after {moment:.2f} s, in {where}", flush=True)
            continue
        if torn := ended and torn_file(output):
            (project.folder / torn).unlink()
            toll.torn.append(torn)
            print(f"DVC was killed in writing {torn}, which is now removed", flush=True)
            continue
        found = [output] if ended else _differences(expected, _files(project.folder))
        print(f"came to its end after {since_end} kills, differences: {len(found)}", *found, sep="\n  ", flush=True)
        toll.runs += 1
        toll.differences += found
        since_end = 0
        _clean(project)
    return toll


def _undisturbed(project: Project, command: list[str]) -> tuple[float, dict[str, str]]:
    """How long a run takes, in seconds, and the files that it ends in; the project is clean after it."""
    started = time.monotonic()
    output, ended = run(project, command, SECONDS_AT_MOST)
    seconds = time.monotonic() - started
    if ended != 0:
        raise RuntimeError(f"the undisturbed run fails:\n{output}")
    files = _files(project.folder)
    _clean(project)
    return seconds, files


def run(project: Project, command: list[str], seconds: float) -> tuple[str, int | None]:
    """What the command prints in that time, and its exit code; None if it had to be killed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        command,
        cwd=project.folder,
        env=os.environ | {"PATH": path, "PYTHONUNBUFFERED": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a process group of its own, so that all of it can be killed at once
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()  # returns when the last process that writes to the pipe has ended
            return output, None
        return output, process.returncode


def torn_file(output: str) -> str | None:
    """The file of DVC's own that DVC says it can't read."""
    return next((file for file, words in TORN.items() if re.search(words, output)), None)


def _last_stage(output: str) -> str:
    """The stage that DVC, or the training itself, has named last."""
    stages = re.findall(r"Running stage '(\w+)'|^(train):", output, re.MULTILINE)
    return "".join(stages[-1]) if stages else "start"


def _clean(project: Project) -> None:
    """Bring the project back to a fresh clone's state, without outputs, lock file, cache and DVC's notes."""
    project.run("git", "clean", "-fdxq")
    project.run("git", "reset", "--hard", "--quiet")


def _files(folder: Path) -> dict[str, str]:
    """The md5 of each file of the project, hidden ones included; of Git's, DVC's and Python's own none."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = {path: path.relative_to(folder) for path in files}
    return {
        str(name): hashlib.md5(path.read_bytes()).hexdigest()
        for path, name in names.items()
        if name.parts[0] not in {".git", ".dvc"} and "__pycache__" not in name.parts
    }


def _differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
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
