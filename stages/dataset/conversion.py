"""Turns the bytes of one image file into RGB of the wanted size.

- What is not square becomes so in one of three ways. ``squash`` distorts it, as Keras's
  ``image_dataset_from_directory`` does by default. ``crop`` takes the largest square at its centre. ``pad`` keeps it
  whole, at the centre of a border. The border is black, as that of Keras's ``pad_to_aspect_ratio``: zeros, with which
  the convolutions pad too.
- It is turned as its EXIF or XMP orientation says, so a photograph is learnt as people see it.
- Transparent parts become white, as on a page. Without the alpha channel they would have whatever colour the drawing
  program left below it.
- 16 bits a channel become 8; see :mod:`stages.dataset.bit_depth`.
- Colour profiles and other metadata are ignored; see :mod:`stages.dataset.metadata`.
"""

from __future__ import annotations

from hashlib import blake2b
from io import BytesIO
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from stages.common.file_names import printable
from stages.dataset import bit_depth, metadata
from stages.dataset.bit_depth import FULL_DEPTH
from stages.dataset.image_bytes import UnreadableError
from stages.dataset.metadata import Orientation
from stages.splits.packed import Resize

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")  # few, because every decoder is open to attack by hostile files
MAX_PIXELS = 50_000_000  # more than most cameras give; 200 MB decoded
_TOO_LARGE = f"has more than {MAX_PIXELS:,} pixels"

# Pillow refuses to open an image of twice this limit; below that it only warns.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS

TURNS = {  # by EXIF orientation; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Converted(NamedTuple):
    """An image as RGB of the wanted size.

    Attributes:
        conversion: what was done to it; empty: nothing.
        picture: left, upper, right and lower edge of what is not border, if it has a border.
        depth: if it had 16 bits a channel.
    """

    image: Image.Image
    conversion: str
    picture: tuple[int, int, int, int] | None = None
    depth: int | None = None


def decode_image(
    data: bytes, size: int | None, depth: int = FULL_DEPTH, resize: Resize = "squash"
) -> tuple[Image.Image, str]:
    """As :func:`convert`; the image, and what was done to it, empty if nothing."""
    return convert(data, size, depth, resize)[:2]


def convert(data: bytes, size: int | None, depth: int, resize: Resize) -> Converted:
    """One image as RGB of ``size`` × ``size``.

    If ``size`` is None, the image keeps its own. Of 16 bits a channel the lower ``depth`` are used.

    Raises:
        UnreadableError: ``data`` is no single image in one of :data:`FORMATS`, or is damaged or too large.
    """
    if not data:
        raise UnreadableError("is empty")
    data, orientation = metadata.strip(data)
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableError(_TOO_LARGE)
            if _is_animated(image):
                raise UnreadableError("has several frames; save the one that is meant as a file of its own")
            deep, grey_step = bit_depth.raw_mode(image), bit_depth.grey_step(image)
            image = _load(image, data)
            if isinstance(transparent := image.info.get("transparency"), int):  # Pillow leaves it as the file has it
                image.info["transparency"] = transparent * grey_step
            if not deep:
                return _to_square_rgb(image, size, resize, orientation)
            own = bit_depth.depth_of(image)
            shallow = bit_depth.to_eight_bits(image, data, deep, depth)
            converted = _to_square_rgb(shallow, size, resize, orientation, image.mode)
            taken = bit_depth.description(depth, own)
            conversion = f"{converted.conversion}, {taken}" if converted.conversion else taken
            return converted._replace(conversion=conversion, depth=own)
    except UnreadableError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableError(_TOO_LARGE) from None
    except UnidentifiedImageError:
        raise UnreadableError(_why_not_identified(data)) from None
    except Exception as error:  # of a damaged file decoders raise anything, IndexError and struct.error too
        raise UnreadableError(f"can't be decoded: {printable(str(error)) or type(error).__name__}") from error


def _is_animated(image: ImageFile) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a GIF is damaged after its first frame
        return False


def _load(image: ImageFile, data: bytes) -> ImageFile:
    """Load the pixels of ``image``, just opened from ``data``."""
    try:
        image.load()
        return image
    except OSError:
        if image.format != "JPEG":
            raise
        image.close()
        # Some JPEGs lack only the end marker. If the picture is the same with any filler at the end, no pixel is
        # missing. Of 6,000 JPEGs that lacked a byte more, these three fillers accepted none, but two accepted 113.
        if len({_digest(_load_with_end(data, filler)) for filler in (b"\x00", b"\x55", b"\xaa")}) > 1:
            raise
        return _load_with_end(data, b"\x00")


def _load_with_end(data: bytes, filler: bytes) -> ImageFile:
    image = Image.open(BytesIO(data.removesuffix(b"\xff") + 100 * filler + b"\xff\xd9"), formats=("JPEG",))
    image.load()
    return image


def _digest(image: Image.Image) -> bytes:
    digest = blake2b()
    for box in bit_depth.strips(image):
        digest.update(image.crop(box).tobytes())
    return digest.digest()


def _why_not_identified(data: bytes) -> str:
    reason = f"is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"
    for kind in FORMATS:
        open_image, is_of_kind = Image.OPEN[kind]
        if is_of_kind and is_of_kind(data[:16]) is True:
            try:
                open_image(BytesIO(data), "")
            except Exception as error:
                return f"{reason} that can be opened: {printable(str(error))}"
    return reason


def _to_square_rgb(
    image: Image.Image, size: int | None, resize: Resize, orientation: Orientation, stored_mode: str | None = None
) -> Converted:
    """``image`` as :func:`convert` returns it; its file has ``stored_mode``, by default the image's own."""
    mode, (width, height), turned = stored_mode or image.mode, image.size, orientation.value in TURNS
    transparent = image.has_transparency_data
    if mode == "RGB" and width == height == size and not turned and not transparent:
        return Converted(image, "")
    done = []
    # Convert before resizing only modes that can't be interpolated; convert the rest on the smaller image.
    if transparent:
        image = image.convert("RGBA")
    elif mode in {"P", "1"}:
        image = image.convert("RGB")
    if size is not None and (width, height) != (size, size):
        image, how = _resize(image, size, resize)
        done.append(f"{how} from {width}x{height}")
    if turned:
        done.append(f"turned as its {orientation.source} orientation says")
        image = image.transpose(TURNS[orientation.value])
    if transparent:
        done.append(f"put on white from {mode} with transparency")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif mode != "RGB":
        done.append(f"converted from mode {mode}")
    image, picture = image.convert("RGB"), None
    if size is not None and image.size != (size, size):
        # Only now, when turned, converted and opaque, so that the border is centred and black whatever the file's mode.
        left, upper = (size - image.width) // 2, (size - image.height) // 2
        picture = (left, upper, left + image.width, upper + image.height)
        square = Image.new("RGB", (size, size), "black")
        square.paste(image, picture)
        image = square
    return Converted(image, ", ".join(done), picture)


def _resize(image: Image.Image, size: int, resize: Resize) -> tuple[Image.Image, str]:
    """``image`` in ``size`` × ``size``, or within it if it is still to be padded, and what becomes of it in words."""
    width, height = image.size
    target, done = (size, size), []
    if resize == "crop" and width != height:
        # At whole pixels. ImageOps.fit cuts at halves too, which blurs an image that is only cropped.
        side = min(width, height)
        left, upper = (width - side) // 2, (height - side) // 2
        image = image.crop((left, upper, left + side, upper + side))
        done.append("cropped")
    elif resize == "pad" and width != height:
        # At least a pixel. ImageOps.contain fails for an image that would be thinner.
        longest = max(width, height)
        target = (max(1, round(width * size / longest)), max(1, round(height * size / longest)))
        if target != (size, size):
            done.append("padded")
    if image.size != target:
        image = image.resize(target, Image.Resampling.BILINEAR)
        done.append("resized")
    return image, " and ".join(done)
