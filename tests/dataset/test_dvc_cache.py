"""A dataset that DVC tracks is the same dataset in whatever way DVC puts its files in place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.common.console import UserError
from stages.dataset.dvc_cache import cache_of
from stages.dataset.image_folders import list_images
from tests.defaults import ROOT
from tests.folders import FILES, contents, reasons, write_folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of DVC in the current folder, with images in ``data/mine/images/``, and no settings of the user's."""
    for level in ("GLOBAL", "SYSTEM"):
        monkeypatch.setenv(f"DVC_{level}_CONFIG_DIR", str(tmp_path / level))
    (tmp_path / "project/.dvc/tmp").mkdir(parents=True)
    (tmp_path / "project/.dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    monkeypatch.chdir(tmp_path / "project")
    write_folder(Path("data/mine"), FILES)
    return tmp_path / "project"


def dvc(*command: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *command], check=True, capture_output=True)


def kept(cache: Path, name: str = "files/md5/ab/cdef") -> Path:
    """An image in DVC's cache, and a link to it among the images."""
    file = cache / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"kept")
    Path("data/mine/images/a cat/kept.png").symlink_to(file.absolute())
    return file


@pytest.mark.slow
def test_a_tracked_folder_holds_the_same_images_however_dvc_links_them(project: Path) -> None:
    settings = Path(".dvc/config").read_text()
    for command, kind in ("add", "symlink"), ("checkout --relink", "hardlink"), ("checkout --relink", "copy"):
        Path(".dvc/config").write_text(f"{settings}[cache]\n    dir = ../../common cache\n    type = {kind}\n")
        dvc(*command.split(), "data/mine")
        assert Path("data/mine/images/a cat/1.png").is_symlink() == (kind == "symlink")
        folder = list_images(Path("data/mine"), "images")
        assert contents(folder) == FILES
        assert not folder.refused


@pytest.mark.slow
def test_a_class_folder_that_is_tracked_alone_is_the_dataset_too(project: Path) -> None:
    with Path(".dvc/config").open("a") as settings:
        settings.write("[cache]\n    type = symlink\n")
    dvc("add", "data/mine/images/a cat")
    assert Path("data/mine/images/a cat.dvc").exists()
    assert Path("data/mine/images/a cat/1.png").is_symlink()
    folder = list_images(Path("data/mine"), "images")
    assert contents(folder) == FILES
    assert not folder.refused


@pytest.mark.parametrize("level", [".dvc/config", ".dvc/config.local", "../GLOBAL/config", "../SYSTEM/config"])
@pytest.mark.parametrize("given", ["absolute", "relative", "home"])
def test_the_cache_is_where_any_of_dvcs_settings_says(
    project: Path, monkeypatch: pytest.MonkeyPatch, level: str, given: str
) -> None:
    monkeypatch.setenv("HOME", str(project.parent))
    cache = project.parent / "shared"
    config = Path(level)
    config.parent.mkdir(exist_ok=True)
    path = {"absolute": cache, "relative": os.path.relpath(cache, config.parent), "home": "~/shared"}[given]
    config.write_text(f"[cache]\n    dir = {path}\n")
    kept(cache)
    assert contents(list_images(Path("data/mine"), "images")) == {**FILES, "a cat/kept.png": b"kept"}


def test_a_cache_that_is_itself_a_link_is_the_cache(project: Path) -> None:
    (project.parent / "disk").mkdir()
    Path(".dvc/cache").symlink_to(project.parent / "disk")
    kept(Path(".dvc/cache"))
    assert not list_images(Path("data/mine"), "images").refused


def test_a_root_that_is_a_link_into_another_project_has_that_ones_cache(project: Path) -> None:
    registry = project.parent / "registry"
    (registry / ".dvc").mkdir(parents=True)
    kept(registry / ".dvc/cache")
    Path("data/mine").rename(registry / "mine")
    Path("data/mine").symlink_to(registry / "mine")
    for root in ("data/mine", "../registry/mine"):
        assert contents(list_images(Path(root), "images"))["a cat/kept.png"] == b"kept"


def test_a_root_that_is_a_link_to_another_disk_has_this_projects_cache(project: Path) -> None:
    kept(Path(".dvc/cache"))
    Path("data").rename(project.parent / "disk")
    Path("data").symlink_to(project.parent / "disk")
    assert contents(list_images(Path("data/mine"), "images"))["a cat/kept.png"] == b"kept"


def test_what_dvcs_cache_no_longer_holds_is_refused_with_the_command_that_mends_it(project: Path) -> None:
    kept(Path(".dvc/cache")).unlink()
    assert reasons(list_images(Path("data/mine"), "images")) == {
        "images/a cat/kept.png": "is a link to nothing; `dvc checkout` mends it if DVC made it"
    }


def test_other_links_are_still_links_out_of_the_dataset(project: Path) -> None:
    kept(project.parent / "elsewhere")
    Path("data/mine/images/a dog").symlink_to(kept_folder := project / ".dvc/cache")
    kept_folder.mkdir()
    assert reasons(list_images(Path("data/mine"), "images")) == {
        "images/a cat/kept.png": "is a link out of the dataset",
        "images/a dog": "is a link out of the dataset",
    }


def test_outside_of_dvcs_projects_there_is_no_cache(project: Path) -> None:
    shutil.rmtree(".dvc")
    assert cache_of(Path("data/mine")) is None


def test_settings_that_dvc_cannot_read_are_a_user_error(project: Path) -> None:
    kept(project.parent / "shared")
    Path(".dvc/config").write_text("[cache\n")
    with pytest.raises(
        UserError, match=r"\.dvc: config file error: .*`dvc config --list --show-origin` names the files"
    ):
        list_images(Path("data/mine"), "images")


def test_dvc_is_not_loaded_for_a_dataset_without_links_out_of_it(project: Path) -> None:
    Path("data/mine/images/a cat/same.png").symlink_to("1.png")
    program = (
        "import sys; from pathlib import Path; from stages.dataset.image_folders import list_images\n"
        "folder = list_images(Path('data/mine'), 'images')\n"
        "assert len(folder.members) == 4 and 'dvc' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
