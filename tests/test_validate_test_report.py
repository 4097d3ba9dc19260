"""The stages validate, test and report, run in a folder of their own on a tiny model and tiny splits."""

from __future__ import annotations

import base64
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from markupsafe import escape
from sklearn import metrics

from stages.common.console import UserError
from stages.common.files import write_array, write_csv, write_json
from stages.common.thumbnails import thumbnail
from stages.dataset import near_pairs
from stages.dataset.near_pairs import NearPair
from stages.evaluation import findings, mistakes
from stages.model import summary
from stages.model.backend import keras
from stages.model.network import build
from stages.model.prediction import predict_probabilities
from stages.model.saved import load_model, save_model
from stages.report import report
from stages.splits import packed
from stages.test import test as evaluate_test  # pytest would take a function called test for one of its own
from stages.train import train
from stages.validate import validate
from tests.defaults import PARAMS_FILE, SETTINGS

pytestmark = pytest.mark.slow

CLASSES = ("blue", "green", "red & <b>")
VALIDATION_OUTS = (
    "metrics/validation.json",
    "metrics/validation_findings.md",
    "plots/validation/confusion_matrix.png",
    "plots/validation/curves.png",
    "plots/validation/predictions.csv",
)
TEST_OUTS = (
    "metrics/test.json",
    "metrics/test_classes.json",
    "metrics/test_findings.md",
    "plots/test/confusion_matrix.png",
    "plots/test/f1.json",
    "plots/test/mistakes.json",
    "plots/test/predictions.csv",
    "plots/test/reliability.json",
    "plots/test/reliability.png",
    "plots/test/roc.json",
    "plots/test/roc.png",
)
REPORT_OUTS = ("metrics/report.md", "plots/report.html")
GIVEN = (
    "metrics/dataset.json",
    "metrics/history.csv",
    "metrics/train.json",
    "plots/dataset/near_duplicates.json",
)


def write_split(folder: Path, count: int, classes: tuple[str, ...] = CLASSES, size: int = 8) -> None:
    random = np.random.default_rng(count)
    folder.mkdir(parents=True)
    packed.allocate_images(folder, count, size)
    packed.open_images(folder)[:] = random.integers(0, 256, (count, size, size, 3))
    labels = np.arange(count, dtype=np.int32) % len(classes)
    packed.complete(folder, labels, classes, [count], [f"{folder.name}/{index}.png" for index in range(count)])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What verify and train leave behind: an untrained model will do here."""
    folder = tmp_path_factory.mktemp("prepared")
    shutil.copy(PARAMS_FILE, folder)
    settings = SETTINGS.model
    keras.utils.set_random_seed(1)
    model = build(settings.model_copy(update={"filters": (4,)}), 8, len(CLASSES))
    save_model(folder / "models/model.keras", model, CLASSES)
    summary.write(folder / "models/layers.json", summary.layers(model))
    write_split(folder / "data/verified/train", 60)
    write_split(folder / "data/verified/validation", 30)
    write_split(folder / "data/verified/test", 45)
    images = packed.load(folder / "data/verified/validation").images
    probabilities = predict_probabilities(load_model(folder / "models/model.keras"), images)
    write_array(folder / "models/validation_probabilities.npy", probabilities)
    header = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    write_csv(folder / "metrics/history.csv", header, [(1, 1.5, 0.4, 1.4, 0.45, 0.01), (2, 1.2, 0.5, 1.3, 0.5, 0.01)])
    trained = {"epochs": 2, "best_epoch": 2, "learning_rate_drops": [2], "stopped_early": False, "parameters": 9}
    write_json(folder / "metrics/train.json", trained)
    counts = {f"{split}_images": count for split, count in (("train", 60), ("validation", 30), ("test", 45))}
    found = {"classes": 3, "near_duplicates": 0, "near_leaked_images": 1, "near_leaked_test_images": 1}
    warned = {"warnings": {"total": 1, "near_leakage": 1}}
    write_json(folder / "metrics/dataset.json", counts | found | warned)
    pictures = (thumbnail(images[0]), thumbnail(images[1]))
    pairs = [NearPair("near_leakage", ("test/7.png", "train/5.png"), pictures)]
    near_pairs.write(folder / "plots/dataset/near_duplicates.json", pairs)
    return folder


@pytest.fixture
def project(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def validate_test_report() -> None:
    validate()
    evaluate_test()
    report()


def outputs(project: Path) -> dict[str, bytes]:
    """Each file that a stage has written, with its bytes."""
    files = [file for folder in ("metrics", "plots") for file in (project / folder).rglob("*") if file.is_file()]
    paths = sorted(file.relative_to(project).as_posix() for file in files)
    return {path: (project / path).read_bytes() for path in paths if path not in GIVEN}


@pytest.mark.parametrize(
    ("stage", "outs"),
    [
        (validate, VALIDATION_OUTS),
        (evaluate_test, TEST_OUTS),
        (validate_test_report, (*VALIDATION_OUTS, *TEST_OUTS, *REPORT_OUTS)),
    ],
)
def test_a_stage_writes_its_outputs_and_nothing_else_in_equal_bytes_each_time(
    stage: Callable[[], None], outs: tuple[str, ...], project: Path
) -> None:
    stage()
    first = outputs(project)
    assert sorted(first) == sorted(outs)
    stage()
    assert outputs(project) == first


def test_the_headlines_are_scikit_learns_of_the_models_predictions(project: Path) -> None:
    evaluate_test()
    split = packed.load("data/verified/test")
    probabilities = predict_probabilities(load_model("models/model.keras"), split.images)
    predicted = probabilities.argmax(axis=1)
    written = json.loads(Path("metrics/test.json").read_text())
    assert written["accuracy"] == pytest.approx(metrics.accuracy_score(split.labels, predicted), abs=1e-6)
    assert written["f1_macro"] == pytest.approx(
        metrics.f1_score(split.labels, predicted, average="macro", zero_division=0.0), abs=1e-6
    )
    assert written["auc_macro"] == pytest.approx(
        metrics.roc_auc_score(split.labels, probabilities, multi_class="ovr"), abs=1e-6
    )
    assert written["loss"] == pytest.approx(metrics.log_loss(split.labels, probabilities), abs=1e-5)


def test_the_headlines_of_both_splits_have_the_same_names_and_the_test_an_auc_and_intervals(project: Path) -> None:
    validate()
    evaluate_test()
    validation, test = (json.loads(Path(f"metrics/{name}.json").read_text()) for name in ("validation", "test"))
    assert [*validation, "auc_macro", "interval_95"] == list(test)


def test_a_single_test_image_has_intervals_where_they_are_defined_and_null_elsewhere(project: Path) -> None:
    shutil.rmtree("data/verified/test")
    write_split(project / "data/verified/test", 1)
    validate_test_report()
    found = json.loads(Path("metrics/test.json").read_text())["interval_95"]
    assert [name for name, interval in found.items() if interval is not None] == ["accuracy", "recall_weighted"]
    assert "| AUC, macro | undefined | undefined |" in Path("metrics/report.md").read_text()


@pytest.mark.parametrize("stage", [validate, evaluate_test])
def test_a_stage_that_fails_as_it_writes_leaves_the_outputs_of_the_run_before(
    stage: Callable[[], None], project: Path
) -> None:
    stage()
    first = outputs(project)
    write_array("models/validation_probabilities.npy", np.full((30, 3), 1 / 3, np.float32))
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("class_margin: 0.03", "class_margin: 0.2"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))  # for tables, not for pictures
    try:
        with pytest.raises(OSError, match="File too large"):
            stage()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert outputs(project) == first
    stage()
    assert outputs(project) != first


@pytest.mark.parametrize(("stage", "name", "count"), [(validate, "validation", 30), (evaluate_test, "test", 45)])
def test_predictions_are_a_row_an_image_with_its_name_and_those_of_the_classes(
    stage: Callable[[], None], name: str, count: int, project: Path
) -> None:
    stage()
    with open(f"plots/{name}/predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [f"{name}/{index}.png" for index in range(count)]
    assert [row["actual"] for row in rows] == [CLASSES[index % 3] for index in range(count)]
    assert {row["predicted"] for row in rows} <= set(CLASSES)


def test_the_data_of_the_plots_name_every_class(project: Path) -> None:
    evaluate_test()
    roc = json.loads(Path("plots/test/roc.json").read_text())
    assert list(dict.fromkeys(row["class"] for row in roc)) == list(CLASSES)
    assert all(type(row[field]) is float for row in roc for field in ("auc", "fpr", "tpr"))
    by_class = json.loads(Path("metrics/test_classes.json").read_text())
    assert {row["class"]: row["auc"] for row in roc} == {name: by_class[name]["auc"] for name in CLASSES}
    f1 = json.loads(Path("plots/test/f1.json").read_text())
    assert f1 == [{"class": name, "f1": by_class[name]["f1"]} for name in CLASSES]


def test_the_page_shows_what_the_other_stages_found(project: Path) -> None:
    validate_test_report()
    html, text = Path("plots/report.html").read_text(), Path("metrics/report.md").read_text()
    accuracy = json.loads(Path("metrics/test.json").read_text())["accuracy"]
    for content in (html, text):
        assert f"{accuracy:.2%}" in content
        assert "Training stopped after epoch 2, its limit." in content
        assert "1 warning" in content
    assert 'alt="test/7.png"' in html
    assert 'alt="train/5.png"' in html
    assert "red &amp; &lt;b&gt;" in html
    for sentence in findings.load(Path("metrics/test_findings.md"), "test"):
        assert f"<li>{escape(sentence)}</li>" in html
    (mistake, *_) = mistakes.load(Path("plots/test/mistakes.json"))
    for picture in (mistake.picture, Path("plots/test/roc.png").read_bytes()):
        assert f"data:image/png;base64,{base64.b64encode(picture).decode()}" in html


def test_the_page_needs_no_image_of_the_dataset_no_model_and_none_of_the_large_libraries(project: Path) -> None:
    validate_test_report()
    before = outputs(project)
    shutil.rmtree("data")
    Path("models/model.keras").unlink()
    code = (
        "import sys; from stages.report import report; report(); "
        "print({'tensorflow', 'keras', 'sklearn', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(report.__code__.co_filename).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
    assert outputs(project) == before


def test_headline_and_findings_are_printed_and_the_findings_kept(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    validate()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("validate: accuracy ")
    assert "validate: Training stopped after epoch 2, its limit." in lines
    assert "- Training stopped after epoch 2, its limit.\n" in Path("metrics/validation_findings.md").read_text()


def test_a_class_without_test_images_has_no_figures_in_any_output(project: Path) -> None:
    shutil.rmtree("data/verified/test")
    write_split(project / "data/verified/test", 45)
    labels = np.arange(45, dtype=np.int32) % 2
    packed.complete(Path("data/verified/test"), labels, CLASSES, [45], [f"test/{index}.png" for index in range(45)])
    evaluate_test()
    written = json.loads(Path("metrics/test_classes.json").read_text())
    assert written[CLASSES[2]] == {"precision": None, "recall": None, "f1": None, "auc": None, "support": 0}
    for name in ("f1", "roc"):
        rows = json.loads(Path(f"plots/test/{name}.json").read_text())
        assert {row["class"] for row in rows} == set(CLASSES[:2])
    f1 = [written[name]["f1"] for name in CLASSES[:2]]
    assert json.loads(Path("metrics/test.json").read_text())["f1_macro"] == pytest.approx(np.mean(f1), abs=1e-6)
    said = Path("metrics/test_findings.md").read_text()
    assert "Without images in the split, so without figures, and in no average: red &" in said.replace("\\", "")


def test_two_classes_are_enough(project: Path) -> None:
    shutil.rmtree("data/verified/test")
    write_split(project / "data/verified/test", 10, ("no", "yes"))
    save_model("models/model.keras", build(SETTINGS.model.model_copy(update={"filters": (4,)}), 8, 2), ["no", "yes"])
    evaluate_test()
    assert list(json.loads(Path("metrics/test_classes.json").read_text())) == ["no", "yes"]


def test_a_split_of_other_classes_than_the_models_is_an_error_and_nothing_is_written(project: Path) -> None:
    shutil.rmtree("data/verified/test")
    write_split(project / "data/verified/test", 10, ("no", "yes"))
    with pytest.raises(UserError, match="the model has 3 classes, the split 2"):
        evaluate_test()
    assert outputs(project) == {}


@pytest.mark.parametrize(("stage", "name", "count"), [(validate, "validation", 30), (evaluate_test, "test", 45)])
def test_as_many_other_classes_as_the_models_are_an_error_and_nothing_is_written(
    stage: Callable[[], None], name: str, count: int, project: Path
) -> None:
    shutil.rmtree(f"data/verified/{name}")
    write_split(project / "data/verified" / name, count, ("blue", "green", "zebra"))
    with pytest.raises(UserError, match="the model's classes are not the split's: red & <b> in place of zebra; train"):
        stage()
    assert outputs(project) == {}


def test_train_refuses_a_validation_split_of_other_classes_or_another_image_size(project: Path) -> None:
    for size, classes in ((8, ("blue", "green", "zebra")), (16, CLASSES)):
        shutil.rmtree("data/verified/validation")
        write_split(project / "data/verified/validation", 30, classes, size)
        with pytest.raises(UserError, match="of two runs of verify; run `dvc repro verify`"):
            train()


def test_a_split_of_another_image_size_than_the_models_is_an_error_and_nothing_is_written(project: Path) -> None:
    settings = SETTINGS.model.model_copy(update={"filters": (4,)})
    save_model("models/model.keras", build(settings, 16, len(CLASSES)), CLASSES)
    with pytest.raises(UserError, match="the model takes images of 16 pixels, the split's have 8"):
        evaluate_test()
    assert outputs(project) == {}


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        (validate, "metrics/history.csv"),
        (validate, "metrics/train.json"),
        (validate, "models/validation_probabilities.npy"),
        (validate, "models/model.keras"),
        (evaluate_test, "models/model.keras"),
    ],
)
def test_what_train_has_not_written_is_an_error_that_names_it(
    stage: Callable[[], None], missing: str, project: Path
) -> None:
    Path(missing).unlink()
    with pytest.raises(UserError, match=rf"{missing}.*run `dvc repro train`"):
        stage()
    assert outputs(project) == {}


@pytest.mark.parametrize(
    ("path", "stage", "text"),
    [
        ("metrics/dataset.json", "verify", "not JSON"),
        ("metrics/dataset.json", "verify", "{}"),
        ("metrics/test.json", "test", '{"accuracy": 0.5}'),
        ("metrics/test.json", "test", '{"accuracy": 0.5, "interval_95": {"accuracy": [0.4]}}'),
        ("metrics/test.json", "test", '{"interval_95": {}}'),
        ("metrics/test_classes.json", "test", '{"blue": {"f1": 0.5}}'),
        ("metrics/test_classes.json", "test", "[]"),
        ("metrics/test_findings.md", "test", ""),
        ("metrics/validation_findings.md", "validate", "# Findings\n\nsome prose\n"),
        ("models/layers.json", "train", '[{"kind": "Conv2D"}]'),
        ("plots/dataset/near_duplicates.json", "verify", '[{"check": "near_leakage"}]'),
        ("plots/test/mistakes.json", "test", '[{"picture": "no Base64"}]'),
        ("plots/test/reliability.json", "test", "[]"),
        ("plots/test/reliability.json", "test", '[{"confidence": 1}]'),
        ("plots/test/roc.png", "test", None),
        ("plots/test/mistakes.json", "test", None),
        ("metrics/test.json", "test", None),
        ("models/layers.json", "train", None),
    ],
)
def test_what_a_stage_did_not_write_is_an_error_of_report_that_names_file_and_stage(
    path: str, stage: str, text: str | None, project: Path
) -> None:
    validate()
    evaluate_test()
    if text is None:
        Path(path).unlink()
    else:
        Path(path).write_text(text)
    what = "not found" if text is None else f"is not what `{stage}` writes \\(.*\\)"
    with pytest.raises(UserError, match=f"^{path} {what}; run `dvc repro {stage}`$"):
        report()
    assert not any(Path(out).exists() for out in REPORT_OUTS)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("metrics/history.csv", "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate\n"),
        ("metrics/history.csv", "epoch,loss\n1,0.5\n"),
        ("metrics/history.csv", "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate\n1,a,b,c,d,e\n"),
        ("metrics/train.json", "{}"),
        ("metrics/train.json", "not JSON"),
    ],
)
def test_a_history_that_train_did_not_write_is_an_error(path: str, text: str, project: Path) -> None:
    Path(path).write_text(text)
    with pytest.raises(UserError, match=f"^{path} is not what `train` writes "):
        validate()
