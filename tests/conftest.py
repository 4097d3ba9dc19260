"""What many tests need: small images that they draw themselves, each unlike every other, and a browser."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import stages  # noqa: F401  # before NumPy, which reads the arithmetic that it sets up

# isort: split

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from PIL import Image

from stages.splits import packed
from stages.splits.packed import Split

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The same examples in each run, and no limit of time: a red run can be run again, and a busy machine is no failure.
settings.register_profile("project", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")

CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
CLASSES = ("000_circle", "001_square", "002_cross")


def draw(label: int, generator: np.random.Generator, size: int = 16) -> NDArray[np.uint8]:
    """A noisy image, uint8, shape (size, size, 3), whose brightest third tells its class."""
    image = generator.integers(0, 128, (size, size, 3))
    third = size // 3
    image[label * third : (label + 1) * third] += 100
    return image.astype(np.uint8)


def draw_folder(folder: Path, per_class: int, seed: int, size: int = 16) -> None:
    """A folder of class folders with ``per_class`` PNG files in each."""
    generator = np.random.default_rng(seed)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            Image.fromarray(draw(label, generator, size)).save(folder / name / f"{number:03d}.png")


def make_split(folder: Path, folder_sizes: tuple[int, ...], seed: int, size: int = 16) -> Split:
    """A verified split of drawn images on disk."""
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.sort(np.arange(count) % len(CLASSES)) for count in folder_sizes]).astype(np.int32)
    folder.mkdir(parents=True)
    packed.allocate_images(folder, len(labels), size)
    images = packed.open_images(folder)
    for row, label in enumerate(labels):
        images[row] = draw(int(label), generator, size)
    images.flush()  # type: ignore[attr-defined]
    names = [f"folder/{CLASSES[label]}/{row:05d}.png" for row, label in enumerate(labels)]
    packed.complete(folder, labels, CLASSES, folder_sizes, names)
    return packed.load(folder)


@pytest.fixture(scope="session")
def training_split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return make_split(tmp_path_factory.mktemp("splits") / "train", (60, 50), seed=1)


@pytest.fixture(scope="session")
def validation_split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return make_split(tmp_path_factory.mktemp("splits") / "validation", (45,), seed=2)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
    """Say below all else what a green run has left out, a line for each reason."""
    yield
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("NOT TESTED", yellow=True, bold=True)
    for reason, tests in reasons.items():
        terminalreporter.line(f"{tests} {'test' if tests == 1 else 'tests'} skipped: {reason}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        word = "no page was opened in a browser, for want of chromium; on Debian and Ubuntu: apt-get install chromium"
        if "CHROMIUM_REQUIRED" in os.environ:
            pytest.fail(word)
        pytest.skip(word)
    from playwright.sync_api import sync_playwright  # here, since most tests need no browser

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
