"""Files that appear whole or not at all, and whose bytes depend on their content alone.

Each write goes to ``.NAME.part`` beside its target and is renamed when it is complete and on disk. That name is fixed,
so the next run overwrites what a killed process left.

A stage writes its outputs inside :func:`all_or_none`: if it fails, the outputs of an earlier run stay as they were.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.common.console import UserError
from stages.common.rounding import rounded

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE_DPI = 100  # a figure of 12.8 inches fills a window of 1280 pixels


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """A path to write to; it becomes ``path`` if the block succeeds and is removed if it fails."""
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with errors_naming(path):
            yield part
            with open(part, "rb") as written:
                os.fsync(written.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def all_or_none() -> Iterator[Callable[[str | Path], Path]]:
    """A function from an output's path, a file or a folder, to the path at which to write it.

    If the block succeeds, all its outputs replace what was in their places. If it fails, they are removed, and what was
    there stays. The path to write at has the output's name, and so its suffix.
    """
    written: dict[Path, Path] = {}

    def place(path: str | Path) -> Path:
        output = Path(path)
        part = output.with_name(f".{output.name}.part")
        _remove(part)
        part.mkdir(parents=True)
        written[output] = part / output.name
        return written[output]

    try:
        yield place
        for output, new in written.items():
            if new.is_dir() and os.path.lexists(output):
                os.rename(output, new.with_name(".old"))  # a folder can't be renamed onto an existing one
            os.replace(new, output)
    finally:
        for new in written.values():
            shutil.rmtree(new.parent, ignore_errors=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """An empty folder to fill; it replaces ``path`` if the block succeeds and is removed if it fails."""
    with all_or_none() as place:
        part = place(path)
        part.mkdir()
        with errors_naming(path):
            yield part


@contextmanager
def errors_naming(path: str | Path) -> Iterator[None]:
    """Add ``path`` to system errors that name no file, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno and not error.filename:
            error.filename = str(path)
        raise


@contextmanager
def written_by(stage: str, path: str | Path) -> Iterator[None]:
    """Turn errors of a block that reads ``path``, an output of ``stage``, into a :class:`UserError`.

    Raises:
        UserError: the file is missing, or its content is not what ``stage`` writes.
    """
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} not found; run `dvc repro {stage}`") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not what `{stage}` writes ({error}); run `dvc repro {stage}`") from error


def _remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    with atomic_file(path) as part:
        part.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, its line ends unchanged."""
    write_bytes(path, text.encode())


def write_array(path: str | Path, array: NDArray[Any]) -> None:
    """Write ``array`` in NumPy's own format, ``.npy``."""
    array = np.ascontiguousarray(array)
    # np.save would not say that the disk is full.
    with atomic_file(path) as part, part.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as indented JSON, its floats rounded (see ``rounding.rounded``), its keys in the order given.

    Raises:
        ValueError: a float is NaN or infinite, which JSON can't express.
    """
    write_text(path, json.dumps(_rounded(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_json_rows(path: str | Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write ``rows`` as a JSON list, one row a line, so that Git's diffs stay small."""
    lines = [json.dumps(_rounded(row), allow_nan=False, ensure_ascii=False) for row in rows]
    write_text(path, "[\n" + ",\n".join(lines) + "\n]\n")


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table of comma-separated values, its floats rounded (see ``rounding.rounded``)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_rounded(value) for value in row] for row in rows)
    write_text(path, text.getvalue())


def write_figure(path: str | Path, figure: Figure) -> None:
    """Write ``figure`` as :func:`png` draws it."""
    write_bytes(path, png(figure))


def png(figure: Figure) -> bytes:
    """``figure`` as a PNG without the metadata that names matplotlib's version."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=PICTURE_DPI, metadata={"Software": None})
    return drawn.getvalue()


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return rounded(value)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(inner) for inner in value]
    return value
