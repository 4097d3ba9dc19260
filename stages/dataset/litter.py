"""Files and folders beside images: those that systems and programs leave there, and people's notes.

Sources: GitHub's lists of what not to track (github.com/github/gitignore, Global), and the network drives of Synology
and QNAP.
"""

from __future__ import annotations

_LITTER_FOLDERS = {
    "__macosx",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "@eadir",
    "@recycle",
    "#recycle",
    "#snapshot",
}
_LITTER_FILES = {"desktop.ini", "icon\r", "icon\uf00d"}  # the last is Icon\r on a network drive
_LITTER_STARTS = (".", "thumbs.db", "ehthumbs")
_LITTER_ENDS = (".dvc", "~", "@synoeastream", "@synoresource")
_NOTES = {"readme", "license", "licence", "copying", "notice"}
_NOTE_ENDS = (
    *(".xml", ".json", ".jsonl", ".csv", ".tsv", ".txt", ".yaml", ".yml"),  # annotations
    *(".xmp", ".aae"),  # edits of a photograph by Adobe's and Apple's programs
    *(".md", ".rst", ".html", ".htm", ".log", ".py", ".ipynb"),
)


def is_litter_folder(name: str) -> bool:
    """Whether a folder of this name is hidden, or made by a system or program for itself."""
    return name.startswith(".") or name.lower() in _LITTER_FOLDERS


def is_litter_file(name: str) -> bool:
    """Whether a file of this name is hidden, or made by a system or program for itself."""
    lower = name.lower()
    return (
        lower.startswith(_LITTER_STARTS)
        or lower.endswith(_LITTER_ENDS)
        or lower in _LITTER_FILES
        or "zone.identifier" in lower  # x.png:Zone.Identifier: Windows's note on where x.png was downloaded
    )


def is_note(name: str) -> bool:
    """Whether a file of this name is a text that goes with images, such as their annotations."""
    lower = name.lower()
    return lower.endswith(_NOTE_ENDS) or lower in _NOTES
