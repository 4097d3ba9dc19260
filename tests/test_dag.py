"""dvc.yaml is honest: what a stage depends on there is what its code imports and reads, no more and no less."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.dataset.settings import FETCHED, OUTPUTS

STAGES: dict[str, dict[str, Any]] = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
PLOTS: list[Any] = yaml.safe_load(Path("plots/dvc.yaml").read_text())["plots"]  # their paths are relative to plots/
FAILURES = "data/failures.csv"  # what verify leaves in place of its outs when it fails
CHECK = Path("stages/parameters.py")  # can only refuse, so no stage depends on it; two tests below hold it to that
OF_THE_PIPELINE = ("data/", "models/", "metrics/", "plots/")


def paths(entries: list[Any]) -> set[str]:
    """The paths of a stage's deps or outs, which may carry options."""
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


def outs_of(stage: dict[str, Any]) -> list[Any]:
    """All that a stage writes: DVC's metrics and plots are outs too."""
    return [*stage["outs"], *stage.get("metrics", []), *stage.get("plots", [])]


def imported(file: Path) -> set[Path]:
    """The modules of this project that ``file`` imports itself."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    modules = {Path(*name.split(".")).with_suffix(".py") for name in names if name.startswith("stages.")}
    return {module for module in modules if module.exists()} - {CHECK}


def with_all_imports(file: Path) -> set[Path]:
    found, waiting = set(), {file, Path("stages/__init__.py")}  # Python runs the package's own file first
    while waiting:
        module = waiting.pop()
        found.add(module)
        waiting |= imported(module) - found
    return found


def folder_or_file(module: Path) -> str:
    """What a stage depends on for ``module``: its folder, or itself where it lies directly in ``stages``."""
    return (module if module.parent == Path("stages") else module.parent).as_posix()


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_imports_only_what_its_deps_name_and_each_dep_is_used(name: str) -> None:
    code = {dep for dep in paths(STAGES[name]["deps"]) if dep.startswith("stages/")}
    assert code == {folder_or_file(module) for module in with_all_imports(Path("stages", f"{name}.py"))}


def test_the_folders_import_as_the_page_on_architecture_says_and_never_in_a_circle() -> None:
    imports: dict[str, set[str]] = {}
    for file in Path("stages").glob("*/*.py"):
        imports.setdefault(file.parent.name, set()).update(module.parts[1] for module in imported(file))
    downwards = ["experiments", "page", "evaluation", "model", "dataset", "cifar10", "splits", "common"]
    for folder, others in imports.items():
        assert others <= set(downwards[downwards.index(folder) :])
    for line in Path("docs/architecture.md").read_text().splitlines():
        if row := re.match(r"\| \[`stages/(\w+)`\].*\|([^|]*)\|$", line):
            assert imports.pop(row[1]) - {row[1]} == set(re.findall(r"`(\w+)`", row[2])), line
    assert not imports


def test_an_edit_in_a_folder_reruns_the_stages_that_use_it() -> None:
    users: dict[str, set[str]] = {folder.as_posix(): set() for folder in Path("stages").iterdir() if folder.is_dir()}
    users.pop("stages/__pycache__", None)
    for name, stage in STAGES.items():
        for dep in paths(stage["deps"]) & users.keys():
            users[dep].add(name)
    assert users == {
        "stages/cifar10": {"fetch"},
        "stages/common": {"fetch", "verify", "train", "validate", "test", "report"},
        "stages/dataset": {"verify", "report"},
        "stages/evaluation": {"validate", "test", "report"},
        "stages/model": {"train", "validate", "test", "report"},
        "stages/experiments": set(),  # runs the stages from outside
        "stages/page": {"report"},
        "stages/splits": {"verify", "train", "validate", "test"},
    }


def imports_the_check(file: Path) -> bool:
    return any(
        isinstance(node, ast.ImportFrom)
        and (node.module == "stages.parameters" or (node.module == "stages" and node.names[0].name == "parameters"))
        for node in ast.walk(ast.parse(file.read_text()))
    )


def test_of_what_stages_depend_on_only_they_import_the_check_of_all_parameters() -> None:
    of_people = {"stages/experiments/recipes.py", "stages/recipe.py", "stages/sweep.py"}
    importing = {path.as_posix() for path in Path("stages").rglob("*.py") if imports_the_check(path)}
    assert importing == {f"stages/{name}.py" for name in STAGES} | of_people


def test_the_test_split_is_read_by_the_stage_test_alone() -> None:
    assert [name for name, stage in STAGES.items() if "data/verified/test" in paths(stage["deps"])] == ["test"]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_begins_with_the_check_of_all_parameters_and_takes_nothing_else_from_there(name: str) -> None:
    tree = ast.parse(Path("stages", f"{name}.py").read_text())
    (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    assert ast.unparse(function.body[0]) == "parameters.check()"
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "parameters"]
    assert len(uses) == 1


def test_an_edit_of_the_definition_of_a_section_reruns_the_stages_of_its_package_alone() -> None:
    rerun = {}
    for file in Path("stages").rglob("settings.py"):
        rerun[file.parent.name] = {
            name for name in STAGES if any(overlap(file.as_posix(), dep) for dep in paths(STAGES[name]["deps"]))
        }
    assert rerun == {
        "dataset": {"verify", "report"},
        "model": {"train", "validate", "test", "report"},
        "evaluation": {"validate", "test", "report"},  # a threshold of a finding fetches, verifies and trains nothing
    }


def keys_named(tree: ast.Module, excerpt: str = "Settings", prefix: str = "") -> set[str]:
    """The keys that an excerpt in a stage's file names, those of an excerpt within it with their section."""
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    keys: set[str] = set()
    for field in classes[excerpt].body:
        assert isinstance(field, ast.AnnAssign)
        key, kind = prefix + ast.unparse(field.target).removesuffix("_"), ast.unparse(field.annotation)
        keys |= keys_named(tree, kind, f"{key}.") if kind in classes else {key}
    return keys


@pytest.mark.parametrize("name", STAGES)
def test_the_params_are_the_keys_that_a_stage_names_and_it_reads_each_of_them(name: str) -> None:
    tree = ast.parse(Path("stages", f"{name}.py").read_text())
    params = set(STAGES[name].get("params", []))
    assert params == keys_named(tree)
    read = {ast.unparse(node).replace("validate_", "validate") for node in ast.walk(tree)}
    assert "settings.model_dump(by_alias=True)" in read or {f"settings.{param}" for param in params} <= read


def overlap(path: str, other: str) -> bool:
    return f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/")


@pytest.mark.parametrize("name", STAGES)
def test_the_data_deps_and_outs_are_the_paths_that_a_stage_names(name: str) -> None:
    constants = list(ast.walk(ast.parse(Path("stages", f"{name}.py").read_text())))
    named = {node.value for node in constants if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    named = {text for text in named if text.startswith(OF_THE_PIPELINE) and text != FAILURES}
    all_paths = paths(STAGES[name]["deps"] + outs_of(STAGES[name]))
    declared = {path for path in all_paths if path.startswith(OF_THE_PIPELINE)}
    assert {path for path in declared if not any(overlap(path, one) for one in named)} == set()
    assert {one for one in named if not any(overlap(one, path) for path in declared)} == set()


def test_the_folders_that_may_not_hold_a_users_images_are_those_of_the_outs() -> None:
    outs = set().union(*(paths(outs_of(stage)) for stage in STAGES.values())) - {FETCHED}
    for out in outs:
        assert any(overlap(out, folder) and len(folder) <= len(out) for folder in OUTPUTS), out
    for folder in OUTPUTS:
        assert any(overlap(out, folder) for out in outs), folder


def test_every_plot_is_an_output_of_a_stage() -> None:
    outs = set().union(*(paths(outs_of(stage)) for stage in STAGES.values()))
    plotted: set[str] = set()
    for plot in PLOTS:
        for plot_id, options in [(plot, None)] if isinstance(plot, str) else plot.items():
            sources = options.get("y") if options else None
            plotted |= set(sources) if isinstance(sources, dict) else {plot_id}
    for path in (os.path.normpath(f"plots/{path}") for path in plotted):
        assert any(path == out or path.startswith(f"{out}/") for out in outs), path


def test_metrics_and_plots_are_in_git_and_data_and_models_in_dvcs_cache() -> None:
    for stage in STAGES.values():
        for out in outs_of(stage):
            in_git = isinstance(out, dict) and next(iter(out.values()))["cache"] is False
            assert in_git == (next(iter(paths([out]))).startswith(("metrics/", "plots/")))
