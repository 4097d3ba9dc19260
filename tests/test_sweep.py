"""Many runs become a table, whatever fails or is killed meanwhile, and no run is made twice."""

from __future__ import annotations

import json
import math
import re
import signal
from pathlib import Path

import pytest

from tests.clusters import processes_in, until
from tests.defaults import PARAMS_FILE
from tests.stub_projects import StubProject

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path: Path) -> StubProject:
    return StubProject(tmp_path / "project")


def test_a_sweep_makes_each_run_once_and_more_seeds_make_only_theirs(project: StubProject) -> None:
    project.write("sweeps/one.yaml", "recipes: [baseline, two]\nseeds: [1, 2]\nmetrics: [test.accuracy, test.drops.0]")
    project.commit()
    code, printed = project.sweep()
    assert code == 0, printed
    assert "sweep: 4 runs, 0 already done\n" in printed
    assert "sweep: 4 done, 0 failed, 0 running, 0 waiting; about 0 minutes left\n" in printed
    assert project.experiments() == ["baseline-seed1", "baseline-seed2", "dataset", "two-seed1", "two-seed2"]
    assert project.logged("verify") == ["1 30"]
    assert project.logged("test") == ["1 2", "1 30", "2 2", "2 30"]
    table = json.loads((project.folder / "sweeps/one.json").read_text())
    assert table[0]["values"] == {"baseline": {"1": 0.8, "2": 1.1}, "two": {"1": 0.52, "2": 0.54}}
    assert table[1]["values"] == {"baseline": {"1": 1.0, "2": 2.0}, "two": {"1": 1.0, "2": 2.0}}
    assert "| two     | 2     | -0.4200 " in (project.folder / "sweeps/one.md").read_text()
    assert project.run("git", "status", "--porcelain").split() == [
        "??", "sweeps/one.json", "??", "sweeps/one.md", "??", "sweeps/one.png",
    ]  # fmt: skip
    assert project.leftovers() == []

    by_hand = project.run("git", "show", "HEAD:params.yaml").replace("epochs: 30 ", "epochs: 2  ")
    name = next(name for name in project.run("dvc", "exp", "list", "--name-only").split() if "two-seed1" in name)
    project.run("dvc", "exp", "apply", name)
    assert (project.folder / "params.yaml").read_text() == by_hand
    assert (project.folder / "models/model").read_text() == "1 2"
    project.run("git", "checkout", "--quiet", ".")

    project.write(
        "sweeps/one.yaml", "recipes: [baseline, two]\nseeds: [1, 2, 3]\nmetrics: [test.accuracy, test.drops.0]"
    )
    code, printed = project.sweep()
    assert code == 0, printed
    assert "sweep: 6 runs, 4 already done\n" in printed
    assert re.search(
        r"^sweep: test.drops.0: not in the table are runs that have no such number: baseline-seed3-\w+, two-seed3-\w+$",
        printed,
        re.MULTILINE,
    )
    assert project.logged("verify") == ["1 30"]
    assert project.logged("test") == ["1 2", "1 30", "2 2", "2 30", "3 2", "3 30"]


def test_a_sweep_over_folds_makes_a_run_for_each_and_a_mean_of_them(project: StubProject) -> None:
    project.write("params.yaml", re.sub(r"validation: .*\n  - .*", "validation: 0.2", PARAMS_FILE.read_text()))
    project.write("sweeps/one.yaml", "recipes: [baseline, two]\nfolds: 3\nseeds: [1]")
    project.commit()
    code, printed = project.sweep()
    assert code == 0, printed
    assert "sweep: 6 runs, 0 already done\n" in printed
    folds = [f"{recipe}-seed1-fold{fold}" for recipe in ("baseline", "two") for fold in (1, 2, 3)]
    assert project.experiments() == sorted([*folds, *["dataset"] * 3])
    assert len(project.logged("verify")) == 3
    (table,) = json.loads((project.folder / "sweeps/one.json").read_text())
    assert table["folds"] == 3
    assert table["values"]["two"] == {"1, fold 1": 0.521, "1, fold 2": 0.522, "1, fold 3": 0.523}
    assert [one["mean"] for one in table["summaries"]] == pytest.approx([0.802, 0.522])
    assert "Differences from *baseline*, paired by seed and fold:" in printed
    name = next(name for name in project.run("dvc", "exp", "list", "--name-only").split() if "two-seed1-fold2" in name)
    project.run("dvc", "exp", "apply", name)
    assert "validation:\n    folds: 3\n    fold: 2\n" in (project.folder / "params.yaml").read_text()


def test_a_search_lists_the_best_settings_first_and_never_tests(project: StubProject) -> None:
    search = "search: {trials: TRIALS, parameters: {train.learning_rate: {low: 0.0001, high: 1, log: true}}}"
    search += "\nseeds: [1, 2]\nmetrics: [validation.accuracy]"
    project.run("dvc", "repro")
    project.write("sweeps/one.yaml", search.replace("TRIALS", "3"))
    project.commit()
    assert "metrics/test.json" in project.run("git", "ls-files")
    code, printed = project.sweep()
    assert code == 0, printed
    assert "sweep: 6 runs, 0 already done\n" in printed
    project.write("sweeps/one.yaml", search.replace("TRIALS", "4"))
    code, printed = project.sweep()
    assert code == 0, printed
    assert "sweep: 8 runs, 6 already done\n" in printed
    assert project.logged("test") == ["1 30"]  # of the commit; its results must not pass for those of an experiment
    refs = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps/*/*/baseline-*").split()
    assert len(refs) == 8
    for ref in refs:
        files = project.run("git", "ls-tree", "-r", "--name-only", ref, "metrics").split()
        assert files == ["metrics/dataset.json", "metrics/validation.json"]
    (table,) = json.loads((project.folder / "sweeps/one.json").read_text())
    assert table["differences"] == []
    means = [summary["mean"] for summary in table["summaries"]]
    assert len(means) == 4
    assert means == sorted(means, reverse=True)
    rates = [float(summary["setting"].rpartition(" = ")[2]) for summary in table["summaries"]]
    distances = [abs(math.log10(rate / 0.01)) for rate in rates]
    assert distances == sorted(distances)


def hook(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_same_run_made_by_two_sweeps_at_once_ends_well_in_both(project: StubProject) -> None:
    hook(project.folder / ".git/hooks/pre-receive", "sleep 2")  # so that both begin to push before either has ended
    for name in ("one", "other"):
        project.write(f"sweeps/{name}.yaml", "recipes: [two]\nseeds: [1]")
    project.commit()
    processes = [project.start("stages.sweep", f"sweeps/{name}.yaml") for name in ("one", "other")]
    for process in processes:
        printed = process.communicate()[0]
        assert process.returncode == 0, printed
    assert project.experiments() == ["dataset", "two-seed1"]


def test_of_two_processes_that_run_a_recipe_the_second_waits_and_runs_nothing(project: StubProject) -> None:
    processes = [project.start("stages.recipe", "two", STUB_SECONDS="3") for _ in range(2)]
    printed = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    (second,) = (text for text in printed if "recipe: another process runs this recipe; waiting for it" in text)
    assert "has already run" in second
    assert project.logged("test") == ["1 2"]


def test_hooks_that_the_user_has_for_all_repositories_are_not_those_of_a_clone(
    project: StubProject, tmp_path: Path
) -> None:
    for name in ("post-checkout", "pre-push"):
        hook(tmp_path / "hooks" / name, "exit 1")
    (tmp_path / "gitconfig").write_text(f"[core]\n  hooksPath = {tmp_path / 'hooks'}\n")
    project.environment |= {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")}
    project.write("sweeps/one.yaml", "recipes: [two]\nseeds: [1]")
    project.commit()
    code, printed = project.sweep()
    assert code == 0, printed


def test_a_run_that_fails_shows_its_last_lines_and_the_others_go_on(project: StubProject) -> None:
    project.write("sweeps/one.yaml", "values: {train.epochs: [13, 2]}\nseeds: [1]")
    project.commit()
    code, printed = project.sweep()
    assert code == 1
    assert "    thirteen brings bad luck\n" in printed
    assert "in stage test with seed 1\n" in printed
    assert "sweep: failed, so missing from the table: baseline-seed1-" in printed
    assert "| baseline, train.epochs = 2 | 1 " in printed
    assert project.logged("test") == ["1 13", "1 2"]
    assert project.experiments() == ["baseline-seed1", "dataset"]
    assert project.leftovers() == []


def test_a_dataset_that_is_refused_ends_the_runs_that_need_it_and_no_other(project: StubProject) -> None:
    project.write("sweeps/one.yaml", "values: {dataset.division.seed: [13, 1, 2]}\nseeds: [1, 2]")
    project.commit()
    code, printed = project.sweep()
    assert code == 1
    assert "    a split would be empty\n" in printed
    assert re.search(r"^sweep: failed, .*: baseline-seed1-\w+, baseline-seed2-\w+$", printed, re.MULTILINE)
    assert project.experiments() == [*["baseline-seed1"] * 2, *["baseline-seed2"] * 2, *["dataset"] * 2]
    assert "| baseline, dataset.division.seed = 1 | 2 " in printed
    assert "| baseline, dataset.division.seed = 13" not in printed

    code, printed = project.sweep()  # now the one that is missing can't be made
    assert code == 1
    assert re.search(r"^sweep: failed, .*: baseline-seed1-\w+, baseline-seed2-\w+$", printed, re.MULTILINE)
    assert "| baseline, dataset.division.seed = 1 | 2 " in printed
    assert project.leftovers() == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_sweep_leaves_no_process_and_the_next_makes_what_is_missing(
    project: StubProject, how: signal.Signals
) -> None:
    project.write("sweeps/one.yaml", "values: {train.epochs: [2, 99]}\nseeds: [1]")
    project.commit()
    process = project.start("stages.sweep", "sweeps/one.yaml")
    until(lambda: len(project.experiments()) == 2 and len(project.logged("test")) == 2)
    process.send_signal(how)
    process.communicate()
    assert process.returncode == (-how if how == signal.SIGKILL else 128 + how)
    until(lambda: not processes_in(project.folder))
    if how == signal.SIGINT:
        assert project.leftovers() == []

    project.write("sweeps/one.yaml", "values: {train.epochs: [2, 3]}\nseeds: [1]")
    code, printed = project.sweep()
    assert code == 0, printed
    assert "sweep: 2 runs, 1 already done\n" in printed
    assert project.logged("test") == ["1 2", "1 3", "1 99"]
    assert project.leftovers() == []
