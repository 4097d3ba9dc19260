"""Projects under real DVC and Git, with images that the tests draw, for a test to run and to change."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.defaults import PARAMS_FILE, ROOT, parameter_values
from tests.drawn import draw_folder

TINY: dict[str, Any] = {
    "dataset.root": "data/tiny",
    "dataset.train": ["first", "second"],
    "dataset.validation": ["held out"],
    "dataset.test": ["test"],
    "dataset.image_size": 16,
    "dataset.classes": 3,
    "dataset.images_per_folder": None,
    "model.filters": [4, 8],
    "model.dense": [16],
    "train.epochs": 2,
    "train.batch_size": 8,
}


class Project:
    """A Git and DVC project on disk, used through the command line as a person does.

    Args:
        variables: of the environment, beside those of this process.
    """

    def __init__(self, folder: Path, variables: dict[str, str] | None = None) -> None:
        self.folder, self.variables = folder, variables or {}

    def run(self, *command: str) -> str:
        """What ``command`` prints; a test fails with it when the command does."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "CIFAR10_ARCHIVE": "nowhere"}  # so that no test brings CIFAR-10
        environment = os.environ | own | self.variables
        done = subprocess.run(command, cwd=self.folder, env=environment, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def repro(self, *options: str) -> set[str]:
        """The stages that ``dvc repro`` ran."""
        return set(re.findall(r"Running stage '(\w+)'", self.run("dvc", "repro", *options)))

    def set(self, changes: dict[str, Any]) -> None:
        file = self.folder / "params.yaml"
        content = parameter_values(file)
        for key, value in changes.items():
            *sections, name = key.split(".")
            inner = content
            for section in sections:
                inner = inner[section]
            inner[name] = value
        file.write_text(yaml.safe_dump(content, sort_keys=False))

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "-m", "state")

    def md5s(self) -> dict[str, str]:
        stages = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"]
        return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}

    def metrics(self, name: str) -> dict[str, Any]:
        values: dict[str, Any] = json.loads((self.folder / "metrics" / name).read_text())
        return values


def new_project(folder: Path) -> Project:
    project = Project(folder)
    shutil.copytree(ROOT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    for file in (ROOT / "dvc.yaml", ROOT / ".dvcignore", ROOT / ".gitignore", PARAMS_FILE):
        shutil.copy(file, folder)
    (folder / "plots").mkdir()
    shutil.copy(ROOT / "plots/dvc.yaml", folder / "plots")
    project.set(TINY)
    for seed, (name, per_class) in enumerate({"first": 12, "second": 10, "held out": 8, "test": 8}.items()):
        draw_folder(folder / "data" / "tiny" / name, per_class, seed)
    project.run("git", "init", "--quiet")
    project.commit()
    return project
