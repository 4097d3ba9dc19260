"""A sweep on a scheduler and workers that share nothing but a Git repository and a remote of DVC."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import s3
from tests.clusters import Cluster, until
from tests.stub_projects import StubProject

pytestmark = pytest.mark.slow


@pytest.fixture(params=["folder", "s3"])
def remote(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[list[str]]]:
    """The commands of DVC that tell a project of its remote."""
    if request.param == "folder":
        yield [["add", "--default", "storage", str(tmp_path / "storage")]]
        return
    for name, value in s3.ACCOUNT.items():
        monkeypatch.setenv(name, value)
    with s3.running_s3_server() as arguments:
        yield arguments


def shared_project(folder: Path, remote: list[list[str]], sweep: str) -> StubProject:
    """A project with this sweep, DVC's remote, and a bare repository as Git's, all in ``folder``."""
    project = StubProject(folder / "project")
    for arguments in remote:
        project.run("dvc", "remote", *arguments)
    project.write("sweeps/one.yaml", sweep)
    project.commit()
    project.run("git", "init", "--quiet", "--bare", str(folder / "origin.git"))
    project.run("git", "remote", "add", "origin", str(folder / "origin.git"))
    project.run("git", "push", "--quiet", "--set-upstream", "origin", "main")
    return project


def sweep_that_loses_a_worker(project: StubProject, workers: int, when: Callable[[], bool]) -> str:
    """What a sweep prints whose first worker is killed, once ``when`` holds, while another joins."""
    cluster = Cluster(project.folder.with_name("cluster"), project.environment | {"STUB_SECONDS": "3"})
    try:
        first, *_ = [cluster.start_worker(str(number)) for number in range(workers)]
        sweep = project.start("stages.sweep", "sweeps/one.yaml", "--scheduler", cluster.address)
        until(lambda: when() or sweep.poll() is not None)
        first.kill()
        cluster.start_worker("late")
        printed = sweep.communicate()[0]
    finally:
        cluster.close()
    assert sweep.returncode == 0, printed
    return printed


def test_one_worker_is_killed_and_another_joins_late_and_every_run_is_there_once(
    remote: list[list[str]], tmp_path: Path
) -> None:
    project = shared_project(tmp_path, remote, "recipes: [two]\nseeds: [1, 2, 3, 4]")
    project.run("git", "config", "fetch.prune", "true")
    commit = project.run("git", "rev-parse", "HEAD").strip()
    own = f"refs/exps/{commit[:2]}/{commit[2:]}/own"  # an experiment that is here alone
    project.run("git", "update-ref", own, "HEAD")
    printed = sweep_that_loses_a_worker(project, workers=2, when=lambda: len(project.logged("test")) >= 2)
    assert "sweep: 4 done, 0 failed, 0 running, 0 waiting" in printed
    assert "Traceback" not in printed  # of the threads of Dask's
    assert project.experiments("origin") == ["dataset", "two-seed1", "two-seed2", "two-seed3", "two-seed4"]
    assert project.run("git", "for-each-ref", own)
    assert project.logged("verify") == ["1 30"]
    assert set(project.logged("test")) == {"1 2", "2 2", "3 2", "4 2"}
    values = json.loads((project.folder / "sweeps/one.json").read_text())[0]["values"]
    assert values == {"two": {"1": 0.52, "2": 0.54, "3": 0.56, "4": 0.58}}
    name = next(name for name in project.experiment_names("origin") if "two-seed3" in name)
    project.run("dvc", "exp", "pull", "origin", name)
    project.run("dvc", "exp", "apply", name)
    assert (project.folder / "models/model").read_text() == "3 2"


def test_a_stage_that_one_worker_has_run_is_run_on_no_other(remote: list[list[str]], tmp_path: Path) -> None:
    # Two runs that differ in a parameter which no stage here reads.
    project = shared_project(tmp_path, remote, "values: {test.confused_pairs: [3, 4]}\nseeds: [1]")
    sweep_that_loses_a_worker(project, workers=1, when=lambda: len(project.experiments("origin")) == 2)
    assert project.experiments("origin") == ["baseline-seed1", "baseline-seed1", "dataset"]
    assert len(project.logged("test")) == 1


def test_a_scheduler_that_goes_away_is_a_line_and_the_next_sweep_makes_what_is_missing(
    remote: list[list[str]], tmp_path: Path
) -> None:
    project = shared_project(tmp_path, remote, "recipes: [two]\nseeds: [1, 2]")
    cluster = Cluster(tmp_path / "cluster", project.environment | {"STUB_SECONDS": "3"})
    try:
        cluster.start_worker("0")
        sweep = project.start("stages.sweep", "sweeps/one.yaml", "--scheduler", cluster.address)
        until(lambda: len(project.logged("test")) >= 1 or sweep.poll() is not None)
        cluster.processes[0].kill()
        printed = sweep.communicate()[0]
    finally:
        cluster.close()
    assert sweep.returncode == 1
    last = printed.splitlines()[-1]
    assert last.startswith("sweep: the scheduler is gone; workers end the runs that they have begun, so start the")
    assert "Traceback" not in printed
    assert "ERROR" not in printed


def test_what_a_cluster_lacks_is_said_in_a_line(tmp_path: Path) -> None:
    project = StubProject(tmp_path / "project")
    project.write("sweeps/one.yaml", "seeds: [1]")
    project.commit()
    commit = "git commit --quiet --all --allow-empty -m remote"
    for command, message in (
        ("true", "other machines get the data from DVC's remote, and .dvc/config names none; run `dvc remote add "),
        (f"dvc remote add --quiet --default storage ../storage && {commit}", "`git remote get-url` failed: "),
        (
            "git init --quiet --bare ../origin.git && git remote add origin ../origin.git",
            "other machines get the code from the Git remote origin, and it lacks the last commit; run `git push`\n",
        ),
        ("git push --quiet origin main", "no scheduler of Dask answers at tcp://127.0.0.1:9: "),
    ):
        subprocess.run(command, shell=True, cwd=project.folder, env=project.environment, check=True)
        code, printed = project.sweep("--scheduler", "tcp://127.0.0.1:9")
        assert code == 1
        assert f"sweep: {message}" in printed
