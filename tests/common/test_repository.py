"""What a Git repository lacks; `tests/test_compare.py` has it as a user sees it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stages.common.repository import shortcoming


def test_a_repository_of_a_format_that_dvc_does_not_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "init", "--quiet", "--object-format=sha256"], cwd=tmp_path, check=True)
    subprocess.run(["git", *identity, "commit", "--quiet", "--allow-empty", "-m", "a"], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    assert shortcoming() == (
        "DVC reads no repository in Git's SHA-256 format; make one by `git init --object-format=sha1`"
    )


def test_a_repository_of_another_user_is_refused_in_the_words_of_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    lacking = shortcoming()
    assert lacking is not None
    assert lacking.startswith("Git refuses this repository: fatal: detected dubious ownership")
    assert f"git config --global --add safe.directory {tmp_path}" in lacking
    assert "\n" not in lacking
