"""A few kills of the small pipeline, and that the harness sees what a kill can spoil; see ``make torture``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.projects import Project
from tests.torture import run, small_pipeline, torn_file, torture

pytestmark = pytest.mark.slow


def torture_program(folder: Path, program: str, kills: int) -> list[str]:
    """The differences that kills make to a Python program run in ``folder``."""
    project = Project(folder)
    (folder / "program.py").write_text(program)
    project.run("git", "init", "--quiet")
    project.commit()
    toll = torture(project, [sys.executable, "program.py"], kills, seed=1)
    assert toll.kills.total() == kills
    assert toll.runs > 0
    return toll.differences


def test_a_killed_pipeline_ends_in_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    toll = torture(*small_pipeline(tmp_path / "project"), kills=2, seed=3)
    assert toll.kills.total() == 2
    assert toll.differences == []


def test_what_a_kill_leaves_half_written_is_a_difference(tmp_path: Path) -> None:
    appends = "import time\nfor _ in range(20):\n    print('row', file=open('out', 'a')); time.sleep(0.02)\n"
    assert "out differs" in torture_program(tmp_path, appends, kills=3)


def test_what_a_kill_leaves_over_is_a_difference(tmp_path: Path) -> None:
    leaves = "import os, time\nopen(f'part{os.getpid()}', 'w'); time.sleep(0.5); os.remove(f'part{os.getpid()}')\n"
    assert any("is left over" in difference for difference in torture_program(tmp_path, leaves, kills=2))


def test_a_run_that_does_not_go_on_is_a_difference(tmp_path: Path) -> None:
    refuses = "import os, time\nopen('lock', 'x'); time.sleep(0.5); os.remove('lock')\n"
    assert any("FileExistsError" in difference for difference in torture_program(tmp_path, refuses, kills=2))


@pytest.mark.parametrize(
    ("file", "kept"), [("dvc.lock", 0), ("dvc.lock", 90), (".dvc/tmp/rwlock", 0), (".dvc/tmp/rwlock", 1)]
)
def test_a_file_that_dvc_was_killed_in_writing_is_recognised_and_can_be_removed(
    tmp_path: Path, file: str, kept: int
) -> None:
    project, command = Project(tmp_path), ["dvc", "repro"]
    project.run("dvc", "init", "--no-scm")
    (tmp_path / "dvc.yaml").write_text("stages: {one: {cmd: echo 1 > out, outs: [out]}}")
    project.run(*command)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:kept])
    done = run(project, command)
    assert done.code
    assert torn_file(done.output) == file
    (tmp_path / file).unlink()
    project.run(*command)
