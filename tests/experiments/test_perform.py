"""A command of a run ends in time, with all that it started, and not after the process that wanted it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.experiments.perform import FailedError, TooLongError, command, last_lines
from tests.defaults import ROOT

# Starts a process of its own, and both hold a pipe open: who reads its other end waits until both have ended.
FAMILY = [
    sys.executable,
    "-c",
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])",
]


@pytest.mark.slow
def test_a_command_that_takes_too_long_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as witness:
        assert witness.stdin is not None
        with pytest.raises(TooLongError, match=r"^it did not end within 1 seconds$"):
            command(FAMILY, tmp_path, witness.stdin, seconds=1)
        witness.communicate()  # ends only when no other process has the pipe


@pytest.mark.slow
def test_a_command_is_killed_with_the_process_that_waits_for_it(tmp_path: Path) -> None:
    script = f"from pathlib import Path; from stages.experiments.perform import command; command({FAMILY!r}, Path('.'))"
    waiting = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    time.sleep(2)
    assert waiting.poll() is None
    waiting.kill()
    waiting.communicate()  # ends only when no other process has its standard output


def test_a_command_that_fails_is_named_by_its_first_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output, pytest.raises(FailedError, match=r"^`git frobnicate` ended with code 1$"):
        command(["git", "frobnicate", "--now"], tmp_path, output)
    assert "frobnicate" in last_lines(log)
