"""Image files to arrays and back: whatever the file holds, an image is RGB uint8 ``(H, W, 3)``."""

import logging
import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpe.errors import ImageError, OutputError
from rmpe.write.atomic import atomic

logger = logging.getLogger(__name__)

# Kind of file: what its first bytes look like (any extension), for decoding rules and for error
# messages.
SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8[79]a",
    "WebP": rb"RIFF....WEBP",
    "TIFF": rb"II\*\0|MM\0\*",
    "BMP": rb"BM",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "AVIF": rb"....ftypavi[fs]",
    "HEIC": rb"....ftyp(hei[cfmsx]|hev[cmsx]|mif1|msf1)",
}
SIGNATURE_LENGTH = 12

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

# One per frame: a graphic control extension followed by an image or by another extension.
GIF_FRAME = re.compile(rb"!\xf9\x04.{4}\0[,!]", re.DOTALL)


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read an image file.

    EXIF rotation is applied, grey, palette and CMYK become RGB, 16 bits become 8 (the high byte),
    transparency is dropped, and of an animation the first frame is taken (a warning is logged). See
    ``docs/formats.md``.

    Args:
        path: The file; its suffix does not matter, its contents do.

    Returns:
        RGB uint8 ``(H, W, 3)``, contiguous.

    Raises:
        ImageError: If the file cannot be read, is not an image, is damaged or truncated, or has no
            decoder.
    """
    path = Path(path)
    try:
        # Not cv2.imread: on Windows it cannot open paths with characters outside the code page.
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot read the file: {error.strerror or error}") from error
    if not data:
        raise ImageError(f"{path}: the file is empty")
    kind = _kind(data)
    if kind == "JPEG" and not _jpeg_is_whole(data):
        raise ImageError(
            f"{path}: truncated JPEG, the end of the picture is missing; copy or download it again"
        )
    try:
        # Not IMREAD_COLOR_RGB: it is newer than OpenCV 4.9 and leaves AVIF with transparency in
        # BGR.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(
            f"{path}: cannot decode this {kind or 'file'}: {error.err or error.code}"
        ) from error
    if image is None:
        raise ImageError(f"{path}: {_why_not(kind, _is_animated(kind, data))}")
    if _is_animated(kind, data):
        logger.warning("%s: animated %s, only its first frame is used", path, kind)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), np.uint8)


def save_image(path: str | Path, image: NDArray[np.uint8], quality: int = 92) -> None:
    """Write an image file atomically, making its folder if need be.

    Args:
        path: The file; its suffix chooses the format (``.jpg``, ``.png`` or another that OpenCV
            writes).
        image: RGB uint8 ``(H, W, 3)``; not changed.
        quality: JPEG quality, 1 to 100.

    Raises:
        OutputError: If the suffix is unknown or the file cannot be written.
    """
    path = Path(path)
    options = (
        [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix.lower() in {".jpg", ".jpeg"} else []
    )
    try:
        _, encoded = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    except cv2.error as error:
        raise OutputError(
            f"{path}: cannot write images as {path.suffix or 'no suffix'!r}; use .jpg or .png"
        ) from error
    with atomic(path) as file:
        file.write(encoded.data)


def _kind(data: bytes) -> str | None:
    head = data[:SIGNATURE_LENGTH]
    return next(
        (kind for kind, pattern in SIGNATURES.items() if re.match(pattern, head, re.DOTALL)), None
    )


def _jpeg_is_whole(data: bytes) -> bool:
    """Whether an end marker follows the first scan.

    Some versions of OpenCV fill what is missing with grey without a word. Headers are stepped over
    because a thumbnail inside them has an end marker of its own; bytes after the end marker are
    legal and common.
    """
    position = 2
    while (position := data.find(b"\xff", position)) >= 0:
        while data[position : position + 1] == b"\xff":  # fill bytes before a marker
            position += 1
        if data[position : position + 1] == b"\xda":  # start of scan
            return data.rfind(b"\xff\xd9") > position
        position += 1 + int.from_bytes(data[position + 1 : position + 3], "big")
    return False


def _is_animated(kind: str | None, data: bytes) -> bool:
    if kind == "GIF":
        frames = GIF_FRAME.finditer(data)
        return next(frames, None) is not None and next(frames, None) is not None
    return kind == "WebP" and data[12:16] == b"VP8X" and bool(data[20] & 0b10)


def _why_not(kind: str | None, animated: bool) -> str:
    if kind is None:
        return "not an image of a known kind"
    if kind == "HEIC":
        return "HEIC pictures are not supported; convert it to JPEG or PNG"
    if kind in {"AVIF", "GIF"} or animated:
        missing = f"animated {kind}" if animated else kind
        return (
            f"damaged, or this OpenCV ({cv2.__version__}) has no {missing} decoder; convert it to JPEG or PNG,"
            " or install opencv-python-headless 4.12 or newer"
        )
    return f"damaged or truncated {kind}"
