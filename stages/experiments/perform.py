"""One run of the pipeline in a clone of its own, which ends as an experiment of DVC in the repository it came from.

The clone has Git's index, DVC's locks and the working files for itself, so runs side by side don't meet, and nobody's
files change. On another machine Dask brings this module to a process that has none of the project's code: it imports
the standard library alone, and what it passes and returns are texts and numbers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

LINES_SHOWN = 20
STAGE_FAILED = b"failed to run: "  # in what DVC prints
# Starts a command in a session of its own, and kills all of it when standard input ends, as it does when the process
# that holds the other end dies, by `kill -9` too.
LEASH = """
import os, signal, subprocess, sys, threading
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
def kill():
    os.read(0, 1)
    os.killpg(child.pid, signal.SIGKILL)
threading.Thread(target=kill, daemon=True).start()
code = child.wait()
os._exit(code if code >= 0 else 128 - code)
"""
# Sends the metrics and plots that are in Git too, which `dvc push --run-cache` leaves out. Its run cache gives a stage
# back only if all outputs are at hand.
PUSH_UNCACHED = """
from dvc.repo import Repo
with Repo() as repo:
    found = [out.hash_info for out in repo.index.outs if out.hash_info and not out.use_cache]
    repo.cloud.push([each for each in found if repo.cache.local.exists(each.value)])
"""
# Removes what the commit has of the stages that are not run: the results of its model would pass for those of this one.
REMOVE_OTHERS = """
import sys
from dvc.repo import Repo
with Repo() as repo:
    run = repo.stage.collect(sys.argv[1], with_deps=True)
    for out in repo.index.outs:
        if out.stage not in run:
            out.remove()
"""
_leashes: set[IO[bytes]] = set()
_ended = False


class Source(NamedTuple):
    """Where a run has its code and data from.

    Attributes:
        git: the path or the address of the repository.
        commit: the one that the run begins from, in full.
        folder: that of the project within the repository, mostly ``.``.
        name, email: of the author of the experiments' commits.
        cache: the folder of DVC's cache that the runs share.
        remote: whether the data come from DVC's remote and the results go there, since no other process sees the cache.
    """

    git: str
    commit: str
    folder: str
    name: str
    email: str
    cache: str
    remote: bool = False


class Run(NamedTuple):
    """One run.

    Attributes:
        name: of the experiment.
        parameters: the text of its ``params.yaml``.
        prepared: the experiment from which it takes the verified dataset, None to verify it itself.
        stage: up to which the pipeline is run, None for all of it.
    """

    name: str
    parameters: str
    prepared: str | None = None
    stage: str | None = None


class FailedError(Exception):
    """A command failed; the text says which."""


class TooLongError(FailedError):
    """A command did not end in time."""


def perform(run: Run, source: Source, parent: str | None, cores: int, seconds: float | None) -> str:
    """Run the pipeline and bring the experiment to the repository; an empty text, or why it failed.

    Args:
        parent: the folder in which the clone lies meanwhile; None for that of a worker of Dask, with its own cache.
        cores: that the run may use.
        seconds: after which it is ended, None for never.
    """
    if parent is None:
        from distributed import get_worker

        parent = get_worker().local_directory
        source = source._replace(cache=str(Path(parent, "cache")))
    try:
        with tempfile.TemporaryDirectory(dir=parent, prefix=f"{run.name}-", ignore_cleanup_errors=True) as folder:
            log = Path(folder, "log")
            try:
                with log.open("wb") as output:
                    perform_in(Path(folder), run, source, cores=cores, seconds=seconds, output=output)
            except FailedError as error:
                return f"{error}\n{last_lines(log)}".strip()
    except OSError as error:  # a full disk, for one
        return str(error)
    return ""


def perform_in(
    folder: Path,
    run: Run,
    source: Source,
    *,
    cores: int | None = None,
    seconds: float | None = None,
    output: IO[bytes] | None = None,
) -> None:
    """As :func:`perform`, in ``folder``.

    Args:
        cores: None for all that the process has.
        output: for what the commands print; None for the terminal.

    Raises:
        FailedError: a command ended with another code than 0, or did not end in time.
    """
    ref = f"{refs_of(source.commit)}/{run.name}"
    if _is_there(source.git, ref):  # a worker that was lost has done it
        return
    project = clone(folder, source, run.prepared, output)
    (project / "params.yaml").write_text(run.parameters, encoding="utf-8")
    if run.stage and run.prepared:  # the preparations keep them for the runs that begin from their files
        arguments = [sys.executable, "-c", REMOVE_OTHERS, run.stage]
        command(arguments, project, output, _site(project), title="removal of other results")
    environment = {} if cores is None else {"LOKY_MAX_CPU_COUNT": str(cores)}
    options = [*(["--pull"] if source.remote else []), *([run.stage] if run.stage else [])]
    dvc(["exp", "run", "--name", run.name, *options], project, output, environment, seconds)
    if source.remote:
        # The data before the name by which others find them.
        command([sys.executable, "-c", PUSH_UNCACHED], project, output, _site(project), title="dvc push of metrics")
        dvc(["push", "--run-cache"], project, output)
    # By force: two copies of a run hold the same bytes, and differ in the time of their commits alone.
    try:
        command(["git", "push", "--quiet", "--force", "origin", f"{ref}:{ref}"], project, output)
    except FailedError:
        if not _is_there(source.git, ref):  # which another process has just brought
            raise


def _is_there(git: str, ref: str) -> bool:
    found = subprocess.run(["git", "ls-remote", git, ref], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return bool(found.stdout)


def clone(folder: Path, source: Source, prepared: str | None, output: IO[bytes] | None) -> Path:
    """A clone of the project in ``folder`` with the data that DVC has for it; where in the clone the project lies."""
    top = folder / "clone"
    author = ["--config", f"user.name={source.name}", "--config", f"user.email={source.email}"]
    # Those that the user has for all repositories are meant for commits and pushes of his own.
    no_hooks = ["--config", f"core.hooksPath={os.devnull}"]
    command(
        ["git", "clone", "--quiet", "--no-checkout", "--origin", "origin", *author, *no_hooks, source.git, str(top)],
        folder,
        output,
    )
    command(["git", "checkout", "--quiet", "--detach", source.commit], top, output)
    project = top / source.folder
    if prepared is not None:
        command(["git", "fetch", "--quiet", "origin", f"{refs_of(source.commit)}/{prepared}"], top, output)
        command(["git", "restore", "--source=FETCH_HEAD", "--staged", "--worktree", "."], project, output)
    # Linked where possible, so that a clone takes no room for data.
    settings = f'[cache]\n    dir = "{source.cache}"\n    type = "reflink,hardlink,symlink,copy"\n'
    (project / ".dvc" / "config.local").write_text(settings, encoding="utf-8")
    if source.remote:
        dvc(["pull", "--quiet", "--run-cache", "--allow-missing"], project, output)
    else:
        dvc(["checkout", "--quiet", "--allow-missing"], project, output)
    return project


def refs_of(commit: str) -> str:
    """Where DVC keeps the experiments that begin from ``commit``."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}"


def dvc(
    arguments: Sequence[str],
    project: Path,
    output: IO[bytes] | None = None,
    environment: dict[str, str] | None = None,
    seconds: float | None = None,
) -> None:
    """Run a command of DVC in ``project``; once more if DVC itself fails, since clones that share a cache may collide.

    Raises:
        FailedError: it failed.
    """
    own = _site(project) | (environment or {})
    whole = [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]
    title = " ".join(["dvc", *arguments[:2]])
    try:
        command(whole, project, output, own, seconds, title)
    except TooLongError:
        raise
    except FailedError:
        if output is None or STAGE_FAILED in Path(output.name).read_bytes():
            raise
        command(whole, project, output, own, seconds, title)


def _site(project: Path) -> dict[str, str]:
    """Where DVC notes things about a clone; elsewhere they would stay for good."""
    return {"DVC_SITE_CACHE_DIR": str(project / ".dvc" / "tmp" / "site")}


def command(
    arguments: Sequence[str],
    folder: Path,
    output: IO[bytes] | None = None,
    environment: dict[str, str] | None = None,
    seconds: float | None = None,
    title: str = "",
) -> None:
    """Run a command that ends when this process does, at the latest.

    Raises:
        FailedError: it ended with another code than 0, or did not end in time.
    """
    # `python` in dvc.yaml is the interpreter of this process, whatever the user's path says.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", LEASH, *arguments],
        cwd=folder,
        env=os.environ | {"PATH": path, **(environment or {})},
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,  # or Ctrl-C in a terminal would end the leash before it has killed the command
    )
    assert process.stdin is not None
    _leashes.add(process.stdin)
    if _ended:
        process.stdin.close()
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise TooLongError(f"it did not end within {seconds:g} seconds") from None
    finally:
        _leashes.discard(process.stdin)
        process.stdin.close()
        process.wait()
    if code:
        raise FailedError(f"`{title or ' '.join(arguments[:2])}` ended with code {code}")


def end_all() -> None:
    """Kill all commands that the threads of this process wait for, and any that they begin from now on."""
    global _ended
    _ended = True
    for leash in list(_leashes):
        leash.close()


def last_lines(log: Path) -> str:
    """The last lines of a log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-LINES_SHOWN:])
