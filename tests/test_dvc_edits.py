"""dvc.yaml and params.yaml are in the form that DVC itself writes, so an edit of DVC's changes its own lines alone."""

from __future__ import annotations

import shutil
from difflib import ndiff
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides  # type: ignore[import-untyped]

from tests.defaults import PARAMS_FILE, ROOT
from tests.projects import Project

pytestmark = pytest.mark.slow

FILES = {file.name: file for file in (ROOT / "dvc.yaml", PARAMS_FILE)}
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# DVC refuses to edit a stage in which a parameter stands.
EDITABLE = [name for name, stage in STAGES.items() if "${" not in str(stage)]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The pipeline's two files in a project without Git, code or data."""
    project = Project(tmp_path)
    project.run("dvc", "init", "--quiet", "--no-scm")
    for file in FILES.values():
        shutil.copy(file, tmp_path)
    return project


def changes(name: str, project: Project) -> list[str]:
    """The lines that the project's file lacks, with a minus, and those that it has beyond this one's, with a plus."""
    ours, theirs = (file.read_text().splitlines() for file in (FILES[name], project.folder / name))
    return [line for line in ndiff(ours, theirs) if line.startswith(("-", "+"))]


def test_freezing_a_stage_adds_one_line_and_unfreezing_takes_it_away(project: Project) -> None:
    assert len(EDITABLE) >= len(STAGES) - 1
    project.run("dvc", "freeze", *EDITABLE)
    assert changes("dvc.yaml", project) == ["+     frozen: true"] * len(EDITABLE)
    project.run("dvc", "unfreeze", *EDITABLE)
    assert (project.folder / "dvc.yaml").read_bytes() == (ROOT / "dvc.yaml").read_bytes()


def test_a_stage_that_dvc_adds_changes_no_other_and_can_be_removed(project: Project) -> None:
    project.run("dvc", "stage", "add", "--name", "shrink", "--deps", "models/model.keras", "--outs", "small", "true")
    assert changes("dvc.yaml", project) == [
        "+   shrink:",
        "+     cmd: 'true'",
        "+     deps:",
        "+     - models/model.keras",
        "+     outs:",
        "+     - small",
    ]
    project.run("dvc", "remove", "shrink")
    assert (project.folder / "dvc.yaml").read_bytes() == (ROOT / "dvc.yaml").read_bytes()


def test_removing_a_stage_leaves_the_lines_of_the_others(project: Project) -> None:
    project.run("dvc", "remove", EDITABLE[-1])
    assert {line[0] for line in changes("dvc.yaml", project)} == {"-"}


def test_a_parameter_set_by_dvc_changes_its_own_line(project: Project) -> None:
    # What `dvc exp run -S` calls.
    apply_overrides(project.folder / "params.yaml", ["train.epochs=12"])
    removed, added = changes("params.yaml", project)
    assert removed.replace("-   epochs: 30", "+   epochs: 12") == added
