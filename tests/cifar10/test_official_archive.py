"""The official archive: its pickles, which Python 2 wrote."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np

from stages.cifar10.official_archive import read_batches
from tests.tiny_cifar10 import BATCHES, official_tarball


def test_every_batch_is_read(tmp_path: Path) -> None:
    with tarfile.open(official_tarball(tmp_path)) as tar:
        batches = {batch.name: batch for batch in read_batches(tar)}
    assert set(batches) == set(BATCHES)
    for name, batch in batches.items():
        assert np.array_equal(batch.images, BATCHES[name].images)
        assert np.array_equal(batch.labels, BATCHES[name].labels)
