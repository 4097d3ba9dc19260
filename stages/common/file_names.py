"""Names of folders and files in a dataset: which are accepted, and how the others are shown."""

from __future__ import annotations

import re

# Control characters, Unicode's line and paragraph separators, and the surrogates by which Python stands for bytes that
# are no UTF-8. Any of them breaks a line of a log or a table, or can't be written at all.
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def refusal(name: str) -> str | None:
    """Why ``name`` can't be the name of a folder or a file in a dataset, or None where it can.

    Spaces, any script and any punctuation, HTML's included, are accepted. So is a dash in front: no program gets a name
    as an argument.
    """
    if _UNWRITABLE.search(name):
        return "its name holds a line break, another control character, or bytes that are no UTF-8"
    if name in {"", ".", ".."} or "/" in name or "\\" in name:
        return "its name is a path, not a plain name"
    return None


def printable(name: str) -> str:
    """``name`` on one line, its unwritable characters replaced."""
    return _UNWRITABLE.sub("\ufffd", name)
