"""Images of every mode, size and state of decay: converted as the module says, or refused with a reason."""

from __future__ import annotations

import resource
import struct
import warnings
import zlib
from collections import Counter
from fractions import Fraction
from io import BytesIO
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image

from stages.dataset import metadata
from stages.dataset.conversion import TURNS, convert, decode_image
from stages.dataset.image_bytes import UnreadableError
from stages.splits.packed import Resize
from tests.images import (
    BMP,
    EXIF,
    GIF,
    JPEG,
    PNG,
    SIZE,
    WEBP,
    WEBP_OPTIONS,
    XMP,
    chunk,
    encoded,
    gradient,
    itxt,
    jpeg_with,
    noise,
    png_of_16_bits,
    png_that_claims,
    png_with,
    raw_profile,
    ztxt,
)

RESIZES = get_args(Resize)


def reason(data: bytes) -> str:
    with pytest.raises(UnreadableError) as error:
        decode_image(data, SIZE)
    return str(error.value)


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


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_grey_that_is_declared_transparent_becomes_white_however_few_greys_there_are(bits: int) -> None:
    row = b"\0" + bytes(np.packbits(np.unpackbits(np.array([[0], [1]], np.uint8), axis=1)[:, -bits:].ravel()).tolist())
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, bits, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    for transparent in (0, 1):
        key = chunk(b"tRNS", struct.pack(">H", transparent))
        image, _ = decode_image(b"\x89PNG\r\n\x1a\n" + header + key + pixels, None)
        greys = [0, 255 // (2**bits - 1)]
        greys[transparent] = 255
        assert np.asarray(image)[0, :, 0].tolist() == greys


@pytest.mark.parametrize("channels", [1, 2, 3, 4], ids=["grey", "grey and alpha", "colour", "colour and alpha"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("depth", [8, 12, 16])
def test_of_16_bits_a_channel_the_lower_bits_that_a_dataset_uses_are_spread_to_8(
    channels: int, bits: int, depth: int
) -> None:
    values = gradient(bits)
    opaque = np.full_like(values, 65535)
    pixels = {1: [values], 2: [values, opaque], 3: [values] * 3, 4: [values] * 3 + [opaque]}[channels]
    data = png_of_16_bits(np.stack(pixels, axis=2) if channels > 1 else values)
    image, conversion, _, own = convert(data, 64, depth, "squash")
    expected = np.minimum(values >> (depth - 8), 255)
    assert own == bits
    assert np.array_equal(np.asarray(image), np.stack([expected] * 3, axis=2))
    assert f"taken as {depth} bits a channel" in conversion
    assert ("what is brighter as white" in conversion) == (bits > depth)
    assert (f"of which it uses {bits}" in conversion) == (bits < depth == 16)


def test_a_transparent_value_of_16_bits_becomes_white_and_its_neighbours_do_not() -> None:
    image, _ = decode_image(png_of_16_bits(gradient(12), chunk(b"tRNS", struct.pack(">H", 5))), 64, 12)
    assert np.asarray(image)[0, 4:7, 0].tolist() == [0, 255, 0]


def test_grey_of_16_bits_keeps_its_high_byte() -> None:
    deep = np.arange(SIZE * SIZE, dtype=np.uint16).reshape(SIZE, SIZE) * 64
    image, conversion = decode_image(encoded(Image.fromarray(deep)), SIZE)
    assert np.array_equal(np.asarray(image)[:, :, 1], deep >> 8)
    assert conversion.startswith("converted from mode I")


def made_square(pixels: NDArray[np.uint8], resize: Resize) -> NDArray[np.uint8]:
    """``pixels``, RGB, as they should become ``SIZE`` × ``SIZE``."""
    height, width = pixels.shape[:2]
    if resize == "crop":
        side = min(height, width)
        pixels = pixels[(height - side) // 2 :, (width - side) // 2 :][:side, :side]
    shape = (SIZE, SIZE)
    if resize == "pad":
        shape = (max(1, round(SIZE * Fraction(width, max(pixels.shape)))), SIZE)
        shape = shape if height >= width else (SIZE, max(1, round(SIZE * Fraction(height, width))))
    scaled = np.asarray(Image.fromarray(pixels).resize(shape, Image.Resampling.BILINEAR))
    upper, left = ((SIZE - length) // 2 for length in scaled.shape[:2])
    square = np.zeros((SIZE, SIZE, 3), np.uint8)
    square[upper : upper + shape[1], left : left + shape[0]] = scaled
    return square


@pytest.mark.parametrize(
    ("width", "height", "told"),
    [
        (100, 40, {"squash": "resized", "crop": "cropped and resized", "pad": "padded and resized"}),
        (41, 100, {"squash": "resized", "crop": "cropped and resized", "pad": "padded and resized"}),
        (1, 100, {"squash": "resized", "crop": "cropped and resized", "pad": "padded and resized"}),
        (100, 1, {"squash": "resized", "crop": "cropped and resized", "pad": "padded and resized"}),
        (45, SIZE, {"squash": "resized", "crop": "cropped", "pad": "padded and resized"}),
        (SIZE, 9, {"squash": "resized", "crop": "cropped and resized", "pad": "padded"}),
        (100, 99, {"squash": "resized", "crop": "cropped and resized", "pad": "resized"}),
        (50, 50, {"squash": "resized", "crop": "resized", "pad": "resized"}),
        (7, 7, {"squash": "resized", "crop": "resized", "pad": "resized"}),
    ],
)
@pytest.mark.parametrize("resize", RESIZES)
def test_an_image_of_another_shape_is_distorted_or_cropped_at_its_centre_or_padded(
    width: int, height: int, told: dict[str, str], resize: Resize
) -> None:
    pixels = noise(height, width, 3)
    image, conversion = decode_image(encoded(Image.fromarray(pixels)), SIZE, resize=resize)
    assert np.array_equal(np.asarray(image), made_square(pixels, resize))
    assert conversion == f"{told[resize]} from {width}x{height}"


def test_pixels_are_kept_if_an_image_is_only_cropped_or_only_padded() -> None:
    pixels = noise(SIZE, 45, 3)
    cropped, _ = decode_image(encoded(Image.fromarray(pixels)), SIZE, resize="crop")
    assert np.array_equal(np.asarray(cropped), pixels[:, 6:38])
    padded, _ = decode_image(encoded(Image.fromarray(pixels[:9, :SIZE])), SIZE, resize="pad")
    assert np.array_equal(np.asarray(padded)[11:20], pixels[:9, :SIZE])
    assert not np.delete(np.asarray(padded), range(11, 20), axis=0).any()


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "I;16"])
@pytest.mark.parametrize("resize", RESIZES)
def test_an_image_of_any_mode_gets_its_shape_and_a_black_border(mode: str, resize: Resize) -> None:
    if mode == "I;16":
        deep = np.arange(100 * 40, dtype=np.uint16).reshape(40, 100) * 16
        image, rgb = Image.fromarray(deep), np.stack([(deep >> 8).astype(np.uint8)] * 3, axis=2)
    else:
        # Of CMYK one colour, because JPEG changes others.
        drawn = np.full((40, 100, 3), 255, np.uint8) if mode == "CMYK" else noise(40, 100, 3)
        image = Image.fromarray(drawn).convert(mode)
        rgb = np.asarray(image.convert("RGB"))
    decoded, _ = decode_image(encoded(image, "JPEG" if mode == "CMYK" else "PNG"), SIZE, resize=resize)
    assert np.array_equal(np.asarray(decoded), made_square(rgb, resize))


@pytest.mark.parametrize("resize", RESIZES)
def test_transparent_parts_are_white_and_the_border_is_black(resize: Resize) -> None:
    pixels = np.zeros((32, 64, 4), np.uint8)
    pixels[:, :32] = (200, 0, 0, 255)
    image, conversion = decode_image(encoded(Image.fromarray(pixels)), SIZE, resize=resize)
    picture = np.asarray(image)
    if resize == "pad":
        assert not picture[:8].any()
        assert not picture[24:].any()
        picture = picture[8:24]
    assert (picture[:, :14] == (200, 0, 0)).all()
    assert (picture[:, 18:] == 255).all()
    assert conversion.endswith("put on white from RGBA with transparency")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("resize", RESIZES)
def test_a_turned_photograph_gets_the_shape_of_what_people_see(resize: Resize, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = Image.fromarray(noise(40, 100, 3))
    upright = stored if orientation == 1 else stored.transpose(TURNS[orientation])
    image, _ = decode_image(encoded(stored, exif=exif.tobytes()), SIZE, resize=resize)
    expected = made_square(np.asarray(upright), resize)
    # A level of difference, because Pillow rounds after resizing one axis.
    np.testing.assert_allclose(np.asarray(image, np.int16), expected, atol=1)
    assert np.array_equal(np.asarray(image).any(axis=2), expected.any(axis=2))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_exif_orientation_says(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    upright = Image.fromarray(noise(SIZE, SIZE, 3))
    # As a camera that was held so would store it: turned by the inverse.
    turns = {**TURNS, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    stored = upright if orientation == 1 else upright.transpose(turns[orientation])
    image, conversion = decode_image(encoded(stored, exif=exif.tobytes()), SIZE)
    assert np.array_equal(np.asarray(image), np.asarray(upright))
    assert conversion == ("" if orientation == 1 else "turned as its EXIF orientation says")


APP1_XMP = b"http://ns.adobe.com/xap/1.0/\0"


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (png_with(chunk(b"eXIf", EXIF[6:])), "EXIF"),
        (png_with(chunk(b"eXIf", EXIF)), "EXIF"),
        (png_with(chunk(b"eXIf", EXIF[6:]), behind_the_pixels=True), "EXIF"),
        (png_with(chunk(b"eXIf", EXIF[6:], checksum=0)), "EXIF"),
        (png_with(itxt(XMP)), "XMP"),
        (png_with(itxt(XMP), behind_the_pixels=True), "XMP"),
        (png_with(itxt(XMP, packed=True)), "XMP"),
        (png_with(itxt(XMP.replace(b'"6"', b"'6'"))), "XMP"),
        (png_with(itxt(b"<tiff:Orientation>6</tiff:Orientation>")), "XMP"),
        (png_with(ztxt("Raw profile type exif", raw_profile("exif", EXIF))), "EXIF"),
        (png_with(chunk(b"tEXt", b"Raw profile type exif\0" + raw_profile("exif", EXIF))), "EXIF"),
        (png_with(ztxt("Raw profile type APP1", raw_profile("generic", EXIF))), "EXIF"),
        (png_with(ztxt("Raw profile type APP1", raw_profile("generic", APP1_XMP + XMP))), "XMP"),
        (png_with(ztxt("Raw profile type xmp", raw_profile("xmp", XMP))), "XMP"),
        (jpeg_with((0xE1, EXIF)), "EXIF"),
        (jpeg_with((0xE1, EXIF[:-8])), "nothing: the value is cut off"),
        (jpeg_with((0xE1, EXIF[:-2] + bytes(1000))), "EXIF"),
        (jpeg_with((0xE1, b"Exif\0\0not EXIF at all"), (0xE1, APP1_XMP + XMP)), "XMP"),
        (jpeg_with((0xE1, EXIF[:-4] + bytes(4)), (0xE1, APP1_XMP + XMP)), "XMP"),
        (jpeg_with((0xE1, APP1_XMP + XMP)), "XMP"),
        (encoded(Image.fromarray(noise(SIZE, SIZE, 3)), "WEBP", exif=EXIF, **WEBP_OPTIONS), "EXIF"),
        (encoded(Image.fromarray(noise(SIZE, SIZE, 3)), "WEBP", xmp=XMP, **WEBP_OPTIONS), "XMP"),
    ],
    ids=[
        "PNG, EXIF", "PNG, EXIF as in JPEG", "PNG, EXIF behind the pixels", "PNG, EXIF with a bad checksum", "PNG, XMP",
        "PNG, XMP behind the pixels", "PNG, packed XMP", "PNG, XMP in single quotes", "PNG, XMP as an element",
        "PNG, raw EXIF profile", "PNG, unpacked raw EXIF profile", "PNG, raw APP1 profile of EXIF",
        "PNG, raw APP1 profile of XMP", "PNG, raw XMP profile", "JPEG, EXIF", "JPEG, EXIF cut off",
        "JPEG, EXIF that ends in zeros", "JPEG, broken EXIF and XMP", "JPEG, EXIF of orientation 0 and XMP",
        "JPEG, XMP", "WebP, EXIF", "WebP, XMP",
    ],
)  # fmt: skip
def test_an_image_is_turned_whatever_form_its_orientation_is_stored_in(data: bytes, source: str) -> None:
    stored = noise(SIZE, SIZE, 3) if not data.startswith(b"\xff\xd8") else np.asarray(Image.open(BytesIO(JPEG)))
    image, conversion = decode_image(data, SIZE)
    if source.startswith("nothing"):
        assert np.array_equal(np.asarray(image), stored)
        assert conversion == ""
    else:
        assert np.array_equal(np.asarray(image), np.rot90(stored, -1))
        assert conversion == f"turned as its {source} orientation says"


def test_exif_goes_before_xmp() -> None:
    upright = EXIF[:-4] + struct.pack(">Hxx", 1)
    assert decode_image(jpeg_with((0xE1, APP1_XMP + XMP), (0xE1, upright)), SIZE)[1] == ""


@pytest.mark.parametrize(
    "data",
    [
        png_with(chunk(b"iCCP", b"large\0\0" + zlib.compress(bytes(20_000_000)))),
        png_with(chunk(b"iCCP", b"of another method\0\1" + bytes(99))),
        png_with(chunk(b"iCCP", b"damaged\0\0" + bytes(99), checksum=0)),
        png_with(ztxt("Comment", bytes(20_000_000))),
        png_with(ztxt("Comment", bytes(20_000_000)), behind_the_pixels=True),
        png_with(*[ztxt("Comment", bytes(1_000_000))] * 100),
        png_with(itxt(bytes(20_000_000), packed=True)),
        png_with(chunk(b"tEXt", b"Comment\0abc", checksum=0)),
        png_with(chunk(b"tIME", b"", checksum=0), chunk(b"gAMA", b""), chunk(b"cHRM", b""), chunk(b"pHYs", b"")),
        png_with(chunk(b"prVt", bytes(99), checksum=0)),
        png_with(chunk(b"tEXt", bytes(999)), behind_the_pixels=True)[:-500],
        png_with(chunk(b"eXIf", b"MM\0*")),
        PNG[:-12],
        PNG + bytes(99),
        *(jpeg_with((marker, content)) for marker in range(0xE0, 0xF0) for content in (b"", b"JFIF\0", b"Adobe")),
        jpeg_with((0xE2, b"ICC_PROFILE\0")),
        jpeg_with((0xE2, b"MPF\0no directory")),
        jpeg_with((0xED, b"Photoshop 3.0\x008BIM\4\4")),
        jpeg_with(*[(0xE1, b"Exif\0\0MM\0*" + bytes(60_000))] * 100),
        jpeg_with(*[(0xFE, bytes(65_000))] * 100),
        JPEG + bytes(999),
        JPEG[:-1],
        JPEG[:-2],
        encoded(Image.fromarray(noise(SIZE, SIZE, 3)), "WEBP", exif=EXIF[:-4] + bytes(99), **WEBP_OPTIONS)[:-50],
        encoded(Image.fromarray(noise(SIZE, SIZE, 3)), "WEBP", xmp=b"x" * 99, **WEBP_OPTIONS)[:-99],
        encoded(Image.fromarray(noise(SIZE, SIZE, 3)), "WEBP", icc_profile=bytes(5_000_000), **WEBP_OPTIONS) + bytes(9),
        encoded(Image.fromarray(noise(SIZE, SIZE, 3)), "BMP") + bytes(99),
        GIF[:-1],
        GIF[:-1] + b"!",
        GIF[:-1] + b"!\xff\x0bNETSCAPE",
        GIF[:-1] + b"," + bytes(3),
        GIF[:-1] + b"!\xfe" + (b"\xff" + bytes(255)) * 40_000 + b"\0;",
    ],
)  # fmt: skip
def test_nothing_beside_the_pixels_makes_an_image_unreadable(data: bytes) -> None:
    sound = next(each for each in (PNG, JPEG, GIF, BMP, WEBP) if each[:2] == data[:2])
    image, _ = decode_image(data, SIZE)
    assert np.array_equal(np.asarray(image), np.asarray(decode_image(sound, SIZE)[0]))


def test_of_thousands_of_packed_texts_few_are_unpacked_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = ztxt("Raw profile type exif", bytes(5_000_000))
    unpacked = Counter[str]()
    decompressobj = zlib.decompressobj

    def counted() -> object:
        unpacked["texts"] += 1
        return decompressobj()

    monkeypatch.setattr(zlib, "decompressobj", counted)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    decode_image(png_with(*[bomb] * 3000), SIZE)
    assert unpacked["texts"] == metadata.MAX_TEXTS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 100_000  # kilobytes


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_pixels_too_is_truncated(progressive: bool) -> None:
    for seed in range(10):
        data = encoded(Image.fromarray(noise(64, 64, 3, seed=seed)), "JPEG", progressive=progressive)
        for cut in (*range(4, 14), 200):
            assert "truncated" in reason(data[:-cut]) or "broken" in reason(data[:-cut])


def test_a_file_that_begins_like_an_image_but_can_not_be_opened_is_refused_with_the_cause() -> None:
    start = "is no PNG, JPEG, WEBP, GIF or BMP image that can be opened: "
    twelve_bits = JPEG.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c")
    assert reason(twelve_bits) == f"{start}cannot handle 12-bit layers"
    assert reason(PNG[:29] + bytes(4) + PNG[33:]) == f"{start}broken PNG file (bad header checksum in b'IHDR')"


def test_of_a_jpeg_with_spare_images_the_first_is_taken() -> None:
    images = [Image.fromarray(noise(SIZE, SIZE, 3, seed=seed)) for seed in range(3)]
    photograph = encoded(images[0], "MPO", save_all=True, append_images=images[1:], exif=EXIF)
    assert photograph.count(b"MPF\0") == 1
    image, conversion = decode_image(photograph, SIZE)
    alone, _ = decode_image(encoded(images[0], "JPEG"), SIZE)
    assert np.array_equal(np.asarray(image), np.rot90(np.asarray(alone), -1))
    assert conversion == "turned as its EXIF orientation says"


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
