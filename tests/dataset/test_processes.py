"""Processes that are killed, or whose parent is, leave no other behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.common.console import UserError
from stages.dataset.processes import parallel_map
from tests.defaults import ROOT

pytestmark = pytest.mark.slow


def test_a_killed_process_is_a_clear_error() -> None:
    with pytest.raises(UserError, match="was killed"), parallel_map(2) as map_tasks:
        list(map_tasks(_die, [1, 2]))


def _die(task: int) -> None:
    os._exit(9)


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from stages.dataset.processes import parallel_map; from tests.dataset import test_processes\n"
        "if __name__ == '__main__':\n"
        "    with parallel_map(2) as map_tasks: list(map_tasks(test_processes._wait, [Path(sys.argv[1])] * 4))\n"
    )
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as parent:
        while len(list(tmp_path.glob("*.started"))) < 2:
            assert parent.poll() is None
            time.sleep(0.05)
        parent.kill()
        parent.communicate(timeout=20)  # ends when the last process that has inherited the pipe has ended


def _wait(folder: Path) -> None:
    (folder / f"{os.getpid()}.started").touch()
    time.sleep(60)
    raise AssertionError("was not ended")
