"""What many tests need: two packed splits of drawn images, and a browser."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import stages  # noqa: F401  # before NumPy, which reads the arithmetic that it sets up

# isort: split

import pytest
from hypothesis import HealthCheck, settings

from stages.common.interrupts import SIGNALS
from stages.splits.packed import Split
from tests.drawn import make_split

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The same examples in each run, and no limit of time: a red run can be run again, and a busy machine is no failure.
settings.register_profile("project", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")

# Tests that a shell started in the background inherit from it that Ctrl-C is not for them; so would what they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def training_split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return make_split(tmp_path_factory.mktemp("splits") / "train", (60, 50), seed=1)


@pytest.fixture(scope="session")
def validation_split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return make_split(tmp_path_factory.mktemp("splits") / "validation", (45,), seed=2)


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """A stage that is run within the tests' process ignores signals when it is done; later tests must hear them."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


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
