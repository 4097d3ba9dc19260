"""The whole pipeline under real DVC, on images that the test draws, each test in a project of its own."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from stages.model import history
from stages.model.prediction import predict_probabilities
from stages.model.saved import load_model
from stages.splits import packed
from tests.drawn import draw_folder
from tests.projects import Project, new_project

pytestmark = pytest.mark.slow

UP_TO_DATE = "Data and pipelines are up to date."


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = new_project(tmp_path_factory.mktemp("pipeline") / "original")
    assert project.repro() == {"fetch", "verify", "train", "validate", "test", "report"}
    project.commit()
    return project


@pytest.fixture
def project(reproduced: Project, tmp_path: Path) -> Project:
    """A copy of the reproduced project, for a test to change."""
    return Project(shutil.copytree(reproduced.folder, tmp_path / "copy", symlinks=True))


def test_the_pipeline_turns_images_into_a_model_metrics_and_plots(reproduced: Project) -> None:
    dataset, training = reproduced.metrics("dataset.json"), reproduced.metrics("train.json")
    assert [dataset[f"{split}_images"] for split in ("train", "validation", "test")] == [66, 24, 24]
    assert training["epochs"] == 2
    for split, metrics in (("validation", "validation.json"), ("test", "test.json")):
        with (reproduced.folder / f"plots/{split}/predictions.csv").open(newline="") as file:
            right = [row["actual"] == row["predicted"] for row in csv.DictReader(file)]
        assert len(right) == 24
        assert reproduced.metrics(metrics)["accuracy"] == pytest.approx(np.mean(right), abs=1e-6)
    assert "confused" in (reproduced.folder / "metrics" / "test_findings.md").read_text()


def test_what_validate_judges_is_the_saved_model_of_the_best_epoch(reproduced: Project) -> None:
    images = packed.load(reproduced.folder / "data/verified/validation").images
    judged = np.load(reproduced.folder / "models/validation_probabilities.npy")
    saved = load_model(reproduced.folder / "models/model.keras")
    np.testing.assert_array_equal(judged, predict_probabilities(saved, images))
    training = history.load(reproduced.folder / "metrics/history.csv", reproduced.folder / "metrics/train.json")
    best = training.epochs[training.best_epoch - 1]
    assert reproduced.metrics("validation.json")["loss"] == pytest.approx(best.val_loss, abs=2e-6)
    assert reproduced.metrics("validation.json")["accuracy"] == pytest.approx(best.val_accuracy, abs=2e-6)


def test_a_second_repro_runs_nothing(project: Project) -> None:
    assert project.run("dvc", "status").strip() == UP_TO_DATE
    assert project.repro() == set()


@pytest.mark.parametrize(
    ("key", "value", "rerun"),
    [
        ("seed", 2, {"train", "validate", "test", "report"}),
        ("dataset.image_size", 12, {"verify", "train", "validate", "test", "report"}),
        ("model.filters", [2, 8], {"train", "validate", "test", "report"}),
        ("train.learning_rate", 0.02, {"train", "validate", "test", "report"}),
        ("validate.overfitting_gap", 0.5, {"validate", "report"}),
        ("test.confused_pairs", 1, {"test", "report"}),
    ],
)
def test_a_changed_parameter_reruns_the_stages_that_depend_on_it(
    project: Project, key: str, value: object, rerun: set[str]
) -> None:
    project.set({key: value})
    assert project.repro() == rerun


def test_a_threshold_that_changes_no_split_reruns_verify_and_the_report_that_shows_it(project: Project) -> None:
    project.set({"dataset.images_per_folder": None, "dataset.classes": None})
    assert project.repro() == {"verify", "report"}


def test_a_new_test_image_reruns_only_verify_test_and_report(project: Project) -> None:
    draw_folder(project.folder / "more", per_class=1, seed=99)
    for image in (project.folder / "more").rglob("*.png"):
        image.rename(project.folder / "data" / "tiny" / "test" / image.parent.name / "new.png")
    assert project.repro() == {"verify", "test", "report"}
    assert project.metrics("dataset.json")["test_images"] == 27


def test_one_folder_is_divided_and_the_test_images_are_the_same_whatever_validates(project: Project) -> None:
    project.set({"dataset.train": ["first", "second"], "dataset.validation": 0.25, "dataset.test": 0.2})
    assert project.repro() == {"verify", "train", "validate", "test", "report"}
    dataset = project.metrics("dataset.json")
    assert [dataset[f"{split}_images"] for split in ("train", "validation", "test")] == [36, 17, 13]
    page = (project.folder / "plots/report.html").read_text()
    assert "<td>0.25 of the training folders</td>" in page
    test_images = project.md5s()["data/verified/test"]
    project.set({"dataset.validation": {"folds": 4, "fold": 1}})
    project.repro()
    assert project.md5s()["data/verified/test"] == test_images
    project.commit()
    project.run("dvc", "exp", "run", "--name", "another", "-S", "dataset.validation.fold=3")
    assert project.md5s()["data/verified/test"] == test_images
    assert "<td>fold 3 of 4 of the training folders</td>" in (project.folder / "plots/report.html").read_text()


def test_other_words_on_the_page_rerun_the_report_alone(project: Project) -> None:
    template = project.folder / "stages/page/report.html.jinja"
    template.write_text(template.read_text().replace("Report on the test split", "What came out"))
    assert project.repro() == {"report"}
    assert "<h1>What came out</h1>" in (project.folder / "plots/report.html").read_text()


def test_training_again_gives_equal_bytes_and_reruns_nothing_below(project: Project) -> None:
    before = project.md5s()
    assert project.repro("-f", "-s", "train") == {"train"}
    assert project.md5s() == before
    assert project.repro() == set()


def test_a_parameter_that_is_set_back_brings_its_training_back(project: Project) -> None:
    before = project.md5s()
    project.set({"train.epochs": 1})
    assert project.repro() == {"train", "validate", "test", "report"}
    project.set({"train.epochs": 2})
    assert project.repro() == {"validate", "test", "report"}
    assert project.md5s() == before


def test_a_second_clone_makes_equal_bytes(reproduced: Project, tmp_path: Path) -> None:
    clone = new_project(tmp_path / "another folder")
    clone.repro()
    assert clone.md5s() == reproduced.md5s()


def test_dvc_compares_a_change_with_the_last_commit(project: Project) -> None:
    project.set({"train.epochs": 1, "test.confused_pairs": 1})
    project.repro()
    changed = json.loads(project.run("dvc", "metrics", "diff", "--json"))
    assert changed["metrics/train.json"]["epochs"] == {"old": 2, "new": 1, "diff": -1}
    parameters = json.loads(project.run("dvc", "params", "diff", "--json"))["params.yaml"]
    assert parameters["train.epochs"] == {"old": 2, "new": 1, "diff": -1}
    table = project.run("dvc", "metrics", "show")
    assert "metrics/test.json" in table
    assert "interval" not in table  # they are in the file; in the table they would be two columns of three
    assert "report" in project.run("dvc", "dag")
    for command in (["show"], ["diff", "HEAD"]):
        page = project.run("dvc", "plots", *command).strip().removeprefix("file://")
        html = Path(page).read_text()
        assert "fpr" in html
        assert "confusion" in html


@pytest.mark.parametrize("command", [["show"], ["diff", "HEAD"]])
def test_dvc_draws_each_plot_once_and_finds_its_data(reproduced: Project, command: list[str]) -> None:
    found = json.loads(reproduced.run("dvc", "plots", *command, "--json"))  # what editors read, too
    declared = yaml.safe_load((reproduced.folder / "plots/dvc.yaml").read_text())["plots"]
    names = [f"plots/{plot}" if isinstance(plot, str) else next(iter(plot)) for plot in declared]
    assert found.keys() == {"data"}  # no "errors"
    assert sorted(found["data"]) == sorted([*names, "metrics/history.csv"])


def test_an_experiment_is_run_and_shown(project: Project) -> None:
    project.run("dvc", "exp", "run", "--name", "slower", "-S", "train.learning_rate=0.001")
    table = project.run("dvc", "exp", "show", "--csv")
    assert "slower" in table
    assert "0.001" in table


@pytest.fixture(scope="module")
def shared(reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The reproduced project with its images in DVC, pushed to a folder that stands for the team's remote."""
    folder = tmp_path_factory.mktemp("team")
    project = Project(shutil.copytree(reproduced.folder, folder / "origin", symlinks=True))
    project.run("dvc", "add", "data/tiny")
    project.run("dvc", "remote", "add", "--default", "store", str(folder / "store"))
    project.commit()
    assert "pushed" in project.run("dvc", "push")
    return project


@pytest.fixture
def clone(shared: Project, tmp_path: Path) -> Project:
    """What a colleague has after `git clone` and `dvc pull`."""
    shared.run("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "pull")
    return clone


def test_a_colleague_pulls_own_images_and_results_and_has_nothing_to_do(shared: Project, clone: Project) -> None:
    assert clone.run("dvc", "status").strip() == UP_TO_DATE
    assert clone.repro() == set()
    assert clone.md5s() == shared.md5s()
    assert [path.name for path in (clone.folder / "data/cifar10").iterdir()] == ["not_fetched.txt"]


def test_every_way_of_running_an_experiment_works_with_own_images(clone: Project) -> None:
    run = ("dvc", "exp", "run", "-S", "test.confused_pairs=1")  # the one that takes the least time
    clone.run(*run, "--name", "here")
    clone.run(*run, "--name", "apart", "--temp", "-S", "test.auc_classes=1")
    clone.run(*run, "--name", "queued", "--queue", "-S", "test.auc_classes=2")
    clone.run("dvc", "queue", "start")
    clone.run("dvc", "queue", "logs", "--follow", "queued")
    table = clone.run("dvc", "exp", "show", "--csv")
    committed = clone.run("git", "log", "--all", "--name-only", "--format=")
    for name in ("here", "apart", "queued"):
        assert name in table
    assert "params.yaml" in committed
    assert not re.search(r"^data/.*\.(png|zip)$", committed, re.MULTILINE)


def test_an_experiment_leaves_images_that_are_not_in_dvc_out_of_git(project: Project) -> None:
    project.run("dvc", "exp", "run", "--name", "here", "-S", "test.confused_pairs=1")
    files = project.run("git", "log", "--all", "--name-only", "--format=").split("\n")
    assert "params.yaml" in files
    assert {file for file in files if file.startswith("data/")} == {"data/.gitignore", "data/verified/.gitignore"}


def test_the_cache_is_cleaned_and_filled_again_with_own_images(clone: Project) -> None:
    clone.run("dvc", "gc", "--workspace", "--force")
    shutil.rmtree(clone.folder / ".dvc/cache")
    shutil.rmtree(clone.folder / "data/cifar10")
    clone.run("dvc", "fetch")
    clone.run("dvc", "checkout")
    assert clone.run("dvc", "status").strip() == UP_TO_DATE
    assert clone.run("dvc", "push").strip() == "Everything is up to date."


def test_a_mistake_in_the_parameters_fails_the_stage_in_one_line(project: Project) -> None:
    project.set({"train.optimizer": "sdg"})
    with pytest.raises(
        AssertionError, match=r"train.optimizer: 'sdg' is not allowed; should be 'sgd', 'rmsprop' or 'adam'"
    ):
        project.repro()
