"""The model's file: equal models in equal bytes, and nothing else is opened."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from stages.common.console import UserError
from stages.model import class_names, members, network
from stages.model.backend import keras
from stages.model.prediction import predict_probabilities
from stages.model.saved import load_model, save_model
from stages.splits.packed import Resize
from tests.defaults import SETTINGS

CLASSES = [f'{index} "Käse" & 犬' for index in range(10)]

SAVE = """
import sys
from stages.model import network
from stages.model.backend import keras
from stages.model.saved import save_model
from tests.defaults import SETTINGS
keras.utils.set_random_seed(1)
save_model(sys.argv[1], network.build(SETTINGS.model, image_size=32, classes=10), "abcdefghij")
"""


@pytest.mark.slow
def test_two_processes_write_equal_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "first.keras", tmp_path / "second.keras"]
    for path in paths:
        subprocess.run([sys.executable, "-c", SAVE, path], check=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["first.keras", "second.keras"]


@pytest.mark.slow
def test_a_saved_model_opens_in_keras_and_predicts_the_same(tmp_path: Path) -> None:
    model = network.build(SETTINGS.model, image_size=32, classes=10)
    save_model(tmp_path / "model.keras", model, CLASSES)
    images = np.random.default_rng(0).integers(0, 256, (1200, 32, 32, 3)).astype(np.uint8)
    expected = model.predict(images.astype(np.float32), verbose=0)
    np.testing.assert_allclose(predict_probabilities(load_model(tmp_path / "model.keras"), images), expected, atol=1e-6)
    opened = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(opened.predict(images.astype(np.float32), verbose=0), expected, atol=1e-6)


def test_a_missing_model_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.keras not found; run `dvc repro train`"):
        load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("content", [b"", b"no model", b"PK\x03\x04 cut off"])
def test_a_damaged_model_is_a_user_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(UserError, match="can't be opened as this pipeline's model"):
        load_model(tmp_path / "model.keras")


def test_a_model_in_a_damaged_zip_is_a_user_error(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    save_model(path, network.build(SETTINGS.model.model_copy(update={"filters": (4,), "dense": ()}), 8, 2), "ab")
    content = path.read_bytes()
    path.write_bytes(content[:29] + b"\xff" + content[30:])  # the first member would begin behind the end of the file
    with pytest.raises(UserError, match=r"can't be opened as this pipeline's model \(EOFError\)"):
        load_model(path)


def test_a_model_with_a_lambda_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs)).save(tmp_path / "model.keras")
    with pytest.raises(UserError, match="can't be opened as this pipeline's model") as caught:
        load_model(tmp_path / "model.keras")
    assert "\n" not in str(caught.value)


def test_the_names_of_the_classes_come_back_from_the_models_file(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    save_model(path, network.build(SETTINGS.model, image_size=32, classes=10), CLASSES)
    assert members.read_classes(path) == tuple(CLASSES)


def test_the_depth_of_the_training_images_comes_back_from_the_models_file(tmp_path: Path) -> None:
    path, model = tmp_path / "model.keras", network.build(SETTINGS.model, image_size=32, classes=2)
    for depth in (16, 12):
        save_model(path, model, ["cat", "dog"], depth)
        assert members.read_depth(path) == depth


def test_how_images_became_square_comes_back_from_the_models_file_which_has_no_word_of_squash(tmp_path: Path) -> None:
    path, model = tmp_path / "model.keras", network.build(SETTINGS.model, image_size=32, classes=2)
    for resize in get_args(Resize):
        save_model(path, model, ["cat", "dog"], resize=resize)
        assert members.read_resize(path) == resize
        assert (members.RESIZE in zipfile.ZipFile(path).namelist()) == (resize != "squash")


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        ('"fit"', "resize.json is none of squash, crop, pad"),
        ('["pad"]', "resize.json is none of squash, crop, pad"),
        ("null", "resize.json is none of squash, crop, pad"),
        ('"pad"      ', "resize.json has more than 10 bytes"),
    ],
)
def test_a_model_with_another_way_to_become_square_is_refused_in_one_line(
    tmp_path: Path, member: str, problem: str
) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(members.RESIZE, member)
    with pytest.raises(UserError) as caught:
        members.read_resize(path)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        (None, "does not say how deep its images were; run `dvc repro train`"),
        ("7", "depth.json is no number from 8 to 16"),
        ('"12"', "depth.json is no number from 8 to 16"),
        ("12" + " " * 99, "depth.json has more than 10 bytes"),
    ],
)
def test_a_model_without_a_depth_is_refused_in_one_line(tmp_path: Path, member: str | None, problem: str) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        if member is not None:
            archive.writestr(members.DEPTH, member)
    with pytest.raises(UserError) as caught:
        members.read_depth(path)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_name_of_a_class_gives_another_file(tmp_path: Path) -> None:
    model = network.build(SETTINGS.model, image_size=32, classes=2)
    for name in ("dog", "zebra"):
        save_model(tmp_path / name, model, ["cat", name])
    assert (tmp_path / "dog").read_bytes() != (tmp_path / "zebra").read_bytes()


def test_a_model_is_not_saved_without_a_name_for_each_output(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 names for 2 outputs"):
        save_model(tmp_path / "model.keras", network.build(SETTINGS.model, image_size=32, classes=2), ["cat"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        (None, "does not name its classes, as models written by `train` do; run `dvc repro train`"),
        ('["cat", "dog", "frog"]', "has 2 outputs and names 3 classes; run `dvc repro train`"),
        ('["cat", "cat"]', "can't be opened as this pipeline's model (classes.json has a name twice)"),
        ('{"cat": 0, "dog": 1}', "can't be opened as this pipeline's model (classes.json is no list of names)"),
        ("[0, 1]", "can't be opened as this pipeline's model (classes.json is no list of names)"),
        ("cat\ndog", "can't be opened as this pipeline's model ("),
        (json.dumps(["cat", "d" * members.MOST_BYTES[members.CLASSES]]), "classes.json has more than 10,000,000 bytes"),
    ],
)
def test_a_model_that_does_not_name_each_of_its_classes_is_refused_in_one_line(
    tmp_path: Path, member: str | None, problem: str
) -> None:
    path = tmp_path / "model.keras"
    network.build(SETTINGS.model, image_size=32, classes=2).save(path)  # as Keras saves it
    if member is not None:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(members.CLASSES, member)
    with pytest.raises(UserError) as caught:
        load_model(path)
    assert str(caught.value).startswith(f"{path} ")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no model", b"PK\x03\x04 cut off"])
def test_no_names_are_read_from_a_damaged_model(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(UserError, match="can't be opened as this pipeline's model"):
        members.read_classes(tmp_path / "model.keras")
    with pytest.raises(UserError, match="can't be opened as this pipeline's model"):
        members.read_classes(tmp_path)


@pytest.mark.parametrize(
    ("model_classes", "split_classes", "problem"),
    [
        (("cat", "dog"), ("cat", "zebra"), "the model's classes are not the split's: dog in place of zebra; train"),
        (("cat", "dog"), ("dog", "cat"), "not the split's: cat, dog in place of dog, cat; train"),
        (("cat", "dog"), ("cat", "Dog"), "not the split's: dog in place of Dog; train"),
        (("cat", "dog"), ("cat",), "the model has 2 classes, the split 1; train it on these"),
        (tuple("abcdefg"), tuple("hijklmn"), "a, b, c, d, e ... in place of h, i, j, k, l ...; train"),
    ],
)
def test_a_model_of_other_classes_than_the_splits_is_refused(
    model_classes: tuple[str, ...], split_classes: tuple[str, ...], problem: str
) -> None:
    class_names.refuse_others(model_classes, model_classes)
    with pytest.raises(UserError) as caught:
        class_names.refuse_others(model_classes, split_classes)
    assert problem in str(caught.value)
