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
from stages.cifar10.contents import CLASSES
from stages.common.console import UserError
from stages.fetch import write_zips
from tests.defaults import PARAMS_FILE, ROOT
from tests.tiny_cifar10 import BATCHES, CONTENTS, NAMES, known, npm_tarball, official_tarball


def write_parameters(folder: Path, root: str) -> None:
    """``params.yaml`` in ``folder`` with this ``dataset.root``."""
    (folder / "params.yaml").write_text(PARAMS_FILE.read_text().replace("root: data/cifar10 ", f"root: {root} "))


def run_fetch(folder: Path, root: str) -> subprocess.CompletedProcess[str]:
    """The stage as a process of its own in ``folder``, with this ``dataset.root`` and a missing archive."""
    write_parameters(folder, root)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CIFAR10_ARCHIVE": "missing.tar.gz"}
    command = [sys.executable, "-m", "stages.fetch"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


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


@pytest.mark.parametrize("what", ["images", "labels"])
def test_wrong_pixels_or_labels_are_an_error_and_leave_no_folder(tmp_path: Path, what: str) -> None:
    wrong = getattr(BATCHES["train2"], what).copy()
    wrong.ravel()[-1] ^= 1
    archive = official_tarball(tmp_path, {**BATCHES, "train2": replace(BATCHES["train2"], **{what: wrong})})
    with pytest.raises(UserError, match="the images or labels of train2 are not those of CIFAR-10"):
        write(archive, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [archive]


def test_a_failure_leaves_the_earlier_zips_alone(tmp_path: Path) -> None:
    write(npm_tarball(tmp_path), tmp_path / "out")
    before = (tmp_path / "out/test.zip").read_bytes()
    with pytest.raises(UserError):
        write_zips(tmp_path / "other.tgz", [], CONTENTS, tmp_path / "out")
    assert (tmp_path / "out/test.zip").read_bytes() == before


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("root", "hint"),
    [("data/mine", ""), ("data/mien", ", which is not there; bring it, or correct it in params.yaml")],
)
def test_images_of_ones_own_need_no_cifar_10(tmp_path: Path, root: str, hint: str) -> None:
    (tmp_path / "data/mine").mkdir(parents=True)
    (tmp_path / "data/cifar10").mkdir()
    (tmp_path / "data/cifar10/test.zip").touch()
    done = run_fetch(tmp_path, root)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"CIFAR-10 is not needed: dataset.root is {root}{hint}\n"
    # DVC wants its output to exist, and warns of an empty folder.
    assert [path.name for path in (tmp_path / "data/cifar10").iterdir()] == ["not_fetched.txt"]


@pytest.mark.parametrize("root", ["data/cifar10/", "./data/cifar10", "data/../data/cifar10", "{here}/data/cifar10"])
def test_the_folder_of_cifar_10_is_known_in_every_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIFAR10_ARCHIVE", "missing.tar.gz")
    write_parameters(tmp_path, root.format(here=tmp_path))
    with pytest.raises(UserError, match=r"missing\.tar\.gz is not a file"):
        fetch_stage.fetch()


@pytest.mark.slow
def test_the_stage_loads_neither_tensorflow_nor_scikit_learn_nor_matplotlib() -> None:
    code = "import sys, stages.fetch; print({'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
