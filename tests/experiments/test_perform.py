"""A command of a run ends in time, with all that it started, and not after the process that wanted it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.experiments.perform import FailedError, TooLongError, command, last_lines
from tests.defaults import ROOT

# Starts a process of its own, which prints a line. Both hold a pipe open: who reads its other end waits until both have
# ended, which by themselves they do long after a test's time is up.
CHILD = "import time; print(1, flush=True); time.sleep(3600)"
FAMILY = [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"]


@pytest.mark.slow
def test_a_command_that_takes_too_long_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as witness:
        assert witness.stdin is not None
        with pytest.raises(TooLongError, match=r"^it did not end within 1 seconds$"):
            command(FAMILY, tmp_path, witness.stdin, seconds=1)
        witness.communicate()  # ends only when no other process has the pipe


@pytest.mark.slow
@pytest.mark.parametrize("ctrl_c", [False, True])
def test_a_command_ends_with_the_process_that_waits_for_it(ctrl_c: bool) -> None:
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from pathlib import Path; "
        f"from stages.experiments.perform import command; command({FAMILY!r}, Path('.'))"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", script]
    waiting = subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "1\n"
    if ctrl_c:
        os.killpg(waiting.pid, signal.SIGINT)  # a terminal sends it to all processes of the group
    else:
        waiting.kill()
    _, errors = waiting.communicate()  # ends only when no other process has its standard output
    assert errors.count("Traceback") == ctrl_c  # of the process itself alone


def test_a_command_that_fails_is_named_by_its_first_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output, pytest.raises(FailedError, match=r"^`git frobnicate` ended with code 1$"):
        command(["git", "frobnicate", "--now"], tmp_path, output)
    assert "frobnicate" in last_lines(log)
