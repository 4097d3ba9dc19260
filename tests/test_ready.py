"""What `make repro` asks before it starts DVC."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.common.repository import NO_REPOSITORY
from tests.defaults import PARAMS_FILE, ROOT

PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project that was unpacked from an archive."""
    (tmp_path / ".dvc").mkdir()
    shutil.copy(PARAMS_FILE, tmp_path)
    return tmp_path


def errors(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tools.ready"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PATH": PATH},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == bool(done.stderr)
    return done.stderr


@pytest.mark.slow
def test_a_folder_without_git_is_told_what_to_do_and_is_ready_then(folder: Path) -> None:
    assert errors(folder) == f"repro: {NO_REPOSITORY}\n"
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    assert errors(folder) == ""


@pytest.mark.slow
def test_who_has_told_dvc_to_do_without_git_is_let_through(folder: Path) -> None:
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    assert errors(folder) == ""


def test_a_mistake_that_dvc_would_tell_in_its_own_words_is_told_first(folder: Path) -> None:
    parameters = folder / "params.yaml"
    parameters.write_text(parameters.read_text().replace("root: data/cifar10", "root: data"))
    assert errors(folder).startswith("repro: params.yaml: dataset.root: 'data' is not allowed; it holds data/verified")
