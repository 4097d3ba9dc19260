"""What the Git repository lacks of what DVC needs, with the command that helps; and where the project lies."""

from __future__ import annotations

import os
import subprocess

NO_REPOSITORY = (
    "this folder is no Git repository, as an unpacked archive is none; clone the project, or run "
    "`git init && git add --all && git commit --message start`"
)


def shortcoming() -> str | None:
    """What is missing: the repository, a commit or the whole history; None if nothing is, or if ``git`` is."""
    try:
        found = _git("rev-parse", "--is-shallow-repository")
        if "not a git repository" in found.stderr:
            return NO_REPOSITORY
        if "dubious ownership" in found.stderr:  # of another user, as in a container; Git's own words say what helps
            return "Git refuses this repository: " + " ".join(found.stderr.split())
        if _git("rev-parse", "--verify", "HEAD").returncode:
            return "the repository has no commit; run `git add --all && git commit --message start`"
    except FileNotFoundError:
        return None
    if _git("rev-parse", "--show-object-format").stdout.strip() == "sha256":
        return "DVC reads no repository in Git's SHA-256 format; make one by `git init --object-format=sha1`"
    if found.stdout.strip() == "true":
        return "this clone is shallow and holds the last commits alone; run `git fetch --unshallow`"
    return None


def folder() -> str:
    """The project's folder within the repository, with a slash at its end; empty at its top, and without Git."""
    try:
        return _git("rev-parse", "--show-prefix").stdout.strip("\n")
    except FileNotFoundError:
        return ""


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LC_ALL": "C"}  # English messages, since the code above reads them
    return subprocess.run(["git", *arguments], env=environment, text=True, capture_output=True, check=False)
