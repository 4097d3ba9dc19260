"""The stage as a whole on tiny datasets: what it writes, and what it says and leaves where the dataset fails."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest
import yaml
from PIL import Image

from stages import verify as stage
from stages.common.console import UserError
from stages.dataset import checks, near_pairs
from stages.dataset.checks import CHECKS
from stages.splits import packed
from stages.verify import verify
from tests.defaults import ROOT, parameter_values
from tests.drawn import CLASSES, draw, draw_folder

OUTPUTS = ("data/verified", "metrics", "plots")


def set_parameters(**severities: str) -> None:
    """``params.yaml`` with the defaults, the tiny dataset and, for some checks, other severities."""
    values = parameter_values()
    dataset = values["dataset"]
    dataset.update(root="data/images", train=["a", "b"], validation=["c"], test=["d"])
    dataset.update(image_size=16, classes=3, images_per_folder=12, checks={**dataset["checks"], **severities})
    Path("params.yaml").write_text(yaml.safe_dump(values))


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a sound dataset: train of two folders, validation, and test as a zip; 3 classes of 4 images."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "data/images"
    for seed, name in enumerate(("a", "b", "c", "d")):
        draw_folder(root / name, 4, seed)
    shutil.make_archive(str(root / "d"), "zip", root / "d")
    shutil.rmtree(root / "d")
    set_parameters()
    return root


def failures() -> list[dict[str, str]]:
    with open("data/failures.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def fail() -> str:
    """What the stage says as it fails; its outputs must then be as they were, and nothing half-written beside them."""
    before = output_bytes()
    with pytest.raises(UserError) as error:
        verify()
    assert output_bytes() == before
    return str(error.value)


def snapshot(folder: Path) -> dict[str, tuple[bytes, float]]:
    return {str(path): (path.read_bytes(), path.stat().st_mtime) for path in folder.rglob("*") if path.is_file()}


def output_bytes() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for name in OUTPUTS for path in Path(name).rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_sound_dataset_is_packed_and_described(root: Path) -> None:
    before = snapshot(root)
    verify()
    train = packed.load("data/verified/train")
    assert train.images.shape == (24, 16, 16, 3)
    assert train.classes == CLASSES
    assert train.folder_sizes == (12, 12)
    assert train.image_names[0] == "a/000_circle/000.png"
    assert np.array_equal(train.images[0], np.asarray(Image.open(root / "a/000_circle/000.png")))
    assert train.labels.tolist() == [label for _ in "ab" for label in range(3) for _ in range(4)]
    assert packed.load("data/verified/test").image_names[-1] == "d/002_cross/003.png"
    assert json.loads(Path("metrics/dataset.json").read_text()) == {
        "train_images": 24,
        "validation_images": 12,
        "test_images": 12,
        "classes": 3,
        "exact_duplicates": 0,
        "leaked_images": 0,
        "near_duplicates": 0,
        "near_leaked_images": 0,
        "near_leaked_test_images": 0,
        "converted_images": 0,
        "warnings": {"total": 0},
    }
    assert Path("metrics/dataset_warnings.csv").read_text() == "check,subject,problem,partner,listed,found\n"
    for name in ("samples", "class_counts"):
        with Image.open(f"plots/dataset/{name}.png") as picture:
            assert picture.width <= 1280
    assert not Path("data/failures.csv").exists()
    assert snapshot(root) == before


@pytest.mark.slow
def test_equal_inputs_give_equal_bytes_on_any_number_of_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    verify()
    first = output_bytes()
    monkeypatch.setattr(stage, "BYTES_A_PROCESS", 1)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 3)
    verify()
    assert output_bytes() == first


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system confines no process to some cores")
def test_no_more_processes_decode_than_a_container_or_a_scheduler_leaves_cores(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stage, "BYTES_A_PROCESS", 1)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        verify()
    finally:
        os.sched_setaffinity(0, cores)
    assert "processes: 1\n" in capsys.readouterr().out


def test_warnings_are_counted_by_check_and_listed_with_their_files(root: Path) -> None:
    shutil.copy(root / "a/000_circle/000.png", root / "b/000_circle/000.png")
    Image.fromarray(draw(1, np.random.default_rng(9), size=20)).save(root / "c/001_square/000.png")
    verify()
    metrics = json.loads(Path("metrics/dataset.json").read_text())
    assert metrics["exact_duplicates"] == metrics["converted_images"] == 1
    assert metrics["warnings"] == {"total": 2, "converted_image": 1, "exact_duplicate": 1}
    assert Path("metrics/dataset_warnings.csv").read_text().splitlines()[1:] == [
        "converted_image,c/001_square/000.png,resized from 20x20,,1,1",
        "exact_duplicate,b/000_circle/000.png,has the pixels of a/000_circle/000.png,a/000_circle/000.png,1,1",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "leaked"), [("c", 0), ("d", 1)])
def test_the_test_images_with_a_near_duplicate_in_train_are_counted_apart(root: Path, folder: str, leaked: int) -> None:
    shutil.unpack_archive(root / "d.zip", root / "d")
    (root / "d.zip").unlink()
    pixels = np.array(Image.open(root / "a/000_circle/000.png"))
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(root / folder / "000_circle/000.png")
    verify()
    metrics = json.loads(Path("metrics/dataset.json").read_text())
    assert (metrics["near_leaked_images"], metrics["near_leaked_test_images"]) == (1, leaked)


@pytest.mark.slow
def test_near_duplicates_are_shown_as_verified_beside_images_that_are_left_out(root: Path) -> None:
    set_parameters(unreadable_image="off", folder_size="off", label_conflict="off")
    (root / "a/000_circle/000.png").write_text("no image")  # so that rows and listed images are not the same
    pixels = np.array(Image.open(root / "a/001_square/000.png"))
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(root / "b/002_cross/000.png")
    verify()
    (pair,) = near_pairs.load(Path("plots/dataset/near_duplicates.json"))
    assert pair[:2] == ("near_duplicate", ("b/002_cross/000.png", "a/001_square/000.png"))
    pictures = [np.asarray(Image.open(io.BytesIO(picture))) for picture in pair.pictures]
    assert np.array_equal(pictures[0], pixels)
    assert np.array_equal(pictures[1], np.asarray(Image.open(root / "a/001_square/000.png")))


def test_near_duplicates_that_are_not_asked_for_are_not_shown(root: Path) -> None:
    set_parameters(near_duplicate="off")
    pixels = np.array(Image.open(root / "a/001_square/000.png"))
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(root / "b/001_square/000.png")
    verify()
    assert json.loads(Path("metrics/dataset.json").read_text())["near_duplicates"] == 1
    assert near_pairs.load(Path("plots/dataset/near_duplicates.json")) == []


@pytest.mark.slow
def test_of_many_warnings_a_sample_is_listed_that_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "KEPT", 3)
    for file in sorted((root / "a").glob("*/00[01].png")):
        Image.fromarray(draw(1, np.random.default_rng(9), size=20)).save(file)
    set_parameters(label_conflict="off", exact_duplicate="off")
    verify()
    rows = Path("metrics/dataset_warnings.csv").read_text().splitlines()[1:]
    assert rows == [f"converted_image,a/{name}/000.png,resized from 20x20,,3,6" for name in CLASSES]
    assert "converted_image (6, a sample of 3 listed in metrics/dataset_warnings.csv)" in capsys.readouterr().out


def test_a_warning_ends_in_dots_only_if_there_is_more_of_its_kind(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "a/stray.png").write_bytes(b"")
    verify()
    assert "): a/stray.png lies outside of the class folders\n" in capsys.readouterr().out


def test_all_failures_are_listed_and_summed_up(root: Path) -> None:
    for path in sorted((root / "a/000_circle").iterdir()):
        path.write_text("no image")
    shutil.rmtree(root / "c")
    no_image = "is no PNG, JPEG, WEBP, GIF or BMP image"
    assert fail().splitlines() == [
        "the dataset fails 2 of 18 checks; every finding is in data/failures.csv",
        "  missing_folder (1): c is missing: there is no folder data/images/c/ and no data/images/c.zip",
        f"  unreadable_image (4): a/000_circle/000.png {no_image}; a/000_circle/001.png {no_image}; "
        f"a/000_circle/002.png {no_image} ...",
    ]
    assert [row["check"] for row in failures()] == ["missing_folder"] + ["unreadable_image"] * 4
    assert failures()[-1]["subject"] == "a/000_circle/003.png"


def test_a_warning_that_may_be_the_reason_of_a_failure_is_told_with_it(root: Path) -> None:
    for folder in ("b", "c"):
        for number, path in enumerate(sorted((root / folder).rglob("*.png"))):
            path.rename(root / folder / f"{number:02d}.png")
        for name in CLASSES:
            (root / folder / name).rmdir()
    (root / "d.zip").unlink()
    draw_folder(root / "d", 4, seed=9)
    assert fail().splitlines() == [
        "the dataset fails 1 of 18 checks; every finding is in data/failures.csv",
        "  missing_folder (2): b is empty: it has no class folders; c is empty: it has no class folders",
        "  misplaced_file (warning, 24): b/00.png lies outside of the class folders ...",
    ]
    assert [row["check"] for row in failures()] == ["missing_folder"] * 2 + ["misplaced_file"] * 24
    set_parameters(missing_folder="off", unsafe_file="off", class_set="off", class_drift="off", channel_drift="off")
    assert fail().splitlines() == [
        "dataset.validation: its folders hold no image that can be used; every finding is in data/failures.csv",
        "  misplaced_file (warning, 24): b/00.png lies outside of the class folders ...",
    ]
    set_parameters(missing_folder="off", misplaced_file="off")
    assert fail() == "dataset.validation: its folders hold no image that can be used"


@pytest.mark.slow
def test_folders_as_people_make_them_are_packed_like_plain_ones(root: Path) -> None:
    """Unpacked into a folder of its own name; nested; zipped by two programs; all with litter."""
    verify()
    before = {split: packed.load(Path("data/verified", split)) for split in ("train", "validation", "test")}
    (root / "a").rename(root / "unpacked")
    (root / "a").mkdir()
    (root / "unpacked").rename(root / "a/a")
    for path in sorted((root / "b").rglob("*.png")):
        (path.parent / "batch 2").mkdir(exist_ok=True)
        path.rename(path.parent / "batch 2" / path.name)
    with zipfile.ZipFile(root / "c.zip", "w") as archive:
        for path in sorted((root / "c").rglob("*.png")):
            archive.write(path, f"c/{path.relative_to(root / 'c')}")
            archive.writestr(f"__MACOSX/c/{path.parent.name}/._{path.name}", b"")
    shutil.rmtree(root / "c")
    with zipfile.ZipFile(root / "d.zip") as zipped:
        images = {name.replace("/", "\\"): zipped.read(name) for name in zipped.namelist() if name.endswith(".png")}
    with zipfile.ZipFile(root / "d.zip", "w") as archive:
        for name, content in images.items():
            archive.writestr(name, content)
    for folder in (root / "a", root / "a/a/000_circle", root / "b/000_circle/batch 2"):
        for name in ("Desktop.ini", "thumbs.db", "Icon\r", "000.png:Zone.Identifier"):
            (folder / name).write_text("no image")
    for name in ("000.xml", "labels.csv"):
        (root / "a/a/000_circle" / name).write_text("no image")
    verify()
    for split, plain in before.items():
        made = packed.load(Path("data/verified", split))
        assert np.array_equal(made.images, plain.images)
        assert made.labels.tolist() == plain.labels.tolist()
        assert made.classes == plain.classes
    assert json.loads(Path("metrics/dataset.json").read_text())["warnings"] == {"total": 0}
    train = packed.load("data/verified/train").image_names
    assert (train[0], train[12]) == ("a/a/000_circle/000.png", "b/000_circle/batch 2/000.png")
    assert all((root / name).exists() for name in train)


@pytest.mark.slow
def test_a_failure_leaves_the_outputs_of_an_earlier_run_and_success_no_failures(root: Path) -> None:
    verify()
    before = output_bytes()
    image = root / "a/000_circle/000.png"
    sound = image.read_bytes()
    image.write_bytes(sound[:50])
    fail()
    assert len(output_bytes()) == 14
    image.write_bytes(sound)
    verify()
    assert output_bytes() == before
    assert not Path("data/failures.csv").exists()


@pytest.mark.slow
def test_a_new_run_replaces_all_outputs(root: Path) -> None:
    verify()
    before = output_bytes()
    Path("plots/dataset/old.png").touch()
    image = root / "a/000_circle/000.png"
    Image.fromarray(draw(1, np.random.default_rng(9), size=20)).save(image)
    verify()
    assert output_bytes().keys() == before.keys()
    assert "a/000_circle/000.png" in Path("metrics/dataset_warnings.csv").read_text()


def test_test_images_among_the_training_images_are_a_failure(root: Path) -> None:
    with zipfile.ZipFile(root / "d.zip") as archive:
        (root / "a/000_circle/000.png").write_bytes(archive.read("000_circle/003.png"))
    assert "leakage (1): d/000_circle/003.png has the pixels of a/000_circle/000.png, which is in" in fail()


def test_unreadable_images_are_left_out_where_they_are_no_error(root: Path) -> None:
    set_parameters(unreadable_image="warning", folder_size="off")
    (root / "b/001_square/001.png").write_bytes(b"")
    verify()
    train = packed.load("data/verified/train")
    assert len(train.images) == len(train.labels) == len(train.image_names) == 23
    assert train.folder_sizes == (12, 11)
    assert "b/001_square/001.png" not in train.image_names
    for name, image in zip(train.image_names, train.images, strict=True):
        assert np.array_equal(image, np.asarray(Image.open(root / name)))
    assert sorted(path.name for path in Path("data/verified/train").iterdir()) == [
        "images.npy",
        "index.json",
        "labels.npy",
    ]
    metrics = json.loads(Path("metrics/dataset.json").read_text())
    assert (metrics["train_images"], metrics["warnings"]["unreadable_image"]) == (23, 1)


@pytest.mark.slow
def test_an_unreadable_validation_image_leaves_the_others_in_their_places(root: Path) -> None:
    set_parameters(unreadable_image="warning", folder_size="off")
    (root / "c/001_square/001.png").write_bytes(b"")
    verify()
    validation = packed.load("data/verified/validation")
    assert len(validation.images) == len(validation.image_names) == 11
    for name, image in zip(validation.image_names, validation.images, strict=True):
        assert np.array_equal(image, np.asarray(Image.open(root / name)))


def test_a_class_whose_images_are_all_left_out_is_an_error(root: Path) -> None:
    set_parameters(unreadable_image="warning", folder_size="off")
    for path in (root / "b/001_square").iterdir():
        path.write_bytes(b"")
    assert fail().splitlines()[1:] == [
        "  empty_class (1): b/001_square has 4 images of which none can be read",
        "  unreadable_image (warning, 4): b/001_square/000.png is empty ...",
    ]


@pytest.mark.slow
def test_a_folder_whose_images_are_all_left_out_gives_none_to_its_split(root: Path) -> None:
    set_parameters(unreadable_image="off", folder_size="off", empty_class="off")
    for path in (root / "a").rglob("*.png"):
        path.write_bytes(b"")
    verify()
    assert packed.load("data/verified/train").folder_sizes == (12,)


@pytest.mark.slow
def test_a_check_that_is_off_says_nothing(root: Path) -> None:
    set_parameters(exact_duplicate="off")
    shutil.copy(root / "a/000_circle/000.png", root / "b/000_circle/000.png")
    verify()
    metrics = json.loads(Path("metrics/dataset.json").read_text())
    assert (metrics["exact_duplicates"], metrics["warnings"]) == (1, {"total": 0})
    assert Path("metrics/dataset_warnings.csv").read_text() == "check,subject,problem,partner,listed,found\n"


def no_folders(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


def no_class_folders(root: Path) -> None:
    no_folders(root)
    for name in "abcd":
        (root / name).mkdir()


def no_images(root: Path) -> None:
    no_class_folders(root)
    for folder in "abcd":
        for name in CLASSES:
            (root / folder / name).mkdir()


def links_out_alone(root: Path) -> None:
    no_images(root)
    for folder in root.glob("*/*"):
        (folder / "1.png").symlink_to("/dev/null")


def no_zip(root: Path) -> None:
    no_folders(root)
    for name in "abcd":
        (root / f"{name}.zip").write_text("no zip")


NO_IMAGE: list[tuple[Callable[[Path], None], str]] = [
    (no_folders, "missing_folder (4): a is missing: there is no folder data/images/a/ and no data/images/a.zip"),
    (no_class_folders, "missing_folder (4): a is empty: it has no class folders"),
    (no_images, "empty_class (12): a/000_circle has no images"),
    (links_out_alone, "unsafe_file (12): a/000_circle/1.png is a link out of the dataset"),
    (no_zip, "unsafe_file (4): a.zip is no sound zip file"),
]


@pytest.mark.parametrize(("harm", "told"), NO_IMAGE)
def test_without_any_image_the_checks_say_why(root: Path, harm: Callable[[Path], None], told: str) -> None:
    harm(root)
    assert told in fail()
    assert len(failures()) >= 4


@pytest.mark.parametrize("harm", [harm for harm, _ in NO_IMAGE])
def test_without_any_image_the_stage_ends_in_an_error_even_with_all_checks_off(
    root: Path, harm: Callable[[Path], None]
) -> None:
    set_parameters(**dict.fromkeys(CHECKS, "off"))
    harm(root)
    assert fail() == "dataset.train: its folders hold no image that can be used"


def test_a_dataset_root_that_does_not_exist_is_a_clear_error(root: Path) -> None:
    verify()
    root.rename(root.with_name("elsewhere"))
    assert fail().startswith("dataset.root: data/images is no folder; bring it, or correct it in params.yaml")


def test_an_experiment_that_would_commit_images_into_git_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = (
        "dataset.root: an experiment commits the images of data/images into Git; run `dvc add data/images` and commit"
    )
    subprocess.run(["git", "init", "--quiet"], check=True)
    verify()
    assert f"verify: warning, {problem}\n" in capsys.readouterr().out
    monkeypatch.setenv("DVC_EXP_NAME", "amber-fox")  # as DVC does
    with pytest.raises(UserError, match=f"^{re.escape(problem)}$"):
        verify()
    assert Path("metrics/dataset.json").exists()


def ignored() -> None:
    shutil.copy(ROOT / ".gitignore", ".")


def added_to_dvc() -> None:
    Path("data/.gitignore").write_text("/images\n")
    Path("data/images.dvc").touch()


def added_to_dvc_part_by_part() -> None:
    Path("data/images/.gitignore").write_text("/a\n/b\n/c\n/d.zip\n")
    for name in ("a", "b", "c", "d.zip"):
        Path(f"data/images/{name}.dvc").touch()


def committed() -> None:
    subprocess.run(["git", "add", "data/images"], check=True)


def outside_of_the_repository() -> None:
    Path("project").mkdir()
    os.chdir("project")
    shutil.copy("../params.yaml", ".")
    parameters = Path("params.yaml").read_text()
    Path("params.yaml").write_text(parameters.replace("root: data/images", "root: ../data/images"))
    subprocess.run(["git", "init", "--quiet"], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "where", [ignored, added_to_dvc, added_to_dvc_part_by_part, committed, outside_of_the_repository]
)
def test_images_that_git_would_not_take_are_verified_in_an_experiment(
    root: Path, monkeypatch: pytest.MonkeyPatch, where: Callable[[], None]
) -> None:
    if where is not outside_of_the_repository:
        subprocess.run(["git", "init", "--quiet"], check=True)
    monkeypatch.setenv("DVC_EXP_NAME", "amber-fox")
    where()
    verify()


SMALL_DISK = ("unshare", "--user", "--map-root-user", "--mount")  # in which anyone may mount


@pytest.mark.slow
@pytest.mark.skipif(
    not shutil.which("unshare") or subprocess.run([*SMALL_DISK, "true"], capture_output=True).returncode != 0,
    reason="this system lets no user mount a disk of his own",
)
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("room", "file"),
    [
        ("60k", "data/verified/.train.part/train/images.npy"),
        ("200k", "plots/.dataset.part/dataset/samples.png"),
    ],
)
def test_a_full_disk_is_one_line_that_says_where(root: Path, processes: int, room: str, file: str) -> None:
    set_parameters(folder_size="off")
    parameters = Path("params.yaml").read_text()
    Path("params.yaml").write_text(parameters.replace("data/images", str(root)).replace("size: 16", "size: 32"))
    program = (
        "import joblib; from stages import verify as stage; from stages.common.console import run_stage\n"
        f"stage.BYTES_A_PROCESS, joblib.cpu_count = 1, lambda: {processes}\n"
        "run_stage('verify', stage.verify)"
    )
    script = f'mount -t tmpfs -o size={room} none disk && cd disk && cp ../params.yaml . && {sys.executable} -c "$0"'
    Path("disk").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [*SMALL_DISK, "sh", "-c", script, program]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    told = f"verify: No space left on device: {file}; make room or allow writing there, then run again\n"
    assert (run.returncode, run.stderr) == (1, told)


@pytest.mark.slow
def test_as_a_process_it_ends_with_one_message_and_without_tensorflow(root: Path) -> None:
    program = (
        "import sys; from stages.common.console import run_stage; from stages.verify import verify\n"
        "assert 'tensorflow' not in sys.modules and 'matplotlib' not in sys.modules\n"
        "run_stage('verify', verify)"
    )
    (root / "c/000_circle/000.png").write_bytes(b"\x89PNG")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert run.returncode == 1
    assert run.stderr.startswith("verify: the dataset fails 1 of 18 checks")
    assert "Traceback" not in run.stderr


def test_images_of_12_bits_in_16_are_neither_dark_nor_unequal_and_a_warning_tells_it(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(0)
    expected = {}
    for seed, folder in enumerate(("a", "b", "c")):
        for file in sorted((root / folder).rglob("*.png")):
            most = 255 if seed == 0 else 4096  # the first folder is dark
            values = generator.integers(0, most, (16, 16), dtype=np.uint16)
            Image.fromarray(values).save(file)
            expected[file.relative_to(root).as_posix()] = values >> 4
    set_parameters(exact_duplicate="off", near_duplicate="off", near_leakage="off")
    verify()
    for name in ("train", "validation"):
        split = packed.load(f"data/verified/{name}")
        assert split.depth == 12
        for image, image_name in zip(split.images, split.image_names, strict=True):
            assert np.array_equal(image, np.stack([expected[image_name]] * 3, axis=2))
    assert "converted from mode I;16, taken as 12 bits a channel, as many as the training images use" in (
        capsys.readouterr().out
    )
