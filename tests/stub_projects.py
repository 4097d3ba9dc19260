"""Projects whose pipeline takes no time: real Git, real DVC, and stages that write what the parameters say.

What makes and collects runs is tested with them; what a run computes is not its subject.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.defaults import PARAMS_FILE, ROOT

PIPELINE = """
import json, math, os, sys, time
from pathlib import Path
from ruamel.yaml import YAML

stage = sys.argv[1]
settings = YAML(typ="safe", pure=True).load(Path("params.yaml").read_text())
seed, epochs = settings["seed"], settings["train"]["epochs"]
with open(os.environ["STUB_LOG"], "a") as log:
    log.write(f"{stage} {seed} {epochs}\\n")
for folder in ("data", "metrics", "models"):
    Path(folder).mkdir(exist_ok=True)
if stage == "verify":
    if settings["dataset"]["division"]["seed"] == 13:
        sys.exit("a split would be empty")
    Path("data/verified").write_text(json.dumps(settings["dataset"]["validation"]))
    Path("metrics/dataset.json").write_text(json.dumps({"images": 6}))
elif stage == "validate":
    distance = abs(math.log10(settings["train"]["learning_rate"]) + 2)
    Path("metrics/validation.json").write_text(json.dumps({"accuracy": 1 - distance / 4 + 0.001 * seed}))
else:
    print(f"in stage test with seed {seed}")
    if epochs == 13:
        sys.exit("thirteen brings bad luck")
    time.sleep(3600 if epochs == 99 else float(os.environ.get("STUB_SECONDS", "0")))
    Path("models/model").write_text(f"{seed} {epochs}")
    validation = json.loads(Path("data/verified").read_text())
    fold = validation["fold"] if isinstance(validation, dict) else 0
    accuracy = 0.5 + 0.01 * seed * epochs + 0.001 * fold
    Path("metrics/test.json").write_text(json.dumps({"accuracy": accuracy, "drops": [seed] if seed < 3 else []}))
"""
STAGES: dict[str, Any] = {
    "verify": {
        "cmd": "python pipeline.py verify",
        "deps": ["data/images"],
        "params": ["dataset"],
        "outs": ["data/verified"],
        "metrics": [{"metrics/dataset.json": {"cache": False}}],
    },
    "validate": {
        "cmd": "python pipeline.py validate",
        "deps": ["data/verified"],
        "params": ["seed", "train"],
        "metrics": [{"metrics/validation.json": {"cache": False}}],
    },
    "test": {
        "cmd": "python pipeline.py test",
        "deps": ["data/verified"],
        "params": ["seed", "train"],
        "outs": ["models/model"],
        "metrics": [{"metrics/test.json": {"cache": False}}],
    },
}


class StubProject:
    """A project of three stages on disk; ``log`` has a line for each stage that any process has run for it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder.with_name("log")
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "STUB_LOG": str(self.log),
        }
        shutil.copytree(ROOT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
        for file in (ROOT / ".dvcignore", ROOT / ".gitignore", PARAMS_FILE):
            shutil.copy(file, folder)
        (folder / "pipeline.py").write_text(PIPELINE)
        (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
        for name, text in {"recipes/baseline": "{}", "recipes/two": "train: {epochs: 2}"}.items():
            self.write(f"{name}.yaml", text)
        self.write("data/images", "pixels")
        self.run("git", "init", "--quiet", "--initial-branch=main")
        self.run("git", "config", "user.name", "test")
        self.run("git", "config", "user.email", "test@localhost")
        self.run("dvc", "add", "--quiet", "data/images")
        self.commit()

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(exist_ok=True)
        (self.folder / path).write_text(text)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "-m", "state")

    def start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=self.environment | variables,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def sweep(self, *options: str) -> tuple[int, str]:
        """The exit code of the sweep ``sweeps/one.yaml``, and what it prints."""
        process = self.start("stages.sweep", "sweeps/one.yaml", *options)
        printed = process.communicate()[0]
        return process.returncode, printed

    def experiment_names(self, remote: str = ".") -> list[str]:
        """Of this repository, or of a remote of it."""
        refs = self.run("git", "ls-remote", remote, "refs/exps/*").split()[1::2]
        names = [ref.split("/")[-1] for ref in refs]
        return [name for name in names if not name.startswith("EXEC")]

    def experiments(self, remote: str = ".") -> list[str]:
        """The titles of the experiments, without the checksums."""
        return sorted(name.rpartition("-")[0] for name in self.experiment_names(remote))

    def logged(self, stage: str) -> list[str]:
        """The seed and the epochs of each time that ``stage`` was run, by any process."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return sorted(line.removeprefix(f"{stage} ") for line in lines if line.startswith(stage))

    def leftovers(self) -> list[str]:
        return [path.name for path in (self.folder / ".dvc/tmp/runs").iterdir() if path.is_dir()]
