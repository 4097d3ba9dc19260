"""What a person sees of a stage at its end and on its way."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest

SLOW_STAGE = """
import time
from stages.common.console import progress, run_stage
def stage():
    with progress("work", 30, "images") as bar:
        for _ in range(30):
            time.sleep(0.1)
            bar.advance(1)
        bar.say("half way")
run_stage("stage", stage)
"""


def run(program: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, text=True, capture_output=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


IMPORTS = "from stages.common.console import *\nfrom stages.common.files import *\n"


def stage_that(body: str) -> str:
    return f"{IMPORTS}def stage():\n    {body}\nrun_stage('stage', stage)"


def test_a_user_error_is_its_text_and_a_code_without_a_traceback() -> None:
    done = run(stage_that("raise UserError('params.yaml not found; run from the project')"))
    assert (done.returncode, done.stderr) == (1, "stage: params.yaml not found; run from the project\n")


def test_in_a_log_an_error_stands_below_what_the_stage_said_before() -> None:
    program = stage_that("print('72 images'); raise UserError('the dataset fails')")
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert done.stdout == b"72 images\nstage: the dataset fails\n"


def test_a_bug_keeps_its_traceback() -> None:
    done = run(stage_that("1 / 0"))
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_a_folder_in_the_place_of_an_output_is_named_and_stays(tmp_path: Path) -> None:
    output = tmp_path / "test.json"
    (output / "own").mkdir(parents=True)
    done = run(stage_that(f"with all_or_none() as place: write_text(place({str(output)!r}), 'text')"))
    told = f"stage: Is a directory: {output}; make room or allow writing there, then run again\n"
    assert (done.returncode, done.stderr) == (1, told)
    assert list(tmp_path.iterdir()) == [output]
    assert (output / "own").is_dir()


def test_a_reader_that_has_seen_enough_gets_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", stage_that("[print(number) for number in range(100_000)]")],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_a_terminal_of_few_characters_is_no_reason_to_fail() -> None:
    done = run(stage_that("print('Käse 猫')"), env=os.environ | {"PYTHONIOENCODING": "latin-1"}, encoding="latin-1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Käse \\u732b\n", "")


def test_ctrl_c_is_one_line() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", stage_that("print('on', flush=True); __import__('time').sleep(60)")],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.strip() == "stage: interrupted; nothing was left half-written"


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    def limit_file_size() -> None:
        # A write past this limit fails as it does on a full disk; without the signal, which would end the process.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = run(stage_that(f"write_text({str(tmp_path / 'a.txt')!r}, 'x' * 10_000)"), preexec_fn=limit_file_size)
    assert done.returncode == 1
    assert done.stderr.startswith("stage: File too large")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_after_a_full_disk_the_pipeline_loads_again(tmp_path: Path) -> None:
    """Also where there was no room for all of a compiled module, which some versions of Python leave cut off."""

    def limit_file_size() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))

    shutil.copytree("stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    program = stage_that("write_text('a.txt', 'x' * 10_000)")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    failed = run(program, cwd=tmp_path, env=environment, preexec_fn=limit_file_size)
    assert failed.stderr.startswith("stage: File too large: a.txt;")
    done = run(program, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_where_a_folder_belongs_is_one_line_and_stays(tmp_path: Path) -> None:
    file = tmp_path / "metrics"
    file.write_text("mine")
    done = run(stage_that(f"write_text({str(file / 'a.txt')!r}, 'x')"))
    assert done.returncode == 1
    assert str(file) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert file.read_text() == "mine"


@pytest.mark.slow
def test_in_a_log_progress_is_a_line_now_and_then_with_the_time_left() -> None:
    often = "from stages.common import console\nconsole.SECONDS_BETWEEN_LOG_LINES = 0.5\n"
    done = run(often + SLOW_STAGE)
    lines = done.stderr.splitlines()
    assert 2 <= len(lines) < 30
    assert all(re.fullmatch(r"work: \d+ of 30 images, at most 0:00:\d\d left", line) for line in lines)


@pytest.mark.slow
def test_in_a_log_quick_work_shows_no_progress() -> None:
    done = run(SLOW_STAGE)
    assert done.stdout == "work: half way\n"
    assert done.stderr == ""


@pytest.mark.slow
def test_on_a_terminal_progress_is_a_bar() -> None:
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", SLOW_STAGE], stdout=terminal, stderr=terminal)
    os.close(terminal)
    output = b""
    with suppress(OSError):  # Linux's way to say that the other end is closed
        while piece := os.read(main, 1024):
            output += piece
    os.close(main)
    assert process.wait() == 0
    assert re.search(r"work: +\d+%.*/30.0 .*images/s", output.decode()), output
