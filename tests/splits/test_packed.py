"""A split on disk: its space is taken before it is filled, and its bytes are those of NumPy's own format."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.splits import packed
from stages.splits.packed import Resize
from tests.clusters import until

HEADER = 128  # bytes of images.npy before the pixels


@pytest.mark.parametrize("reserve", [True, False])
@pytest.mark.parametrize("count", [0, 500])
def test_an_allocated_split_is_zeros_for_which_the_disk_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, reserve: bool
) -> None:
    if not reserve:
        monkeypatch.delattr("os.posix_fallocate", raising=False)  # as on macOS
    packed.allocate_images(tmp_path / "split", count, 32)
    file = tmp_path / "split/images.npy"
    np.save(tmp_path / "expected.npy", np.zeros((count, 32, 32, 3), np.uint8))
    assert file.read_bytes() == (tmp_path / "expected.npy").read_bytes()
    assert file.stat().st_blocks * 512 >= file.stat().st_size  # a sparse file has fewer
    packed.open_images(tmp_path / "split")[:] = 7
    assert (np.load(file) == 7).all()


@pytest.mark.parametrize("resize", get_args(Resize))
def test_a_split_says_how_its_images_became_square_unless_they_were_squashed(tmp_path: Path, resize: Resize) -> None:
    packed.allocate_images(tmp_path, 1, 8)
    packed.complete(tmp_path, np.zeros(1, np.int32), ["cat"], [1], ["a/cat/1.png"], resize=resize)
    assert packed.load(tmp_path).resize == resize
    assert ("resize" in json.loads((tmp_path / "index.json").read_text())) == (resize != "squash")


def pages_in_memory(images: NDArray[np.uint8]) -> set[int]:
    """The pages of a mapped file that the system has in its cache, counted from the file's first."""
    start, size = images.ctypes.data - HEADER, HEADER + images.nbytes
    found = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    assert ctypes.CDLL(None).mincore(ctypes.c_void_p(start), ctypes.c_size_t(size), found) == 0
    return {page for page, there in enumerate(found) if there & 1}


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_rows_that_are_to_be_brought_come_by_themselves_and_most_others_do_not(tmp_path: Path) -> None:
    packed.allocate_images(tmp_path, 60, 150)
    packed.open_images(tmp_path)[:] = 7
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    with (tmp_path / "images.npy").open("rb+") as file:
        os.fsync(file)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if pages_in_memory(images):
        pytest.skip("the files of this system are in memory")
    rows = np.array([50, 3, 27], np.int32)
    row_bytes = images[0].nbytes
    ends = [(HEADER + row * row_bytes, HEADER + (row + 1) * row_bytes - 1) for row in rows.tolist()]
    pages = {page for first, last in ends for page in range(first // mmap.PAGESIZE, last // mmap.PAGESIZE + 1)}

    def are_there() -> bool:
        packed.prefetch(images, rows)  # again and again, because a busy system may leave advice unheard
        return pages_in_memory(images) >= pages

    until(are_there, seconds=60)
    # A few more may come, because some file systems read in larger pieces than a page.
    assert len(pages_in_memory(images)) < images.nbytes // mmap.PAGESIZE // 2


def test_of_images_that_are_no_file_nothing_is_brought() -> None:
    packed.prefetch(np.zeros((4, 2, 2, 3), np.uint8), np.arange(4, dtype=np.int32))
