"""The runs of this project: their names, where they take place, and what is there of them.

A run is an experiment of DVC: a commit with the parameters, the metrics, the plots and the checksums of data and model,
under ``refs/exps`` of the commit that it began from. Nothing else is noted of it anywhere.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from stages.common import parameter_file
from stages.common.console import UserError
from stages.common.names import shown
from stages.common.parameter_file import PATH
from stages.common.repository import shortcoming
from stages.experiments.perform import Run, Source, refs_of

FOLDER = Path(".dvc/tmp/runs")  # of the clones, on the disk of DVC's cache unless that was moved
DIGITS = 10  # of a checksum: two of a million runs are equal in it with a probability of a half
INPUTS = ("params.yaml", "dvc.yaml", ".dvc/config", "data", "stages")


def here() -> Source:
    """The last commit of this project, and its cache.

    Raises:
        UserError: there is no commit, or what a run reads has changes that no commit holds.
    """
    from dvc.repo import Repo  # type: ignore[import-untyped]  # here, since it takes half a second

    if lacking := shortcoming():
        raise UserError(lacking)
    changed = git("status", "--porcelain", "--no-renames", "--", *INPUTS).splitlines()
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise UserError(
            f"{shown(changed[0][3:])}{more}: changed since the last commit, from which runs begin; `git commit` the "
            "change, or set it aside with `git stash`"
        )
    top, commit = Path(git("rev-parse", "--show-toplevel")), git("rev-parse", "HEAD")
    with Repo() as repo:
        cache = repo.cache.local_cache_dir
    # A worker of a cluster has no name of its own, and DVC makes no experiment without one.
    name, email = (git("config", "--default", "", f"user.{key}") for key in ("name", "email"))
    if not name or not email:
        raise UserError(
            "Git knows no name and address to make experiments with; set them by `git config user.name` "
            "and `git config user.email`"
        )
    return Source(str(top), commit, str(Path.cwd().relative_to(top)), name, email, cache)


def named(title: str, parameters: str, commit: str) -> Run:
    """A run of these parameters, as text; its name is ``title`` and a checksum of all that the run depends on."""
    values = parameter_file.parse(parameters.encode(), str(PATH))
    content = json.dumps([commit, values], sort_keys=True)
    return Run(f"{title}-{sha256(content.encode()).hexdigest()[:DIGITS]}", parameters)


def found(commit: str) -> dict[str, str]:
    """The names of the runs of ``commit`` that are there, by the checksum in their name."""
    names = git("for-each-ref", "--format=%(refname:lstrip=4)", refs_of(commit)).splitlines()
    return {checksum(name): name for name in names}


def metrics(name: str, source: Source, file: str) -> dict[str, Any]:
    """What the file ``metrics/FILE.json`` of a run says."""
    values: dict[str, Any] = json.loads(
        git("show", f"{refs_of(source.commit)}/{name}:{Path(source.folder, 'metrics', file).as_posix()}.json")
    )
    return values


def checksum(name: str) -> str:
    return name.rpartition("-")[2]


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for clones, removed at the end. Those of processes that were killed are removed too."""
    from distributed.diskutils import WorkSpace  # here, since it takes a second

    FOLDER.mkdir(parents=True, exist_ok=True)
    folder = WorkSpace(str(FOLDER.resolve())).new_work_dir(prefix="")  # type: ignore[no-untyped-call]
    try:
        yield Path(folder.dir_path)
    finally:
        folder.release()


def git(*arguments: str) -> str:
    """What a command of Git prints, without the last line end.

    Raises:
        UserError: it failed.
    """
    done = subprocess.run(["git", *arguments], text=True, capture_output=True, check=False)
    if done.returncode:
        raise UserError(f"`git {' '.join(arguments[:2])}` failed: {done.stderr.strip() or done.returncode}")
    return done.stdout.rstrip("\n")
