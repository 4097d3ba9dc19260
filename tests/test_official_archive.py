"""The pickles of the official archive: read as they are, run never."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from stages.common.console import UserError
from stages.dataset.official_archive import read_batches
from tests.tiny_cifar10 import BATCHES, COUNT, official_archive, official_members, python2_pickle, tar_gz

MEMBER = "cifar-10-batches-py/data_batch_4"


def read_with(folder: Path, pickled: bytes) -> None:
    """Read an archive with ``pickled`` in the place of one batch."""
    list(read_batches(tar_gz(folder / "odd.tar.gz", {**official_members(), MEMBER: pickled}), COUNT))


@pytest.mark.parametrize("by_columns", [False, True])
def test_the_pickles_of_these_tests_are_real_ones(by_columns: bool) -> None:
    batch = BATCHES["train1"]
    value = pickle.loads(python2_pickle(batch, by_columns), encoding="latin1")
    assert set(value) == {"batch_label", "labels", "data", "filenames"}
    assert value["labels"] == batch.labels.tolist()
    assert np.array_equal(value["data"].reshape(COUNT, 3, 32, 32).transpose(0, 2, 3, 1), batch.images)


def test_every_batch_is_read(tmp_path: Path) -> None:
    batches = {batch.name: batch for batch in read_batches(official_archive(tmp_path), COUNT)}
    assert set(batches) == set(BATCHES)
    for name, batch in batches.items():
        assert np.array_equal(batch.images, BATCHES[name].images)
        assert np.array_equal(batch.labels, BATCHES[name].labels)


@pytest.mark.parametrize(
    ("pickled", "reason"),
    [
        (b"cos\nsystem\n(U\x04truetR.", "it would run 'os system'"),
        (b"(ios\nsystem\n.", "it would run 'os system'"),
        (pickle.dumps(pickle.Unpickler), "it would run code"),
        (b"\x80\x02\x82\x01.", "it would run 1"),
        (b"Pharm\n.", "it would run 'harm'"),
        (b"cnumpy\nmemmap\n.", "it would run 'numpy memmap'"),
        (b"\x80\x02}.", f"it does not hold {COUNT} images and their labels"),
        (b"", "pickle exhausted before seeing STOP"),
        (b"\xff\xff", "at position 0, opcode b'\\xff' unknown"),
        (python2_pickle(BATCHES["test"])[:20_000], "expected 73728 bytes in a string4, but only"),
        # An index into the memo that would make an unpickler allocate 16 GB.
        (b"\x80\x02}r\xff\xff\xff\x7f.", f"it does not hold {COUNT} images and their labels"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "expected 9223372036854775807 bytes in a bytes8"),
        (python2_pickle(BATCHES["test"]).replace(b"(K", b"(K\x00K", 1), f"it does not hold {COUNT} images"),
        (python2_pickle(BATCHES["test"]).replace(b"(K", b"(K\x0aK", 1).replace(b"K\x09", b"", 1), "it does not hold"),
    ],
)
def test_a_pickle_that_is_no_batch_is_an_error(tmp_path: Path, pickled: bytes, reason: str) -> None:
    with pytest.raises(UserError) as error:
        read_with(tmp_path, pickled)
    message = f"{tmp_path / 'odd.tar.gz'}: {MEMBER} is not a batch of CIFAR-10: "
    assert str(error.value).startswith(message + reason)


def test_a_message_stays_short_whatever_the_pickle_says(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read_with(tmp_path, b"cos\n" + b"x" * 10_000 + b"\n.")
    assert len(str(error.value)) < 500


def test_code_beside_the_right_data_is_refused_too(tmp_path: Path) -> None:
    harmless = python2_pickle(BATCHES["train4"])
    read_with(tmp_path, harmless)
    with pytest.raises(UserError, match="it would run 'os system'"):
        read_with(tmp_path, harmless[:-1] + b"cos\nsystem\n(U\x04truetR.")
