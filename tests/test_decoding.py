"""Images of every mode, size and state of decay: converted as the module says, or refused with a reason."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image

from stages.common.console import UserError
from stages.dataset import decoding, near_duplicates, splits
from stages.dataset.decoding import Decoded, Task, decode, decode_image, tasks_of
from stages.dataset.image_folders import ImageFolder, UnreadableError, list_images

SIZE = 32


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


PNG = encoded(Image.fromarray(noise(SIZE, SIZE, 3)))


def reason(data: bytes) -> str:
    with pytest.raises(UnreadableError) as error:
        decode_image(data, SIZE)
    return str(error.value)


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a hundred bytes that says it has this size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def test_an_image_of_the_wanted_kind_is_left_as_it_is() -> None:
    image, conversion = decode_image(PNG, SIZE)
    assert conversion == ""
    assert np.array_equal(np.asarray(image), noise(SIZE, SIZE, 3))


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "RGBA"])
def test_other_modes_become_rgb_and_are_told(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    image, conversion = decode_image(encoded(Image.fromarray(noise(SIZE, SIZE, 3)).convert(mode), kind), SIZE)
    assert (image.mode, image.size) == ("RGB", (SIZE, SIZE))
    assert f"from mode {mode}" in conversion or conversion == f"put on white from {mode} with transparency"


def test_transparent_parts_become_white() -> None:
    pixels = np.zeros((SIZE, SIZE, 4), np.uint8)
    pixels[:, :16] = (200, 0, 0, 255)
    image, _ = decode_image(encoded(Image.fromarray(pixels)), SIZE)
    assert image.getpixel((0, 0)) == (200, 0, 0)
    assert image.getpixel((20, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_colour_that_is_declared_transparent_becomes_white(mode: str) -> None:
    image = Image.new(mode, (SIZE, SIZE))
    transparent = 0 if mode == "L" else (0, 0, 0)
    decoded, conversion = decode_image(encoded(image, transparency=transparent), SIZE)
    assert decoded.getpixel((0, 0)) == (255, 255, 255)
    assert "with transparency" in conversion


def test_grey_of_16_bits_keeps_its_high_byte() -> None:
    deep = np.arange(SIZE * SIZE, dtype=np.uint16).reshape(SIZE, SIZE) * 64
    image, conversion = decode_image(encoded(Image.fromarray(deep)), SIZE)
    assert np.array_equal(np.asarray(image)[:, :, 1], deep >> 8)
    assert conversion.startswith("converted from mode I")


def test_another_size_is_squeezed_to_the_square_and_told() -> None:
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[:, 50:] = 255
    image, conversion = decode_image(encoded(Image.fromarray(pixels)), SIZE)
    assert conversion == "resized from 100x40"
    assert image.getpixel((4, 10)) == (0, 0, 0)
    assert image.getpixel((28, 10)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_exif_orientation_says(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    upright = Image.fromarray(noise(SIZE, SIZE, 3))
    # As a camera that was held so would store it: turned by the inverse.
    turns = {**decoding._TURNS, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    stored = upright if orientation == 1 else upright.transpose(turns[orientation])
    image, conversion = decode_image(encoded(stored, exif=exif.tobytes()), SIZE)
    assert np.array_equal(np.asarray(image), np.asarray(upright))
    assert conversion == ("" if orientation == 1 else "turned as its EXIF orientation says")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is empty"),
        (b"a text file named .png\n", "is no PNG, JPEG, WEBP, GIF or BMP image"),
        (PNG[:-400], "can't be decoded"),
        (PNG[:20], "can't be decoded"),
        (PNG[:200] + bytes(100) + PNG[300:], "can't be decoded"),
        (encoded(Image.fromarray(noise(8, 8, 3)), "TIFF"), "is no PNG, JPEG, WEBP, GIF or BMP image"),
        (png_that_claims(50_000, 50_000), "has more than 50,000,000 pixels"),
        (png_that_claims(9_000, 6_000), "has more than 50,000,000 pixels"),
        (png_that_claims(0, 6_000), "is no PNG, JPEG, WEBP, GIF or BMP image"),
    ],
    ids=["empty", "text", "truncated", "cut in its header", "damaged", "tiff", "huge", "too large", "no width"],
)
def test_what_is_no_sound_image_is_refused_with_the_reason(data: bytes, told: str) -> None:
    assert told in reason(data)


def test_the_limit_of_pixels_does_not_depend_on_warnings_being_errors() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert reason(png_that_claims(9_000, 6_000)) == "has more than 50,000,000 pixels"


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_an_animated_image_is_refused(kind: str) -> None:
    frames = [Image.fromarray(noise(SIZE, SIZE, 3, seed=seed)) for seed in range(3)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert reason(data).startswith("has several frames")


@given(st.lists(st.tuples(st.integers(0, len(PNG) - 1), st.integers(0, 255)), max_size=5), st.integers(0, len(PNG)))
@settings(max_examples=300, deadline=None)
def test_any_damage_ends_in_an_image_or_a_reason(changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(PNG)
    for position, value in changes:
        data[position] = value
    for content in (bytes(data), bytes(data[:length])):
        told = ""
        try:
            image, _ = decode_image(content, SIZE)
        except UnreadableError as error:
            told = str(error)
        assert told.isprintable()
        assert told or (image.mode, image.size) == ("RGB", (SIZE, SIZE))


@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"]), st.binary(max_size=60), st.integers(0, 60))
@settings(max_examples=200, deadline=None)
def test_any_end_of_any_format_ends_in_an_image_or_a_reason(kind: str, tail: bytes, cut: int) -> None:
    data = encoded(Image.fromarray(noise(9, 7, 3)), kind)
    try:
        image, _ = decode_image(data[:cut] + tail, SIZE)
    except UnreadableError:
        return
    assert (image.mode, image.size) == ("RGB", (SIZE, SIZE))


def folder_of_images(root: Path, images: list[NDArray[np.uint8]]) -> ImageFolder:
    (root / "images/a").mkdir(parents=True)
    for index, image in enumerate(images):
        Image.fromarray(image).save(root / f"images/a/{index:03d}.png")
    return list_images(root, "images")


def decoded_into(split: Path, folder: ImageFolder, size: int, processes: int = 1) -> Decoded:
    split.mkdir()
    splits.allocate_images(split, len(folder.members), size)
    return decode(tasks_of([folder], split, size), processes, lambda count: None)


def test_records_tell_digest_spectrum_mean_and_deviation(tmp_path: Path) -> None:
    images = [noise(SIZE, SIZE, 3, seed=0), noise(SIZE, SIZE, 3, seed=1), np.full((SIZE, SIZE, 3), 9, np.uint8)]
    images.append(images[0])
    records = decoded_into(tmp_path / "split", folder_of_images(tmp_path, images), SIZE)
    assert np.array_equal(splits.open_images(tmp_path / "split"), np.stack(images))
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


def test_results_do_not_depend_on_the_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "TASK_BYTES", 3 * SIZE * SIZE * 4)
    folder = folder_of_images(tmp_path, [noise(SIZE, SIZE, 3, seed=seed) for seed in range(11)])
    (tmp_path / "images/a/005.png").write_bytes(b"no image")
    one, two = (decoded_into(tmp_path / f"split{processes}", folder, SIZE, processes) for processes in (1, 2))
    assert one.errors == two.errors == {5: "is no PNG, JPEG, WEBP, GIF or BMP image"}
    for name in ("digests", "spectra", "means", "deviations"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert (tmp_path / "split1/images.npy").read_bytes() == (tmp_path / "split2/images.npy").read_bytes()


def test_a_killed_process_is_a_clear_error(tmp_path: Path) -> None:
    task = Task(tmp_path, [], tmp_path, 0, SIZE)
    with pytest.raises(UserError, match="was killed"), decoding._mapping(2) as mapping:
        list(mapping(_die, [task, task]))


def _die(task: Task) -> Decoded:
    os._exit(9)


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from stages.dataset import decoding; from tests import test_decoding\n"
        "if __name__ == '__main__':\n"
        "    task = decoding.Task(Path(sys.argv[1]), [], Path(), 0, 32)\n"
        "    with decoding._mapping(2) as mapping: list(mapping(test_decoding._wait, [task] * 4))\n"
    )
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as parent:
        while len(list(tmp_path.glob("*.started"))) < 2:
            assert parent.poll() is None
            time.sleep(0.05)
        parent.kill()
        parent.communicate(timeout=20)  # ends when the last process that has inherited the pipe has ended


def _wait(task: Task) -> Decoded:
    (task.path / f"{os.getpid()}.started").touch()
    time.sleep(60)
    raise AssertionError("was not ended")
