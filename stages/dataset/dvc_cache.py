"""Where DVC keeps the files that it tracks: with ``cache.type symlink``, tracked folders are full of links to there."""

from __future__ import annotations

import os
from pathlib import Path

from stages.common.console import UserError


def cache_of(folder: Path) -> Path | None:
    """The real path of the cache of the DVC project that holds ``folder`` (``dvc cache dir``); None outside a project.

    Raises:
        UserError: DVC can't read the project's settings, or the user's.
    """
    # Not at the top, because it takes 0.2 s, and few datasets hold a link that leads out of them.
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
