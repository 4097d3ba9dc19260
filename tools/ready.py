"""Whether the pipeline can be run here: what DVC would say in words of its own is said in words that help.

python -m tools.ready
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from stages import parameters
from stages.common.console import UserError, run_stage
from stages.common.repository import NO_REPOSITORY


def ready() -> None:
    """Raise a :class:`UserError` where DVC could not even begin."""
    parameters.check()
    here = Path.cwd()
    if not any((folder / ".git").exists() for folder in (here, *here.parents)) and not _without_git():
        raise UserError(NO_REPOSITORY)


def _without_git() -> bool:
    """Whether the user has told DVC to do without Git."""
    setting = subprocess.run(["dvc", "config", "core.no_scm"], text=True, capture_output=True, check=False)
    return setting.stdout.strip().lower() == "true"


if __name__ == "__main__":
    run_stage("repro", ready)
