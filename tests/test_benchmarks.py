"""The arithmetic behind the tables of `make bench`, and its contenders; the timings themselves are no test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.measuring import ratio, run
from benchmarks.training import epoch_operations
from stages.model import network, summary
from tests.defaults import ROOT, SETTINGS
from tests.drawn import draw_folder, make_split


def test_the_operations_of_an_epoch_are_those_of_the_default_network() -> None:
    # By hand: 27 * 16 * 1024, 144 * 32 * 256 and 288 * 64 * 64 multiplications in the convolutions, 1024 * 128 + 1280
    # in the dense layers; an image takes them three times in training, but for the first convolution's input.
    first, rest = 27 * 16 * 1024, 144 * 32 * 256 + 288 * 64 * 64 + 1024 * 128 + 128 * 10
    by_hand = 2 * (40_000 * (2 * first + 3 * rest) + 10_000 * (first + rest))
    layers = summary.layers(network.build(SETTINGS.model, 32, 10))
    assert epoch_operations(layers, 40_000, 10_000) == by_hand


def test_a_ratio_is_the_median_of_the_rounds_and_not_the_ratio_of_the_medians() -> None:
    assert ratio([2.0, 20.0, 9.0], [1.0, 10.0, 3.0]) == "2.00 (2.00 to 3.00)"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pipeline", "pipeline_fastest", "notebook"])
def test_a_contender_trains_an_epoch_when_it_is_told_to(name: str, tmp_path: Path) -> None:
    for seed, (folder, split) in enumerate({"train1": "train", "train2": "validation"}.items(), start=1):
        draw_folder(tmp_path / folder, per_class=10, seed=seed)
        make_split(tmp_path / "data/verified" / split, (30,), seed=seed)
    dataset = SETTINGS.dataset.model_copy(update={"train": ("train1",), "validation": ("train2",), "image_size": 16})
    settings = SETTINGS.model_copy(update={"dataset": dataset}).model_dump_json(by_alias=True)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.worker", name, str(tmp_path), settings],
        input="\n\n",
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    losses = [float(line) for line in done.stdout.splitlines()]
    assert len(losses) == 2, done.stderr
    assert 0 < losses[1] < losses[0] < 3


def test_a_command_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit, match="false failed"):
        run(["false"], ROOT)


def test_commands_are_measured_with_what_python_has_compiled_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    told = run([sys.executable, "-c", "import sys; print(sys.dont_write_bytecode)"], ROOT)
    assert [line for _, line in told.lines] == ["False"]
