"""Names of folders and files in a dataset: which are accepted, and how the others are printed."""

from __future__ import annotations

import re

# Control characters, Unicode's line and paragraph separators, and the surrogates that Python uses for bytes that are no
# UTF-8. Each of them breaks a line of a log or a table, or can't be written at all.
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def refusal(name: str) -> str | None:
    """Why ``name`` can't be the name of a folder or file in a dataset; None if it can.

    Spaces, any script and any punctuation are accepted, HTML's too. So is a leading dash: no program gets a name as an
    argument.
    """
    if _UNWRITABLE.search(name):
        return "its name holds a line break, another control character, or bytes that are no UTF-8"
    if name in {"", ".", ".."} or "/" in name or "\\" in name:
        return "its name is a path, not a plain name"
    return None


def printable(name: str) -> str:
    """``name`` with its unwritable characters replaced, so that it fits on one line."""
    return _UNWRITABLE.sub("\ufffd", name)
