"""The stage train as a person sees it: a training that runs, one that is interrupted, and one that goes on."""

from __future__ import annotations

import csv
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.defaults import PARAMS_FILE, ROOT
from tests.drawn import make_split
from tests.projects import TINY, Project


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project whose training would take 100,000 epochs."""
    shutil.copy(PARAMS_FILE, tmp_path)
    Project(tmp_path).set(TINY | {"train.epochs": 100_000, "train.early_stopping": None})
    for seed, split in enumerate(("train", "validation")):
        make_split(tmp_path / "data/verified" / split, (20,), seed)
    return tmp_path


def environment(**variables: str) -> dict[str, str]:
    """That of the tests, without the variable of their own TensorFlow, with which its log would be shown."""
    own = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return own | {"PYTHONPATH": str(ROOT)} | variables


def interrupted_after(line: str, folder: Path) -> tuple[str, str]:
    """What the stage prints, and its errors, if Ctrl-C comes once it has printed ``line``."""
    with subprocess.Popen(
        [sys.executable, "-m", "stages.train"],
        cwd=folder,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        printed = ""
        while line not in printed and process.poll() is None:
            printed += process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    return printed + rest, errors


def epochs_kept(errors: str) -> int:
    line = r"train: interrupted; epochs 1 to (\d+) are kept; `dvc repro` goes on from there"
    found = re.fullmatch(line, errors.strip())
    assert found, errors
    return int(found[1])


def epochs_on_disk(folder: Path) -> list[int]:
    with open(folder / "metrics/history.csv", newline="") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


@pytest.mark.slow
def test_while_a_training_runs_no_other_stage_does_and_it_goes_on(folder: Path) -> None:
    """Such as one that was left by a ``dvc repro`` that was killed alone."""
    (folder / ".dvc").mkdir()
    command = [sys.executable, "-m", "stages.train"]
    with subprocess.Popen(command, cwd=folder, env=environment(), text=True, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        while "epoch  1:" not in first.stdout.readline():
            assert first.poll() is None
        for stage in ("train", "verify"):
            second = subprocess.run(
                [sys.executable, "-m", f"stages.{stage}"],
                cwd=folder,
                env=environment(),
                capture_output=True,
                text=True,
                check=False,
            )
            assert second.returncode == 1
            assert second.stderr == (
                f"{stage}: another stage still runs in this folder; wait for it, or end it by `kill {first.pid}`\n"
            )
        assert first.poll() is None
        first.kill()
    assert "goes on after epoch" in interrupted_after("parameters, 20 images", folder)[0]


@pytest.mark.slow
def test_a_model_is_not_written_beside_parameters_that_were_changed_while_it_was_trained(folder: Path) -> None:
    project = Project(folder)
    project.set({"train.epochs": 300})
    command = [sys.executable, "-m", "stages.train"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, env=environment(), text=True, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        while "epoch  1:" not in process.stdout.readline():
            assert process.poll() is None
        project.set({"train.learning_rate": 0.02})
        _, errors = process.communicate()
    assert process.returncode == 1
    assert errors == (
        "train: params.yaml was changed meanwhile, so its values are not this model's; run `dvc repro` again\n"
    )
    assert not (folder / "models").exists()


@pytest.mark.slow
def test_without_room_for_temporary_files_a_training_says_so_in_a_line(folder: Path, tmp_path: Path) -> None:
    def limit_file_size() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    done = subprocess.run(
        [sys.executable, "-m", "stages.train"],
        cwd=folder,
        # Or Python would keep cut-off files of modules that it compiles.
        env=environment(TMPDIR=str(tmp_path), PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit_file_size,
    )
    assert done.returncode == 1
    assert done.stderr == f"train: File too large: {tmp_path}; make room or allow writing there, then run again\n"


@pytest.mark.slow
def test_ctrl_c_keeps_the_finished_epochs_says_so_and_the_next_run_goes_on_from_there(folder: Path) -> None:
    kept = epochs_kept(interrupted_after("epoch  2:", folder)[1])
    assert kept >= 2
    printed, errors = interrupted_after("parameters, 20 images", folder)
    assert f"train: goes on after epoch {kept}, from .resume/train.npz\n" in printed
    kept_then = epochs_kept(errors)
    assert kept_then >= kept  # more if this process was slow to hear that the other has begun
    printed, errors = interrupted_after(f"epoch {kept_then + 1:2}:", folder)
    assert "epoch  1:" not in printed
    assert epochs_kept(errors) > kept_then
    assert epochs_on_disk(folder)[: kept_then + 1] == list(range(1, kept_then + 2))
    assert not (folder / "models").exists()
