"""The check of a GPU, on a machine that may have none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import gpu
from tests.defaults import ROOT

pytestmark = pytest.mark.slow


def test_without_a_gpu_it_says_so_in_a_line_and_fails() -> None:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # set in this process; TensorFlow's notes would come with it
    command = [sys.executable, "-m", "tests.gpu"]
    done = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "gpu: TensorFlow sees none, so nothing was checked\n"


def test_all_that_it_finds_of_a_gpu_holds_of_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = list(gpu.findings(tmp_path, "CPU", {"residual": gpu.KINDS["residual"]}))
    assert [finding.text for finding in found if not finding.holds] == []
    assert [finding.text for finding in found if finding.text.startswith("residual: ")][:2] == [
        "residual: two trainings ended in equal bytes",
        "residual: a killed one went on and ended in equal bytes",
    ]
