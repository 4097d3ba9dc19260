"""compare, run as people do on a repository with two commits, an experiment and a workspace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo  # type: ignore[import-untyped]

from stages.common.console import UserError
from stages.common.files import write_csv, write_json, write_text
from stages.compare import compare

pytestmark = pytest.mark.slow
IMAGES = [f"test/{name}/{number:03d}.png" for name in ("cat", "dog") for number in range(30)]
ACTUAL = ["cat"] * 30 + ["dog"] * 30
FIRST = ["cat"] * 20 + ["dog"] * 20 + ["cat"] * 20
SECOND = ["cat"] * 28 + ["dog"] * 22 + ["cat"] * 10  # right on 20 images more
WORKSPACE = ["cat"] * 29 + ["dog"] * 21 + ["cat"] * 10  # one of them changed


def write_run(predicted: list[str], learning_rate: float, images: list[str] = IMAGES) -> None:
    write_csv(
        "plots/test/predictions.csv", ("image", "actual", "predicted"), zip(images, ACTUAL, predicted, strict=True)
    )
    write_json("metrics/test.json", {"loss": 0.5 + learning_rate, "accuracy": 0.0, "auc_macro": None})
    write_lock("0" * 32)
    write_text("params.yaml", f"seed: 1\ntrain:\n  learning_rate: {learning_rate}\n  batch_size: 64\n")


def write_lock(checksum: str) -> None:
    dep = f"- path: data/verified/test\n      hash: md5\n      md5: {checksum}.dir\n"
    write_text("dvc.lock", f"schema: '2.0'\nstages:\n  test:\n    cmd: test\n    deps:\n    {dep}")


def git(*arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose first commit has no run, and then one run a commit; the last is an experiment as well."""
    folder = tmp_path_factory.mktemp("repository")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        git("init", "--quiet", "--initial-branch", "main")
        Repo.init().close()
        git("add", "--all")
        git("commit", "--quiet", "--message", "empty")
        for predicted, learning_rate in ((FIRST, 0.01), (SECOND, 0.1)):
            write_run(predicted, learning_rate)
            git("add", "--all")
            git("commit", "--quiet", "--message", str(learning_rate))
        baseline = git("rev-parse", "HEAD~1")
        git("update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/higher-rate", "HEAD")
        write_run(WORKSPACE, 0.1)
    return folder


@pytest.fixture(autouse=True)
def inside(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)


def test_two_commits_are_compared_in_a_sentence_and_tables(capsys: pytest.CaptureFixture[str]) -> None:
    compare("HEAD~1", "HEAD")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == (
        "From HEAD~1 to HEAD accuracy on the test changes by +30.00 points (95 % interval +18.33 to +41.67), more than "
        "chance in the choice of the images explains (McNemar's exact test: p = 7.6e-06)."
    )
    assert "accuracy 0.5000 0.8000 +0.3000 +0.1833 to +0.4167" in lines
    assert "loss 0.5100 0.6000 +0.0900" in lines
    assert not any(line.startswith("auc_macro") for line in lines)
    assert any(line.startswith("F1 of dog 0.4000 0.7692 +0.3692 ") for line in lines)
    assert (
        "18 images are predicted otherwise: 18 now right, 0 now wrong, 0 wrong in another way. The first of them:"
        in lines
    )
    assert "test/cat/020.png cat dog cat" in lines
    assert "train.learning_rate 0.01 0.1" in lines
    assert not any("batch_size" in line for line in lines)


def test_a_small_change_is_said_to_be_chance_and_equal_parameters_to_be_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    compare("HEAD", "workspace")
    printed = capsys.readouterr().out
    assert "which chance in the choice of the images may explain (McNemar's exact test: p = 1)" in printed
    assert "1 image is predicted otherwise: 1 now right, 0 now wrong, 0 wrong in another way." in printed
    assert printed.endswith("The parameters are the same.\n")


def test_an_experiment_is_found_by_its_name_and_the_same_predictions_are_called_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    compare("higher-rate", "HEAD")
    assert capsys.readouterr().out == (
        "higher-rate and HEAD predict the same class for each of the 60 test images.\nThe parameters are the same.\n"
    )


def test_where_the_predicted_classes_are_equal_the_loss_may_still_differ(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = Path("metrics/test.json")
    before, predictions = metrics.read_text(), Path("plots/test/predictions.csv").read_text()
    git("checkout", "--quiet", "HEAD", "--", "plots")
    write_json(metrics, {"loss": 0.4, "accuracy": 0.0, "auc_macro": None})
    try:
        compare("HEAD", "workspace")
        lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        assert lines[0].startswith("HEAD and workspace predict the same class")
        assert "loss 0.6000 0.4000 -0.2000" in lines
    finally:
        metrics.write_text(before)
        Path("plots/test/predictions.csv").write_text(predictions)


def test_a_project_in_a_folder_of_a_repository_is_compared_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prö j").mkdir()
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet", "--initial-branch", "main")
    monkeypatch.chdir(tmp_path / "prö j")
    Repo.init(subdir=True).close()
    for predicted, learning_rate in ((FIRST, 0.01), (SECOND, 0.1)):
        write_run(predicted, learning_rate)
        git("add", "--all")
        git("commit", "--quiet", "--message", "run")
    compare("HEAD~1", "workspace")
    assert "by +30.00 points" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "a name is empty; give `workspace`, a Git revision or an experiment"),
        ("HEAD^{tree}", r"cannot read plots/test/predictions.csv of HEAD\^\{tree\}: .*; give `workspace`, a Git"),
    ],
)
def test_what_is_no_commit_is_refused_in_a_line(name: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}") as error:
        compare("HEAD", name)
    assert "\n" not in str(error.value)


def test_the_same_words_come_out_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    compare("HEAD~1", "HEAD")
    printed = capsys.readouterr().out
    compare("HEAD~1", "HEAD")
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("old", "new", "what"), [("test/cat/007.png", "test/cat/x.png", "images"), (".png,cat,", ".png,lion,", "classes")]
)
def test_other_test_data_are_refused(old: str, new: str, what: str) -> None:
    predictions = Path("plots/test/predictions.csv")
    before = predictions.read_text()
    predictions.write_text(before.replace(old, new))
    try:
        with pytest.raises(UserError, match=rf"^HEAD and workspace were tested on other data \(the {what} differ\)"):
            compare("HEAD", "workspace")
    finally:
        predictions.write_text(before)


def test_other_images_of_the_same_names_are_refused_but_not_the_same_images_in_another_size(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parameters = Path("params.yaml")
    before = parameters.read_text()
    write_lock("1" * 32)
    try:
        with pytest.raises(UserError, match=r"other data \(the pixels of images of the same names differ\)"):
            compare("HEAD", "workspace")
        parameters.write_text(f"{before}dataset:\n  image_size: 64\n")
        compare("HEAD", "workspace")
        assert "dataset.image_size" in capsys.readouterr().out
    finally:
        write_lock("0" * 32)
        parameters.write_text(before)


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        (
            "plots/test/predictions.csv",
            "actual,predicted\ncat,dog\n",
            "it has no rows with the columns image, actual, predicted",
        ),
        ("plots/test/predictions.csv", "image,actual,predicted\n", "it has no rows"),
        ("metrics/test.json", "{", "Expecting property name"),
        ("metrics/test.json", "[]", "it has no accuracy"),
    ],
)
def test_files_that_test_did_not_write_are_an_error(path: str, text: str, message: str) -> None:
    error = rf"^{path} of workspace is not what `test` writes \({message}.*\); write it anew with `dvc repro test`$"
    refuse_in_the_workspace(path, text, error)


def test_parameters_that_cannot_be_read_are_an_error() -> None:
    refuse_in_the_workspace("params.yaml", "a: [", "^params.yaml of workspace cannot be read: params.yaml, line ")


def refuse_in_the_workspace(path: str, text: str, error: str) -> None:
    before = Path(path).read_text()
    Path(path).write_text(text)
    try:
        with pytest.raises(UserError, match=error):
            compare("HEAD", "workspace")
    finally:
        Path(path).write_text(before)


@pytest.mark.parametrize("name", ["no-such-revision", "HEAD~2"])
def test_an_unknown_revision_or_one_without_a_run_is_an_error(name: str) -> None:
    with pytest.raises(UserError, match=f"^cannot read plots/test/predictions.csv of {name}: .*give `workspace`"):
        compare(name, "HEAD")


def test_the_command_ends_with_1_and_one_line_after_an_error(request: pytest.FixtureRequest) -> None:
    environment = {**os.environ, "PYTHONPATH": str(request.config.rootpath)}
    command = [sys.executable, "-m", "stages.compare", "HEAD", "nope"]
    failed = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("compare: cannot read plots/test/predictions.csv of nope: unknown Git revision")
    assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("prepare", "advice"),
    [
        (
            "",
            "this folder is no Git repository, as an unpacked archive is none; clone the project, or run `git init && ",
        ),
        ("git init --quiet", "the repository has no commit; run `git add --all && git commit --message start`"),
        (
            "git clone --quiet --depth 1 file://{repository} clone && mv clone/.git .",
            "this clone is shallow and holds the last commits alone; run `git fetch --unshallow`",
        ),
    ],
    ids=["no repository", "no commit", "shallow"],
)
def test_what_git_lacks_is_said_with_the_command_that_brings_it(
    prepare: str, advice: str, repository: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").touch()
    subprocess.run(prepare.format(repository=repository), cwd=tmp_path, shell=True, check=True)
    environment = {**os.environ, "PYTHONPATH": str(request.config.rootpath)}
    command = [sys.executable, "-m", "stages.compare", "HEAD~1", "workspace"]
    failed = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert failed.stderr.startswith("compare: cannot read plots/test/predictions.csv of HEAD~1: ")
    assert f"; {advice}" in failed.stderr
    assert failed.stderr.count("\n") == 1
