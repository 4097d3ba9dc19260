"""The trained model as a file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.common.console import FILE_SYSTEM_ERRORS, UserError
from stages.common.files import atomic_file
from stages.model import members
from stages.model.backend import keras
from stages.splits.packed import Resize


def save_model(
    path: str | Path, model: keras.Model, classes: Sequence[str], depth: int = 16, resize: Resize = "squash"
) -> None:
    """Write ``model``, ``classes``, ``depth`` and ``resize`` as a ``.keras`` file whose bytes depend on these alone.

    Keras writes the date into ``metadata.json`` and into the zip's entries, and addresses in memory into
    ``config.json``; without them equal models give equal bytes. ``members.py`` says what the other three are.

    Raises:
        ValueError: there are more or fewer names than outputs.
    """
    if len(classes) != model.output_shape[-1]:
        raise ValueError(f"{len(classes)} names for {model.output_shape[-1]} outputs")
    with atomic_file(path) as part:
        dated = part.with_suffix(".keras")  # the only ending that Keras's new format takes
        try:
            model.save(dated)
            with zipfile.ZipFile(dated) as source, zipfile.ZipFile(part, "w") as target:
                for name in sorted(source.namelist()):
                    content = source.read(name)
                    if name.endswith(".json"):
                        content = json.dumps(_reproducible(json.loads(content), {})).encode()
                    target.writestr(zipfile.ZipInfo(name, members.ZIP_EPOCH), content)
                members.write(target, classes, depth, resize)
        finally:
            dated.unlink(missing_ok=True)


def _reproducible(value: Any, numbers: dict[int, int]) -> Any:
    """``value`` without ``date_saved``, and with each ``shared_object_id``, an address, numbered in order."""
    if isinstance(value, list):
        return [_reproducible(inner, numbers) for inner in value]
    if not isinstance(value, dict):
        return value
    return {
        key: numbers.setdefault(inner, len(numbers) + 1) if key == "shared_object_id" else _reproducible(inner, numbers)
        for key, inner in value.items()
        if key != "date_saved"
    }


def load_model(path: str | Path) -> keras.Model:
    """Open a model that :func:`save_model` wrote.

    Raises:
        UserError: there is no such file, it is damaged, it holds what could run code (a ``Lambda``), or it does not
            name a class for each of its outputs.
    """
    if not Path(path).is_file():
        raise UserError(f"{path} not found; run `dvc repro train`")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises a dozen types for a file that is no model of its own
        if isinstance(error, OSError) and error.errno in FILE_SYSTEM_ERRORS:
            raise  # of the disk, to which Keras copies a large model's weights
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} can't be opened as this pipeline's model ({reason}); run `dvc repro train`") from error
    names, outputs = members.read_classes(path), model.output_shape[-1]
    if len(names) != outputs:
        raise UserError(f"{path} has {outputs} outputs and names {len(names)} classes; run `dvc repro train`")
    return model
