"""The model put to use: images from wherever they lie, their classes as a table or as JSON."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from stages import predict as module
from stages.common.console import UserError
from stages.common.files import write_json
from stages.dataset.image_bytes import MAX_IMAGE_BYTES
from stages.dataset.image_folders import list_images
from stages.dataset.loose_images import find_images
from stages.model import members
from stages.model.backend import keras
from stages.model.network import build
from stages.model.prediction import predict_probabilities
from stages.model.saved import load_model, save_model
from stages.predict import predict, ranked_classes
from stages.splits import packed
from stages.splits.packed import Resize
from stages.train import train
from stages.verify import verify
from tests.defaults import PARAMS_FILE, ROOT, SETTINGS
from tests.drawn import CLASSES, draw_folder, make_split
from tests.folders import LITTER, NOTES, decoded_into, write_folder, write_zip, zip_of_names
from tests.images import (
    EXIF,
    JPEG,
    XMP,
    chunk,
    encoded,
    gradient,
    itxt,
    jpeg_with,
    noise,
    png_of_16_bits,
    png_with,
)
from tests.projects import TINY, Project

PER_CLASS = 5
ODD_IMAGES = [
    png_of_16_bits(gradient(12)),
    png_of_16_bits(np.stack([gradient(10)] * 3, axis=2)),
    png_with(itxt(XMP)),
    png_with(chunk(b"tEXt", b"Comment\0abc", checksum=0)),
    png_with(chunk(b"iCCP", b"large\0\0" + zlib.compress(bytes(5_000_000)))),
    jpeg_with((0xE1, EXIF)),
    JPEG[:-2],
    encoded(Image.fromarray(noise(8, 8, 3)), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))]),
]
NAMES = [f"{label}/{number:03d}.png" for label in CLASSES for number in range(PER_CLASS)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the model pulled, and images: an untrained model will do here."""
    folder = tmp_path_factory.mktemp("prepared")
    settings = SETTINGS.model
    keras.utils.set_random_seed(1)
    save_model(
        folder / "models/model.keras", build(settings.model_copy(update={"filters": (8, 8)}), 16, len(CLASSES)), CLASSES
    )
    draw_folder(folder / "images", PER_CLASS, seed=1)
    with zipfile.ZipFile(folder / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in NAMES:
            archive.write(folder / "images" / name, name)
    return folder


@pytest.fixture
def clone(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of ``prepared`` as the current folder."""
    shutil.copytree(prepared, tmp_path / "clone")
    monkeypatch.chdir(tmp_path / "clone")
    return Path()


def predicted(capsys: pytest.CaptureFixture[str], *places: str) -> list[dict[str, Any]]:
    assert predict(["--json", *places])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_table_has_the_best_three_classes_of_each_image_in_columns(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(["images/000_circle/000.png", "images/001_square"])
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["best", "second", "third", "image"]
    assert [row.split()[-1] for row in rows] == [
        "images/000_circle/000.png",
        *(f"images/001_square/{number:03d}.png" for number in range(PER_CLASS)),
    ]
    for row in rows:
        *cells, name = row.split()
        assert sorted(cells[::2]) == sorted(CLASSES)
        assert sum(float(cell.rstrip("%")) for cell in cells[1::2]) == pytest.approx(100, abs=0.03)
        assert row.index(name) == heading.index("image")
        assert row.index(cells[2]) == heading.index("second")


def test_json_has_an_image_a_line_with_its_classes_the_most_probable_first(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = predicted(capsys, "images")
    assert [result["image"] for result in results] == [f"images/{name}" for name in NAMES]
    for result in results:
        probabilities = [each["probability"] for each in result["classes"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_a_zip_a_folder_and_standard_input_give_the_same(
    clone: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_folder, in_zip = predicted(capsys, "images"), predicted(capsys, "images.zip")
    assert [result["classes"] for result in in_zip] == [result["classes"] for result in in_folder]
    assert [result["image"] for result in in_zip] == [f"images.zip/{name}" for name in NAMES]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path("images", NAMES[0]).read_bytes())))
    assert predicted(capsys, "-") == [{"image": "-", "classes": in_folder[0]["classes"]}]


def test_the_classes_are_those_that_the_evaluation_predicts(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = make_split(clone / "split", (12,), seed=3)
    Path("flat").mkdir()
    for row, pixels in enumerate(split.images):
        Image.fromarray(pixels).save(f"flat/{row:02d}.png")
    probabilities = predict_probabilities(load_model("models/model.keras"), split.images)
    best = [result["classes"][0] for result in predicted(capsys, "flat")]
    assert [each["class"] for each in best] == [CLASSES[label] for label in probabilities.argmax(axis=1)]
    np.testing.assert_allclose([each["probability"] for each in best], probabilities.max(axis=1), atol=2e-6)


@pytest.mark.slow
def test_images_beyond_one_batch_are_all_predicted(
    clone: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predicted(capsys, "images")
    monkeypatch.setattr(packed, "BYTES_AT_ONCE", 4 * 16 * 16 * 3)
    Path("broken.png").write_bytes(b"no image")
    batches = list(module.batches(find_images(["broken.png", "images"]), 16))
    assert [(len(batch.image_names), len(batch.errors)) for batch in batches] == [(3, 1), (4, 0), (4, 0), (4, 0)]
    in_parts = predicted(capsys, "images")
    assert in_parts == whole  # to the last digit


@pytest.mark.slow
def test_a_photograph_is_resized_and_converted_as_verify_does_it(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = Image.fromarray(np.linspace(0, 255, 64 * 48).reshape(48, 64).astype(np.uint8))
    grey.save("photo.jpg")
    grey = Image.open("photo.jpg")
    grey.resize((16, 16), Image.Resampling.BILINEAR).convert("RGB").save("small.png")
    photo, small = predicted(capsys, "photo.jpg", "small.png")
    assert photo["classes"] == small["classes"]


@pytest.mark.slow
def test_an_image_of_16_bits_is_taken_as_of_the_bits_that_the_model_was_trained_with(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model("models/model.keras", load_model("models/model.keras"), CLASSES, depth=12)
    values = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(values).save("deep.png")
    Image.fromarray((values >> 4).astype(np.uint8)).save("shallow.png")
    deep, shallow = predicted(capsys, "deep.png", "shallow.png")
    assert deep["classes"] == shallow["classes"]


def test_odd_images_have_the_pixels_that_verify_gives_them(tmp_path: Path) -> None:
    folder = tmp_path / "odd/class"
    folder.mkdir(parents=True)
    for index, data in enumerate(ODD_IMAGES):
        (folder / f"{index:02d}").write_bytes(data)
    records = decoded_into(tmp_path / "split", list_images(tmp_path, "odd"), 16)
    batches = list(module.batches(find_images([str(folder)]), 16, records.depth))
    assert not records.errors
    assert records.depth == 12
    assert np.array_equal(np.concatenate([batch.pixels for batch in batches]), packed.open_images(tmp_path / "split"))


@pytest.mark.slow
@pytest.mark.parametrize("resize", get_args(Resize))
def test_a_trained_model_gives_a_photograph_the_probabilities_that_train_gave_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], resize: Resize
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(PARAMS_FILE, tmp_path)
    Project(tmp_path).set(TINY | {"dataset.resize": resize, "train.epochs": 1})
    for seed, name in enumerate(("first", "second", "held out", "test")):
        draw_folder(tmp_path / "data/tiny" / name, 4, seed, size=40)
        for image in (tmp_path / "data/tiny" / name).rglob("*.png"):
            Image.open(image).crop((9, 0, 32, 40)).save(image)
    verify()
    train()
    capsys.readouterr()
    results = predicted(capsys, "data/tiny/held out")
    expected = np.load("models/validation_probabilities.npy")
    for result, row in zip(results, expected, strict=True):
        given = {each["class"]: each["probability"] for each in result["classes"]}
        np.testing.assert_allclose([given[name] for name in CLASSES], row, atol=1e-6)
    assert packed.load("data/verified/train").resize == members.read_resize("models/model.keras") == resize


@pytest.mark.slow
def test_unreadable_files_are_reported_and_the_rest_goes_on(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("images/000_circle/broken.png").write_bytes(b"no image")
    Path("images/000_circle/\x1b[2J.png").write_bytes(b"")
    os.mkfifo("images/pipe.png")
    os.mkfifo("pipe.zip")
    Path("loop").symlink_to(".")
    Path("images/again").symlink_to("..")
    Path("empty").mkdir()
    Path("bad.zip").write_bytes(b"no zip")
    with open("huge.png", "wb") as huge:
        huge.truncate(MAX_IMAGE_BYTES + 1)
    assert not predict(["--json", "missing.png", "missing.zip", "empty", "bad.zip", "pipe.zip", "huge.png", "images"])
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == len(NAMES)
    assert output.err.splitlines() == [
        "missing.png: can't be opened: No such file or directory",
        "missing.zip: can't be opened: No such file or directory",
        "empty: holds no images",
        "bad.zip: is no sound zip file: File is not a zip file",
        "pipe.zip: is no regular file",
        "huge.png: has more than 67,108,864 bytes",
        "images/again: is a link to a folder; give that folder itself",
        "images/pipe.png: is no regular file",
        "images/000_circle/\ufffd[2J.png: is empty",
        "images/000_circle/broken.png: is no PNG, JPEG, WEBP, GIF or BMP image",
    ]


def test_litter_and_notes_are_passed_over_as_verify_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate((*LITTER, *NOTES)):
        write_folder(Path(str(number)), {name: b"", "cat/1.png": b"", f"cat/{name}": b""})
        write_zip(Path(str(number)), {name: b"", "./cat/1.png": b"", f"./cat/{name}": b""})
        places = [f"{number}/images", f"{number}/images.zip"]
        assert [image.name for image in find_images(places)] == [
            f"{number}/images/cat/1.png",
            f"{number}/images.zip/./cat/1.png",
        ]


def test_names_in_a_zip_are_shown_as_their_maker_saw_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    zip_of_names(Path("of zip.zip"), ["Käse/1.png".encode()])
    zip_of_names(Path("of Windows.zip"), ["Käse\\1.png".encode("cp437")])
    images = list(find_images(["of zip.zip", "of Windows.zip"]))
    assert [image.name for image in images] == ["of zip.zip/Käse/1.png", "of Windows.zip/Käse/1.png"]


@pytest.mark.slow
def test_a_zip_is_read_without_unpacking_and_its_hostile_members_are_refused(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = Path("images", NAMES[0]).read_bytes()
    with zipfile.ZipFile("hostile.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../climbs.png", image)
        archive.writestr("bomb.png", bytes(MAX_IMAGE_BYTES + 1))
        archive.writestr("lzma.png", image, zipfile.ZIP_LZMA)
    before = sorted(Path("..").rglob("*"))
    assert not predict(["--json", "hostile.zip"])
    output = capsys.readouterr()
    assert [json.loads(line)["image"] for line in output.out.splitlines()] == ["hostile.zip/../climbs.png"]
    assert output.err.splitlines() == [
        "hostile.zip/bomb.png: has 67,108,865 bytes; an image may have 67,108,864 at most",
        "hostile.zip/lzma.png: is compressed by another method than deflate",
    ]
    assert sorted(Path("..").rglob("*")) == before


def test_of_equal_probabilities_the_first_class_is_best() -> None:
    ranked = ranked_classes(np.array([[0.2, 0.3, 0.2, 0.3]], np.float32), ["a", "b", "c", "d"])
    assert [name for name, _ in ranked[0]] == ["b", "d", "a", "c"]


def test_a_row_has_the_best_three_classes_and_a_line_of_json_has_all() -> None:
    ranked = [("a", 0.4), ("b", 0.3), ("c", 0.2), ("d", 0.1)]
    assert module._as_row("abcd")("cat.png", ranked).split() == ["a", "40.00%", "b", "30.00%", "c", "20.00%", "cat.png"]
    assert [each["class"] for each in json.loads(module._as_json("cat.png", ranked))["classes"]] == list("abcd")


def test_no_probability_is_rounded_up_to_certainty_or_down_to_nothing() -> None:
    best = [("a", 1 - 2**-24), ("b", 1e-9), ("c", 0.0)]
    row = module._as_row("abc")("cat.png", best)
    assert row.split() == ["a", ">99.99%", "b", "<0.01%", "c", "0.00%", "cat.png"]
    assert row.index("cat.png") == module._heading("abc").index("image")
    ranked = json.loads(module._as_json("cat.png", best))["classes"]
    assert [each["probability"] for each in ranked] == [1 - 2**-24, 1e-9, 0]


def test_two_classes_have_no_third(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = SETTINGS.model
    save_model("models/model.keras", build(settings.model_copy(update={"filters": (8,)}), 16, 2), ["cat", "dog"])
    assert predict([f"images/{NAMES[0]}"])
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["best", "second", "image"]
    assert len(row.split()) == 5


def test_a_missing_model_says_what_to_run(clone: Path) -> None:
    Path("models/model.keras").unlink()
    with pytest.raises(UserError, match=r"models/model\.keras not found; run `dvc repro train`"):
        predict(["images"])


def test_the_classes_are_those_of_the_model_whatever_metrics_of_another_training_say(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json("metrics/test_classes.json", {"horse": {}, "wolf": {}, "zebra": {}})
    named = {each["class"] for result in predicted(capsys, "images") for each in result["classes"]}
    assert named == set(CLASSES)


def test_a_model_that_does_not_name_its_classes_is_refused(clone: Path) -> None:
    settings = SETTINGS.model
    write_json("metrics/test_classes.json", {name: {} for name in CLASSES})
    build(settings.model_copy(update={"filters": (8,)}), 16, len(CLASSES)).save("models/model.keras")
    with pytest.raises(UserError, match=r"models/model\.keras does not name its classes, .*; run `dvc repro train`$"):
        predict(["images"])


def run(command: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``command`` in a shell, modules being looked for in ``path`` first."""
    environment = os.environ | {"PYTHONPATH": f"{path}:{ROOT}", "PYTHON": sys.executable}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # set in this process; TensorFlow's notes would come with it
    return subprocess.run(["bash", "-o", "pipefail", "-c", command], env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_exit_code_is_1_if_an_image_was_unreadable(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["predict", "images"])
    module.main()
    monkeypatch.setattr("sys.argv", ["predict", "missing.png", "images"])
    with pytest.raises(SystemExit, match="1"):
        module.main()


@pytest.mark.slow
def test_a_reader_of_the_output_may_leave(clone: Path) -> None:
    result = run("$PYTHON -m stages.predict images | true")
    assert (result.returncode, result.stderr) == (1, "")


def test_arguments_are_checked_without_tensorflow(clone: Path) -> None:
    Path("fake").mkdir()
    Path("fake/tensorflow.py").write_text("raise SystemExit('TensorFlow was imported')")
    result = run("$PYTHON -m stages.predict", path="fake")
    assert result.returncode == 2
    assert "the following arguments are required: IMAGE" in result.stderr
