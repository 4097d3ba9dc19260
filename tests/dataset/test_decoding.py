"""Folders of images become rows of a split and facts, the same with any number of processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.dataset import decoding, near_duplicates
from stages.dataset.decoding import decode, tasks_of
from stages.dataset.image_folders import ImageFolder, list_images
from stages.splits import packed
from tests.folders import decoded_into
from tests.images import SIZE, gradient, noise, png_of_16_bits


def folder_of_images(root: Path, images: list[NDArray[np.uint8]]) -> ImageFolder:
    (root / "images/a").mkdir(parents=True)
    for index, image in enumerate(images):
        Image.fromarray(image).save(root / f"images/a/{index:03d}.png")
    return list_images(root, "images")


def test_a_border_hides_no_blank_image_and_makes_no_two_alike(tmp_path: Path) -> None:
    white = np.full((40, 100, 3), 255, np.uint8)
    folder = folder_of_images(tmp_path, [white, *(noise(8, 24, 3, seed=seed) for seed in range(2))])
    (tmp_path / "split").mkdir()
    packed.allocate_images(tmp_path / "split", 3, SIZE)
    records = decode(tasks_of([folder], tmp_path / "split", SIZE, "pad"), 1, lambda count: None)
    assert records.means[0].tolist() == [255, 255, 255]
    assert records.deviations[0].tolist() == [0, 0, 0]
    assert not records.spectra[0].any()
    assert near_duplicates.correlations(records.spectra, np.array([[2, 1]])) < 0.5
    assert not packed.open_images(tmp_path / "split")[0, 0].any()


def test_records_tell_digest_spectrum_mean_and_deviation(tmp_path: Path) -> None:
    images = [noise(SIZE, SIZE, 3, seed=0), noise(SIZE, SIZE, 3, seed=1), np.full((SIZE, SIZE, 3), 9, np.uint8)]
    images.append(images[0])
    records = decoded_into(tmp_path / "split", folder_of_images(tmp_path, images), SIZE)
    assert np.array_equal(packed.open_images(tmp_path / "split"), np.stack(images))
    assert len(set(records.digests.tolist())) == 3
    assert records.digests[0] == records.digests[3]
    grey = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])
    assert np.array_equal(records.spectra, near_duplicates.spectra(grey))
    assert np.allclose(records.means, [image.mean(axis=(0, 1)) for image in images], atol=1e-3)
    assert np.allclose(records.deviations, [image.std(axis=(0, 1)) for image in images], atol=1e-3)


def test_larger_images_are_compared_in_a_smaller_size(tmp_path: Path) -> None:
    images = [noise(48, 48, 3, seed=seed) for seed in range(20)]
    records = decoded_into(tmp_path / "split", folder_of_images(tmp_path, images), 48)
    small = [Image.fromarray(image).convert("L").resize((32, 32), Image.Resampling.LANCZOS) for image in images]
    assert np.array_equal(records.spectra, near_duplicates.spectra(np.stack([np.asarray(each) for each in small])))


def write_16_bits(folder: Path, *images: NDArray[np.uint16]) -> None:
    folder.mkdir(parents=True)
    for index, values in enumerate(images):
        (folder / f"{index}.png").write_bytes(png_of_16_bits(values))


@pytest.mark.parametrize("processes", [1, 2])
def test_all_images_of_16_bits_are_taken_as_of_the_bits_that_the_training_images_use(
    tmp_path: Path, processes: int
) -> None:
    dark, bright, brighter = gradient(8), gradient(12), gradient(14)
    write_16_bits(tmp_path / "train/a", dark)
    write_16_bits(tmp_path / "more/a", bright)
    write_16_bits(tmp_path / "test/a", dark, brighter)
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "test/a/2.png")
    tasks = []
    for name, folders in (("one", ["train", "more"]), ("two", ["test"])):
        (tmp_path / name).mkdir()
        listed = [list_images(tmp_path, folder) for folder in folders]
        packed.allocate_images(tmp_path / name, sum(len(folder.members) for folder in listed), 64)
        tasks += tasks_of(listed, tmp_path / name, 64)
    records = decode(tasks, processes, lambda count: None)
    one, two = (packed.open_images(tmp_path / name)[..., 0] for name in ("one", "two"))
    assert records.depth == 12
    assert records.depths == {0: 8, 1: 12, 2: 8, 3: 14}
    assert np.array_equal(one, [dark >> 4, bright >> 4])
    assert np.array_equal(two, [dark >> 4, np.minimum(brighter >> 4, 255), noise(64, 64, 3)[..., 0]])
    assert [text.rpartition("taken as ")[2] for text in records.conversions.values()] == [
        "12 bits a channel, as many as the training images use",
        "12 bits a channel, as many as the training images use",
        "12 bits a channel, as many as the training images use",
        "12 bits a channel, as many as the training images use, and what is brighter as white",
    ]


def test_the_test_images_choose_no_depth(tmp_path: Path) -> None:
    write_16_bits(tmp_path / "test/a", gradient(12))
    (tmp_path / "train/a").mkdir(parents=True)
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "train/a/0.png")
    tasks = []
    for name in ("train", "test"):
        (tmp_path / f"split_{name}").mkdir()
        packed.allocate_images(tmp_path / f"split_{name}", 1, 64)
        tasks += tasks_of([list_images(tmp_path, name)], tmp_path / f"split_{name}", 64)
    records = decode(tasks, 1, lambda count: None)
    assert records.depth == 16
    assert records.conversions == {1: "converted from mode I;16, taken as 16 bits a channel, of which it uses 12"}


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "TASK_BYTES", 3 * SIZE * SIZE * 4)
    folder = folder_of_images(tmp_path, [noise(SIZE, SIZE, 3, seed=seed) for seed in range(11)])
    (tmp_path / "images/a/005.png").write_bytes(b"no image")
    one, two = (decoded_into(tmp_path / f"split{processes}", folder, SIZE, processes) for processes in (1, 2))
    assert one.errors == two.errors == {5: "is no PNG, JPEG, WEBP, GIF or BMP image"}
    for name in ("digests", "spectra", "means", "deviations"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert (tmp_path / "split1/images.npy").read_bytes() == (tmp_path / "split2/images.npy").read_bytes()
