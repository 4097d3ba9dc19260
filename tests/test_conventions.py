"""What other tools read of this project (CI, pre-commit, the development container, the citation) fits the project."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.dataset.checks import CHECKS
from tests.defaults import ROOT, SETTINGS

MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
JOBS: dict[str, dict[str, Any]] = WORKFLOW["jobs"]


def commands(job: dict[str, Any]) -> str:
    return "\n".join(step["run"] for step in job["steps"] if "run" in step)


def targets(text: str) -> set[str]:
    """The targets of make that ``text`` calls."""
    return set(re.findall(r"\bmake ([\w./-]+)", text))


def test_what_make_is_asked_for_is_in_the_makefile() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert ".ci/run pipeline" in commands(JOBS["pipeline"])
    script = (ROOT / ".ci/run").read_text()
    in_ci = targets(script).union(*(targets(commands(job)) for job in JOBS.values()))
    assert in_ci == {"test", "repro"}
    for target in in_ci | targets(container["postCreateCommand"]):
        assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE), target


def test_a_token_that_can_write_goes_to_one_job_which_runs_no_code_of_the_pull_request() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert set(WORKFLOW[True]) == {"push", "pull_request"}  # YAML 1.1 takes `on` for true
    assert {name: job["permissions"] for name, job in JOBS.items() if "permissions" in job} == {
        "comment": {"pull-requests": "write"}
    }
    assert "head.repo.full_name == github.repository" in JOBS["comment"]["if"]
    assert [step.get("uses", "").partition("@")[0] for step in JOBS["comment"]["steps"]] == [
        "actions/download-artifact",
        "",
    ]


@pytest.mark.parametrize("name", JOBS)
def test_no_script_of_ci_is_put_together_from_what_a_pull_request_says(name: str) -> None:
    assert "${{" not in commands(JOBS[name])


def test_the_job_that_compares_with_the_base_clones_the_whole_history() -> None:
    comparing = [job for job in JOBS.values() if "dvc metrics diff" in commands(job)]
    assert comparing
    for job in comparing:
        checkout = next(step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@"))
        assert checkout["with"]["fetch-depth"] == 0


def test_pre_commit_runs_tools_of_the_lock_that_make_test_runs() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    entries = [
        hook["entry"] for repository in repositories if repository["repo"] == "local" for hook in repository["hooks"]
    ]
    commands = [re.sub(" --.*", "", entry.removeprefix(".venv/bin/")) for entry in entries]
    assert commands == ["ruff check", "ruff format", "mypy"]
    for command in commands:
        assert f"\t{command}" in MAKEFILE


def test_the_citation_is_of_this_version_and_names_cifar_10() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{citation["version"]}"' in project
    assert f'license = "{citation["license"]}"' in project
    assert ("Krizhevsky", 2009) in [
        (each["authors"][0]["family-names"], each["year"]) for each in citation["references"]
    ]


def test_the_page_of_the_checks_has_a_row_for_each_in_their_order_with_its_severity() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \|.+\| (error|warning|off) \|$", (ROOT / "docs/checks.md").read_text(), re.MULTILINE
    )
    assert rows == [(name, SETTINGS.dataset.checks.severity(name)) for name in CHECKS]


def test_the_folders_of_the_tests_are_those_of_the_code() -> None:
    folders = [{path.parent.name for path in (ROOT / top).glob("*/*.py")} for top in ("stages", "tests")]
    assert folders[0] == folders[1]


def test_no_test_imports_from_another() -> None:
    imports = re.compile(r"^(?:from|import) tests.*\b(?:test_\w+|conftest)\b.*", re.MULTILINE)
    found = {path.name: imports.findall(path.read_text()) for path in (ROOT / "tests").rglob("*.py")}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.slow
def test_a_run_without_chromium_says_last_what_it_left_out_and_the_command_that_brings_it(tmp_path: Path) -> None:
    (tmp_path / "test_pages.py").write_text(
        "def test_one(browser): ...\ndef test_two(browser): ...\ndef test_three(): ...\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "CHROMIUM_REQUIRED"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "tests.conftest", tmp_path],
        cwd=tmp_path,
        env=environment | {"PATH": "", "PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
        check=True,
    )
    title, reason, counts = done.stdout.splitlines()[-3:]
    assert "NOT TESTED" in title
    assert reason == (
        "2 tests skipped: no page was opened in a browser, for want of chromium; on Debian and Ubuntu: apt-get install "
        "chromium"
    )
    assert "1 passed, 2 skipped" in counts
