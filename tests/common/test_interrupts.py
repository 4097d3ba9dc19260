"""Ctrl-C and SIGTERM, sent to real processes at many a moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import joblib
import psutil
import pytest
import yaml

from tests.defaults import ROOT, parameter_values
from tests.drawn import draw_folder

INTERRUPTED = "interrupted; nothing was left half-written"


def start(*arguments: str, folder: Path, handler: signal.Handlers = signal.SIG_DFL) -> subprocess.Popen[str]:
    """A Python process at the head of a group of its own, as a terminal starts it."""
    # A log level that another test has set would show TensorFlow's notes here.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, handler),
    )


def wait_until(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    while not reached():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def wait_for_first_line_of_stages(process: subprocess.Popen[str]) -> None:
    """Until the process catches SIGTERM, which Python by itself does not: before, it loads only Python itself."""
    status = Path(f"/proc/{process.pid}/status")

    def reached() -> bool:
        caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    wait_until(process, reached)


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    with process:
        _, errors = process.communicate(timeout=60)
    return process.returncode, errors.strip()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="this system does not tell which signals a process catches")
@pytest.mark.parametrize(
    ("stage", "seconds"),
    [
        ("train", 0),
        ("train", 0.3),
        *(pytest.param("train", seconds, marks=pytest.mark.slow) for seconds in (0.1, 0.6, 1)),
        ("verify", 0),
        ("compare", 0),
    ],
)
def test_ctrl_c_while_modules_are_loaded_is_one_line(stage: str, seconds: float, tmp_path: Path) -> None:
    process = start("-m", f"stages.{stage}", folder=tmp_path)
    wait_for_first_line_of_stages(process)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    assert end(process) == (130, f"{stage}: {INTERRUPTED}")


@pytest.mark.parametrize("options", [["-um", "stages.compare"], ["-mstages.compare"]])
def test_however_the_option_is_written_a_stage_loads_and_says_its_name(options: list[str], tmp_path: Path) -> None:
    process = start(*options, "--help", folder=tmp_path)
    wait_for_first_line_of_stages(process)
    process.terminate()
    assert end(process) == (143, "compare: terminated; nothing was left half-written")


@pytest.mark.slow
@pytest.mark.skipif(joblib.cpu_count() == 1, reason="on one core verify starts no processes")
def test_ctrl_c_while_processes_of_verify_start_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    settings = parameter_values()
    settings["dataset"] |= {"root": "images", "train": ["a"], "validation": ["b"], "test": ["c"]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings))
    for seed, name in enumerate("abc"):
        draw_folder(tmp_path / "images" / name, per_class=20, seed=seed, size=64)  # together enough for two processes
    process = start("-m", "stages.verify", folder=tmp_path)
    # Beside the two that decode there is the one by which Python keeps track of what they share.
    verify = psutil.Process(process.pid)
    wait_until(process, lambda: len(verify.children()) == 3)
    # A terminal signals all at once; here first those that must not hear it.
    for child in verify.children():
        child.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, f"verify: {INTERRUPTED}")
    assert list((tmp_path / "data/verified").iterdir()) == []


def run_stage(body: str, folder: Path, handler: signal.Handlers = signal.SIG_DFL) -> subprocess.Popen[str]:
    """A process that runs a stage of ``body``, in which it has come to ``wait(60)`` or the like."""
    program = "import time\nfrom stages.common.console import run_stage\n"
    program += "def wait(seconds):\n    print('on', flush=True)\n    time.sleep(seconds)\n"
    program += f"def stage():\n{body}\nrun_stage('stage', stage)"
    process = start("-c", program, folder=folder, handler=handler)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    return process


@pytest.mark.slow
def test_an_interrupt_that_a_library_turns_into_its_own_error_is_one_line(tmp_path: Path) -> None:
    body = "    try: wait(60)\n    except BaseException: raise ImportError('a library that failed to load')"
    process = run_stage(body, tmp_path)
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, f"stage: {INTERRUPTED}")


@pytest.mark.slow
def test_an_interrupt_that_a_library_swallows_ends_work_that_shows_progress(tmp_path: Path) -> None:
    body = """
    from stages.common.console import progress
    class Tidying:
        def __del__(self): wait(0.5)  # Python prints an exception in here, and goes on
    Tidying()
    with progress('stage', 6000, 'steps') as bar:
        for _ in range(6000):
            time.sleep(0.01)
            bar.advance(1)"""
    process = run_stage(body, tmp_path)
    process.send_signal(signal.SIGINT)
    code, errors = end(process)
    assert code == 130
    assert "Exception ignored in" in errors
    assert errors.endswith(f"stage: {INTERRUPTED}")


@pytest.mark.slow
def test_who_cannot_wait_presses_ctrl_c_again(tmp_path: Path) -> None:
    process = run_stage("    try: wait(60)\n    finally: open('tidying', 'w').close(); time.sleep(60)", tmp_path)
    process.send_signal(signal.SIGINT)
    wait_until(process, (tmp_path / "tidying").exists)
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, f"stage: {INTERRUPTED}")


def test_a_terminated_stage_tidies_up_as_after_ctrl_c(tmp_path: Path) -> None:
    process = run_stage("    try: wait(60)\n    finally: open('tidied', 'w').close()", tmp_path)
    process.terminate()
    assert end(process) == (143, "stage: terminated; nothing was left half-written")
    assert (tmp_path / "tidied").exists()


def test_a_stage_in_the_background_of_a_shell_does_not_hear_ctrl_c(tmp_path: Path) -> None:
    process = run_stage("    wait(0.3)", tmp_path, signal.SIG_IGN)
    process.send_signal(signal.SIGINT)
    assert end(process) == (0, "")
