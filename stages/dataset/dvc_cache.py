"""Where DVC keeps the files that it tracks: with ``cache.type symlink`` a tracked folder is full of links to there."""

from __future__ import annotations

import os
from pathlib import Path

from stages.common.console import UserError


def cache_of(folder: Path) -> Path | None:
    """The cache of the DVC project that ``folder`` lies in, as ``dvc cache dir`` names it, its own links followed.

    None where ``folder`` lies in no project of DVC.

    Raises:
        UserError: DVC can't read the project's settings, or the user's.
    """
    # Here, not at the top: it takes a fifth of a second, and few datasets hold a link that leads out of them.
    from dvc.config import Config  # type: ignore[import-untyped]
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]

    absolute = folder.absolute()
    project = next((parent for parent in (absolute, *absolute.parents) if (parent / ".dvc").is_dir()), None)
    if project is None:
        return None
    try:
        settings = Config(project / ".dvc")
    except DvcException as error:
        raise UserError(f"{project / '.dvc'}: {error}; `dvc config --list --show-origin` names the files") from error
    return Path(os.path.realpath(settings["cache"].get("dir") or project / ".dvc/cache"))
