"""The runs of this project: their names, where they take place, and what is there of them.

A run is an experiment of DVC: a commit with the parameters, the metrics, the plots and the checksums of data and model,
under ``refs/exps`` of the commit that it began from. Nothing else is noted of it anywhere.
"""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from stages.common import parameter_file
from stages.common.console import UserError
from stages.common.file_names import printable
from stages.common.parameter_file import PATH
from stages.common.repository import shortcoming
from stages.experiments.perform import FailedError, Run, Source, dvc, refs_of

FOLDER = Path(".dvc/tmp/runs")  # of the clones, on the disk of DVC's cache unless that was moved
DIGITS = 10  # of a checksum: two of a million runs are equal in it with a probability of a half
INPUTS = ("params.yaml", "dvc.yaml", "plots/dvc.yaml", ".dvc/config", "data", "stages")


def here() -> Source:
    """The last commit of this project, and its cache.

    Raises:
        UserError: there is no commit, or what a run reads has changes that no commit holds.
    """
    from dvc.repo import Repo  # type: ignore[import-untyped]  # here, since it takes half a second

    if lacking := shortcoming():
        raise UserError(lacking)
    # Names as they are, and new files too, whatever the user's settings say.
    options = ("--porcelain", "--no-renames", "--untracked-files=normal")
    changed = git("-c", "core.quotePath=false", "status", *options, "--", *INPUTS).splitlines()
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise UserError(
            f"{printable(changed[0][3:])}{more}: changed since the last commit, from which runs begin; `git commit` "
            "the change, or set it aside with `git stash`"
        )
    top, commit = Path(git("rev-parse", "--show-toplevel")), git("rev-parse", "HEAD")
    with Repo() as repo:
        cache = repo.cache.local_cache_dir
    # A worker of a cluster has no name of its own, and DVC makes no experiment without one.
    name, email = (git("config", "--default", "", f"user.{key}") for key in ("name", "email"))
    if not name or not email:
        raise UserError(
            "Git has no user.name or no user.email, which DVC needs for experiments; set both with `git config`"
        )
    return Source(str(top), commit, str(Path.cwd().relative_to(top)), name, email, cache)


def shared(source: Source) -> Source:
    """``source`` as other machines reach it: code through the Git remote ``origin``, data through DVC's remote.

    Brings the experiments of the commit that are there.

    Raises:
        UserError: there is no such remote, or the commit has not been pushed.
    """
    from dvc.repo import Repo  # as above

    with Repo() as repo:
        if "remote" not in repo.config.load_one("repo").get("core", {}):
            raise UserError(
                "other machines get the data from DVC's remote, and .dvc/config names none; run `dvc remote add "
                "--default NAME ADDRESS`, commit the file, and push"
            )
    address = git("remote", "get-url", "origin")
    git("fetch", "--quiet", "origin")
    if not git("branch", "--remotes", "--list", "origin/*", "--contains", source.commit):
        raise UserError(
            "other machines get the code from the Git remote origin, and it lacks the last commit; run `git push`"
        )
    bring(source)
    local = Path(address).expanduser()
    return source._replace(git=str(local.resolve()) if local.exists() else address, remote=True)


def bring(source: Source) -> None:
    """Bring the experiments of the commit from the Git remote ``origin``."""
    refs = refs_of(source.commit)
    # Or a setting of the user's, `fetch.prune`, would remove all that are here alone.
    git("fetch", "--quiet", "--no-prune", "origin", f"+{refs}/*:{refs}/*")


def publish(run: Run) -> None:
    """Bring an experiment of this repository, and its data, to the remotes.

    Raises:
        UserError: it could not be done.
    """
    try:
        dvc(["exp", "push", "--quiet", "origin", run.name], Path.cwd())
    except FailedError as error:
        raise UserError(f"the verified dataset could not be brought to the remotes: {error}") from None


def named(title: str, parameters: str, source: Source, stage: str | None = None) -> Run:
    """A run of these parameters, as text; its name is ``title`` and a checksum of all that the run depends on."""
    values = parameter_file.parse(parameters.encode(), str(PATH))
    # Of two projects in one repository, each has runs of its own.
    where = [source.commit] if source.folder == "." else [source.commit, source.folder]
    content = json.dumps([*where, values, stage], sort_keys=True)
    return Run(f"{title}-{sha256(content.encode()).hexdigest()[:DIGITS]}", parameters, stage=stage)


def found(commit: str) -> dict[str, str]:
    """The names of the runs of ``commit`` that are there, by the checksum in their name."""
    names = git("for-each-ref", "--format=%(refname:lstrip=4)", refs_of(commit)).splitlines()
    return {checksum(name): name for name in names}


def metric(name: str, source: Source, metric: str) -> float:
    """The ``metric`` of a run, given as ``FILE.KEY`` for a key of ``metrics/FILE.json``, or for keys one in the other.

    Raises:
        UserError: there is no such number.
    """
    file, *keys = metric.split(".")
    path = Path(source.folder, "metrics", f"{file}.json").as_posix()
    try:
        value = json.loads(git("show", f"{refs_of(source.commit)}/{name}:{path}"))
        for key in keys:
            value = value[int(key) if isinstance(value, list) else key]
        return float(value)
    except (LookupError, TypeError, ValueError):
        raise UserError(f"{metric}: {path} of {name} holds no number under {'.'.join(keys)}") from None


def checksum(name: str) -> str:
    return name.rpartition("-")[2]


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for clones, removed at the end. Those of processes that were killed are removed too."""
    from distributed.diskutils import WorkSpace  # here, since it takes a second

    logging.getLogger("distributed.diskutils").setLevel(logging.WARNING)  # it tells of each folder that it removes
    FOLDER.mkdir(parents=True, exist_ok=True)
    folder = WorkSpace(str(FOLDER.resolve())).new_work_dir(prefix="")
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
