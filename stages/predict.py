"""predict: the classes that the trained model gives to images. A use of the pipeline's result, not a stage of it.

Reads only the model, whose file names its classes: in a fresh clone nothing else must be pulled. Each image is decoded
as ``verify`` decodes those that the model is trained on.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from stages.common.console import progress, run_stage
from stages.common.file_names import printable
from stages.common.rounding import percent, rounded
from stages.dataset.bit_depth import FULL_DEPTH
from stages.dataset.conversion import decode_image
from stages.dataset.image_bytes import UnreadableError
from stages.dataset.loose_images import LooseImage, find_images
from stages.model import members
from stages.splits import packed
from stages.splits.packed import Resize

MODEL = Path("models/model.keras")
RANKS = ("best", "second", "third")  # of the classes printed for each image
IMAGES_AT_ONCE = 500

HELP = """\
Print the three most probable classes of each image, with their probabilities; as JSON, all classes.

Images are resized and converted as those that the model was trained on. An image that can't be read is reported on
standard error, and the rest goes on; the exit code is then 1."""

EXAMPLES = """\
examples:
  python -m stages.predict cat.png holiday/ data/cifar10/test.zip
  python -m stages.predict --json photos/ > predictions.jsonl
  curl --silent https://example.org/cat.jpg | python -m stages.predict -"""


class Batch(NamedTuple):
    """Images that are predicted together: their names and pixels, uint8, and messages about unreadable ones."""

    image_names: list[str]
    pixels: NDArray[np.uint8]
    errors: list[str]


def predict(arguments: Sequence[str] | None = None) -> bool:
    """Predict the images that ``arguments`` name; False if one of them could not be read."""
    options = _parse(arguments)
    classes, depth, resize = members.read_classes(MODEL), members.read_depth(MODEL), members.read_resize(MODEL)
    # Not at the top, so that mistakes in the arguments or a missing model are reported without loading TensorFlow.
    from stages.model.prediction import predictor
    from stages.model.saved import load_model

    model = load_model(MODEL)
    predict_probabilities = predictor(model)
    all_readable = True
    if not options.json:
        print(_heading(classes), flush=True)
    with progress("predict", None, "images") as bar:
        for batch in batches(find_images(options.images), model.input_shape[1], depth, resize):
            ranked = ranked_classes(predict_probabilities(batch.pixels), classes)
            as_line = _as_json if options.json else _as_row(classes)
            _print(map(as_line, batch.image_names, ranked), sys.stdout)
            _print(batch.errors, sys.stderr)
            all_readable = all_readable and not batch.errors
            bar.advance(len(batch.image_names))
    return all_readable


def batches(
    images: Iterable[LooseImage], image_size: int, depth: int = FULL_DEPTH, resize: Resize = "squash"
) -> Iterator[Batch]:
    """Read the images and decode them to ``image_size`` in batches that any memory can hold."""
    at_once = min(IMAGES_AT_ONCE, packed.at_once(image_size))
    names: list[str] = []
    pixels: list[NDArray[np.uint8]] = []
    errors: list[str] = []

    def batch() -> Batch:
        return Batch(names, np.array(pixels, np.uint8).reshape(-1, image_size, image_size, 3), errors)

    for image in images:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's; what can't be repaired is an error too
                pixels.append(np.asarray(decode_image(image.read(), image_size, depth, resize)[0]))
            names.append(image.name)
        except UnreadableError as error:
            errors.append(f"{printable(image.name)}: {error}")
        if len(names) + len(errors) == at_once:
            yield batch()
            names, pixels, errors = [], [], []
    if names or errors:
        yield batch()


def ranked_classes(probabilities: NDArray[np.float32], classes: Sequence[str]) -> list[list[tuple[str, float]]]:
    """The classes of each image, most probable first, with probabilities; equal ones in the order of ``classes``.

    Args:
        probabilities: shape (n, classes).
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return [
        [(classes[label], float(row[label])) for label in labels]
        for row, labels in zip(probabilities, order, strict=True)
    ]


def _as_json(name: str, ranked: Sequence[tuple[str, float]]) -> str:
    # JSON's ASCII escapes keep each name exact and send no control character to a terminal.
    classes = [{"class": label, "probability": rounded(probability)} for label, probability in ranked]
    return json.dumps({"image": name, "classes": classes})


def _as_row(classes: Sequence[str]) -> Callable[[str, Sequence[tuple[str, float]]], str]:
    """A function from an image's name and ranked classes to its row, which has the best of them.

    The name comes last, because its length is unknown: the rows of a batch are printed before the next one is read.
    """
    width = max(map(len, classes))

    def row(name: str, ranked: Sequence[tuple[str, float]]) -> str:
        best = ranked[: len(RANKS)]
        cells = (f"{printable(label):{width}} {percent(probability, 2, 2):>7}  " for label, probability in best)
        return "".join(cells) + printable(name)

    return row


def _heading(classes: Sequence[str]) -> str:
    width = max(map(len, classes)) + len(" 100.00%  ")
    return "".join(f"{rank:{width}}" for rank in RANKS[: len(classes)]) + "image"


def _print(lines: Iterable[str], file: TextIO) -> None:
    if text := "\n".join(lines):
        tqdm.write(text, file)  # above the progress bar, where there is one
        file.flush()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m stages.predict", description=HELP, epilog=EXAMPLES, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="an image, a folder or a zip of images, with or without class folders;\n- reads one from standard input",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help='print a line of JSON for each image:\n{"image": NAME, "classes": [{"class": NAME, "probability": P}, …]}',
    )
    return parser.parse_args(arguments)


def main() -> None:
    if not predict():
        sys.exit(1)


if __name__ == "__main__":
    run_stage("predict", main)
