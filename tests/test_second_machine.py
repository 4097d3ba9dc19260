"""Two machines that share a Git repository and an S3 server alone: the second repeats nothing that the first did."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import s3
from tests.projects import Project, new_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def s3_remote() -> Iterator[list[list[str]]]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.ACCOUNT.items():
            patch.setenv(name, value)
        with s3.running_s3_server() as arguments:
            yield arguments


def settings(folder: Path) -> dict[str, str]:
    """The environment of a machine on which nothing is set or remembered."""
    (folder / "home").mkdir(exist_ok=True)
    author = {f"GIT_{role}_{what}": "test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return author | {
        "HOME": str(folder / "home"),
        "XDG_CACHE_HOME": str(folder / "home/.cache"),
        "XDG_CONFIG_HOME": str(folder / "home/.config"),
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
    }


def digests(project: Project) -> dict[str, str]:
    """Of every file that the stages write."""
    folders = (project.folder / name for name in ("data/verified", "metrics", "models", "plots"))
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(project.folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@dataclass(frozen=True)
class Team:
    """What the first machine has made and pushed.

    Attributes:
        origin: the Git repository that both use.
        committed: the digest of every file of the run in Git.
        shorter: those of an experiment of one epoch.
    """

    origin: Path
    committed: dict[str, str]
    shorter: dict[str, str]


@pytest.fixture(scope="module")
def team(s3_remote: list[list[str]], tmp_path_factory: pytest.TempPathFactory) -> Team:
    folder = tmp_path_factory.mktemp("team")
    first = Project(new_project(folder / "first").folder, settings(folder))
    first.run("dvc", "add", "data/tiny")
    for arguments in s3_remote:
        first.run("dvc", "remote", *arguments)
    first.repro()
    first.commit()
    committed = digests(first)
    first.run("git", "clone", "--quiet", "--bare", ".", str(folder / "origin.git"))
    first.run("git", "remote", "add", "origin", str(folder / "origin.git"))
    first.run("dvc", "push", "--run-cache")
    first.run("dvc", "exp", "run", "--name", "shorter", "-S", "train.epochs=1")
    first.run("dvc", "push", "--run-cache")
    first.run("dvc", "exp", "push", "origin", "shorter")
    return Team(folder / "origin.git", committed, digests(first))


@pytest.fixture
def second(team: Team, tmp_path: Path) -> Project:
    Project(tmp_path).run("git", "clone", "--quiet", str(team.origin), "second")
    second = Project(tmp_path / "second", settings(tmp_path))
    second.run("dvc", "pull", "--run-cache")
    return second


def test_it_pulls_data_and_results_and_has_nothing_to_run(team: Team, second: Project) -> None:
    assert digests(second) == team.committed
    assert second.repro() == set()
    assert second.run("dvc", "status").strip() == "Data and pipelines are up to date."


def test_it_takes_all_of_an_experiment_and_has_nothing_to_run(team: Team, second: Project) -> None:
    assert "shorter" in second.run("dvc", "exp", "list", "origin")
    second.run("dvc", "exp", "pull", "origin", "shorter")
    second.run("dvc", "exp", "apply", "shorter")
    assert digests(second) == team.shorter
    assert second.repro() == set()


def test_what_dvc_sends_of_a_run_cache_is_not_enough_and_the_training_is_made_again(
    team: Team, second: Project
) -> None:
    # `dvc push --run-cache` leaves out the metrics, which are in Git, and DVC takes a stage whole or not at all. Once a
    # newer DVC sends them, this fails: change docs/team.md.
    second.set({"train.epochs": 1})
    assert second.repro("--pull") == {"train", "validate", "test", "report"}
    assert digests(second) == team.shorter
