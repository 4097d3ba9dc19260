"""A split on disk: its space is taken before it is filled, and its bytes are those of NumPy's own format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from stages.splits import packed
from stages.splits.packed import Resize


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
