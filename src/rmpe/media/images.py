"""Image files to arrays and back: whatever the file holds, an image is RGB uint8 ``(H, W, 3)``."""

import logging
import os
from collections.abc import Iterable, Iterator
from importlib import import_module
from numbers import Integral
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from rmpe.atomic import atomic
from rmpe.errors import ImageError, OutputError, UsageError
from rmpe.extras import install_command
from rmpe.media.arrays import ChannelOrder, Image, image_from_array, type_name
from rmpe.media.headers import (
    SIZES,
    has_pages,
    is_animated,
    jpeg_is_whole,
    kind_of,
    png_is_whole,
    size_of,
)

logger = logging.getLogger(__name__)

# Most pixels of a picture, twice what Pillow warns at: three bytes each are half a gigabyte. The
# environment variable names another number.
MAX_PIXELS = 178_956_970
MAX_PIXELS_VARIABLE = "RMPE_MAX_PIXELS"
# Most bytes of an image file.
MAX_BYTES = 2**30

# Another file type cannot be guessed from the suffix, so folders are searched for these only.
SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".gif",
        ".webp",
        ".tif",
        ".tiff",
        ".bmp",
        ".dib",
        ".jp2",
    }
    | {".pbm", ".pgm", ".ppm", ".avif", ".heic", ".heif"}
)


def as_image(thing: Any, color: ChannelOrder = "rgb") -> Image:
    """Whatever a caller means by an image: a file, or a picture in memory.

    Args:
        thing: Path, bytes, file object, Pillow image, PyTorch tensor or array.
        color: Order of the colour channels of arrays and tensors.

    Returns:
        RGB uint8 ``(H, W, 3)``; the array itself if it is that already.

    Raises:
        ImageError: If it cannot be meant as one image.
    """
    if isinstance(thing, str | os.PathLike | bytes | bytearray | memoryview) or _is_file(thing):
        return read_image(thing)
    return image_from_array(thing, color)


def as_images(things: Iterable[Any], color: ChannelOrder = "rgb") -> Iterator[Image]:
    """`as_image` of each, one at a time; an error says which one it was.

    Raises:
        ImageError: If one of them cannot be meant as an image.
    """
    for number, thing in enumerate(things):
        try:
            image = as_image(thing, color)
        except ImageError as error:
            raise ImageError(f"image {number} of the list: {error}") from error
        yield image


def read_image(source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO) -> Image:
    """Read an image file.

    EXIF rotation is applied, grey, palette and CMYK become RGB, 16 bits become 8 (the high byte),
    transparency is dropped, and of an animation the first frame is taken (a warning is logged). See
    ``docs/formats.md``.

    Args:
        source: The file, the bytes of one, or a file object opened in binary mode. The suffix does
            not matter, the contents do.

    Returns:
        RGB uint8 ``(H, W, 3)``, contiguous.

    Raises:
        ImageError: If the file cannot be read, is not an image, is damaged or truncated, has more
            than `MAX_PIXELS` pixels, or has no decoder.
        UsageError: If the environment names another limit that is no number.
    """
    return decode_image(*_contents(source))


def decode_image(name: str, data: bytes) -> Image:
    """`read_image` of the bytes of a file that messages call ``name``."""
    if not data:
        raise ImageError(f"{name}: the file is empty")
    kind = kind_of(data)
    if kind == "HEIC":
        return _decode_heic(name, data)
    if kind is None or kind not in SIZES:
        raise ImageError(f"{name}: {_why_not(kind, animated=False)}")
    if kind == "JPEG" and not jpeg_is_whole(data):
        raise ImageError(
            f"{name}: truncated JPEG, the end of the picture is missing; copy or download it again"
        )
    if kind == "PNG" and not png_is_whole(data):
        raise ImageError(f"{name}: damaged or truncated PNG")
    animated = is_animated(kind, data)
    size = size_of(kind, data)
    if size is None:
        raise ImageError(f"{name}: {_why_not(kind, animated=animated)}")
    if size[0] * size[1] > (limit := _max_pixels()):
        raise ImageError(
            f"{name}: {size[1]} x {size[0]} pixels, more than {limit} in all; make it smaller, or"
            f" set {MAX_PIXELS_VARIABLE} if the file can be trusted"
        )
    try:
        # Not IMREAD_COLOR_RGB: it is newer than OpenCV 4.9 and leaves AVIF with transparency in
        # BGR.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"{name}: cannot decode this {kind}: {error.err or error.code}") from error
    if image is None:
        raise ImageError(f"{name}: {_why_not(kind, animated=animated)}")
    if animated:
        logger.warning("%s: animated %s, only its first frame is used", name, kind)
    elif kind == "TIFF" and has_pages(data):
        logger.warning("%s: TIFF of several pages, only the first is used", name)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), np.uint8)


def save_image(path: str | Path, image: Any, quality: int = 92) -> None:
    """Write an image file atomically, making its folder if need be.

    Args:
        path: The file; its suffix chooses the format (``.jpg``, ``.png`` or another that OpenCV
            writes).
        image: RGB uint8 ``(H, W, 3)``, or anything else that `image_from_array` takes; not changed.
        quality: JPEG quality, 1 to 100.

    Raises:
        ImageError: If ``image`` is not an image.
        OutputError: If ``path`` is none, the suffix or the quality is unknown, or the file cannot
            be written.
    """
    if not isinstance(path, str | os.PathLike) or "\0" in str(path):
        raise OutputError(f"{path!r}: not the path of a file; name one, such as drawn.jpg")
    asked: Any = quality  # whoever calls may err
    if not isinstance(asked, Integral) or not 1 <= int(asked) <= 100:
        raise OutputError(f"{path}: quality = {quality!r} is not a whole number from 1 to 100")
    path = Path(path)
    pixels = image_from_array(image)
    options = (
        [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix.lower() in {".jpg", ".jpeg"} else []
    )
    try:
        done, encoded = cv2.imencode(path.suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    except cv2.error as error:
        raise OutputError(
            f"{path}: cannot write images as {path.suffix or 'no suffix'!r}; use .jpg or .png"
        ) from error
    if not done:
        sides = f"{pixels.shape[1]} x {pixels.shape[0]} pixels"
        raise OutputError(f"{path}: {sides} do not fit into this format; use .png")
    with atomic(path) as file:
        file.write(encoded.data)


def _decode_heic(name: str, data: bytes) -> Image:
    """The first picture of a HEIC file, turned as it says."""
    try:
        heif = import_module("pillow_heif")
    except ImportError as error:
        raise ImageError(
            f"{name}: a HEIC picture needs: {install_command('heic')}; or convert it to JPEG"
        ) from error
    try:
        found = heif.open_heif(data, convert_hdr_to_8bit=True)
        width, height = found.size
        if width * height > (limit := _max_pixels()):
            raise ImageError(
                f"{name}: {width} x {height} pixels, more than {limit} in all; make it smaller, or"
                f" set {MAX_PIXELS_VARIABLE} if the file can be trusted"
            )
        # Turns and mirrors of the file are applied by the decoder.
        return image_from_array(np.asarray(found))
    except (ValueError, RuntimeError, OSError, SyntaxError, EOFError) as error:
        raise ImageError(f"{name}: cannot decode this HEIC: {error}") from error


def _max_pixels() -> int:
    text = os.environ.get(MAX_PIXELS_VARIABLE, str(MAX_PIXELS))
    if not text.isdecimal():
        raise UsageError(f"{MAX_PIXELS_VARIABLE} is {text!r}, not a number of pixels")
    return int(text)


def _contents(source: Any) -> tuple[str, bytes]:
    """What to call the source in messages, and its bytes.

    Raises:
        ImageError: If it cannot be read, is too large, or no regular file.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        name = f"image in memory ({len(source)} bytes)"
        data = bytes(source)
    elif _is_file(source):
        name = str(getattr(source, "name", "") or "image from a file object")
        try:
            data = source.read()
        except (OSError, ValueError) as error:
            raise ImageError(f"{name}: cannot read the file: {error}") from error
        if not isinstance(data, bytes):
            raise ImageError(f"{name}: opened as text; open it with mode 'rb'")
    elif not isinstance(source, str | os.PathLike):
        decoded = hasattr(source, "__array__") or hasattr(source, "__array_interface__")
        hint = "; it is a picture already: pass it on as it is" if decoded else ""
        raise ImageError(
            f"a picture is read from a path, bytes or a file object, this is {type_name(source)}"
            f"{hint}"
        )
    else:
        path = Path(os.fsdecode(source))
        name = str(path)
        data, _ = read_file(path)
    return name, data


def read_file(path: Path) -> tuple[bytes, os.stat_result]:
    """The bytes of a picture file, and what the system knew of it when they were read.

    Raises:
        ImageError: If it cannot be read, is too large, or is no regular file.
    """
    # Not cv2.imread: on Windows it cannot open paths with characters outside the code page.
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ImageError(f"{path}: not a regular file (a pipe or a device)")
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size > MAX_BYTES:
                raise ImageError(
                    f"{path}: larger than {MAX_BYTES >> 20} MiB, too large for a picture"
                )
            return file.read(), status
    except (OSError, ValueError) as error:  # ValueError: a zero character in the name
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path}: cannot read the file: {reason}") from error


def _is_file(thing: Any) -> bool:
    return callable(getattr(thing, "read", None))


def _why_not(kind: str | None, *, animated: bool) -> str:
    if kind is None:
        return "not an image of a known kind"
    if kind == "video":
        return "a video, not an image; use rmpe track"
    if kind in {"AVIF", "GIF"} or animated:
        missing = f"animated {kind}" if animated else kind
        return (
            f"damaged, or this OpenCV ({cv2.__version__}) has no {missing} decoder; convert it to"
            " JPEG or PNG, or install opencv-python-headless 4.12 or newer"
        )
    if kind == "TIFF":
        return (
            "damaged or truncated TIFF, or of 32 bits or floating point; save it with 8 or 16 bits"
        )
    return f"damaged or truncated {kind}"
