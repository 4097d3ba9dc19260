"""A recipe becomes an experiment of DVC, and nothing of the user's changes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.projects import Project, new_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = new_project(tmp_path_factory.mktemp("recipe") / "project")
    project.run("git", "config", "user.name", "test")
    project.run("git", "config", "user.email", "test@localhost")
    project.run("dvc", "add", "--quiet", "data/tiny")
    (project.folder / "recipes").mkdir()
    (project.folder / "recipes" / "adam.yaml").write_text("train: {optimizer: adam, learning_rate: 0.003}\n")
    (project.folder / "recipes" / "too-large.yaml").write_text("model: {kernel_size: 64, padding: valid}\n")
    project.commit()
    return project


def recipe(project: Project, name: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stages.recipe", name]
    return subprocess.run(command, cwd=project.folder, text=True, capture_output=True, check=False)


def leftovers(project: Project) -> list[Path]:
    return [path for path in (project.folder / ".dvc/tmp/runs").iterdir() if path.is_dir()]


def test_a_recipe_runs_once_and_gives_the_bytes_of_a_run_by_hand(project: Project, tmp_path: Path) -> None:
    done = recipe(project, "adam")
    assert done.returncode == 0, done.stdout + done.stderr
    assert project.run("git", "status", "--porcelain") == ""
    assert leftovers(project) == []
    found = re.search(r"^recipe: (adam-\w{10}) is done; test accuracy [\d.]+%$", done.stdout, re.MULTILINE)
    assert found, done.stdout
    assert found[1] in project.run("dvc", "exp", "list", "--name-only").split()
    again = recipe(project, "adam")
    assert again.stdout.startswith(f"recipe: {found[1]} has already run; ")

    project.run("dvc", "exp", "apply", found[1])
    by_recipe = project.md5s()
    project.run("git", "checkout", "--quiet", ".")
    project.run("git", "clone", "--quiet", project.folder.as_posix(), str(tmp_path / "by hand"))
    by_hand = Project(tmp_path / "by hand")
    by_hand.run("dvc", "cache", "dir", "--local", str(project.folder / ".dvc/cache"))
    by_hand.run("dvc", "checkout", "data/tiny.dvc")
    by_hand.set({"train.optimizer": "adam", "train.learning_rate": 0.003})
    by_hand.repro("--no-run-cache")
    assert by_hand.md5s() == by_recipe


def test_a_run_that_fails_leaves_nothing_and_says_so(project: Project) -> None:
    before = project.run("git", "for-each-ref")
    done = recipe(project, "too-large")
    assert done.returncode == 1
    assert re.search(
        r"^recipe: `dvc exp run` ended with code \d+; what it printed stands above, and nothing "
        r"was kept$",
        done.stderr,
        re.MULTILINE,
    )
    assert project.run("git", "for-each-ref") == before
    assert leftovers(project) == []


def test_a_change_that_no_commit_holds_is_refused_in_a_line(project: Project) -> None:
    project.set({"seed": 5})
    try:
        done = recipe(project, "adam")
    finally:
        project.run("git", "checkout", "--quiet", ".")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "recipe: params.yaml: changed since the last commit, from which runs begin; `git commit` the change, or set it "
        "aside with `git stash`\n"
    )
