"""The size that an image file declares, read from its header without decoding it."""

import re
import struct
from collections.abc import Callable

from rmpe.errors import ImageError

Size = tuple[int, int]


def image_size(data: bytes) -> Size:
    """(height, width) in pixels as the file declares them.

    Raises:
        ImageError: If the kind of file is unknown or the header ends too early.
    """
    for pattern, read in READERS:
        if re.match(pattern, data[:32], re.DOTALL):
            try:
                return read(data)
            except (struct.error, IndexError, ValueError) as error:
                raise ImageError("photo: damaged or truncated header") from error
    raise ImageError("photo: not an image of a known kind")


def is_image(data: bytes) -> bool:
    """Whether the first bytes are those of a kind of image that is read here."""
    return any(re.match(pattern, data[:32], re.DOTALL) for pattern, _ in READERS)


def _unpack(form: str, data: bytes, at: int) -> tuple[int, ...]:
    return struct.unpack_from(form, data, at)


def _png(data: bytes) -> Size:
    width, height = _unpack(">II", data, 16)
    return height, width


def _jpeg(data: bytes) -> Size:
    at = 2
    while True:
        if data[at] != 0xFF:
            raise ValueError("no marker")
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = _unpack(">HH", data, at + 5)
            return height, width
        else:
            at += 2 + _unpack(">H", data, at + 2)[0]


def _gif(data: bytes) -> Size:
    width, height = _unpack("<HH", data, 6)
    return height, width


def _bmp(data: bytes) -> Size:
    if _unpack("<I", data, 14)[0] == 12:
        width, height = _unpack("<HH", data, 18)
        return height, width
    width, height = _unpack("<ii", data, 18)
    return abs(height), abs(width)


def _webp(data: bytes) -> Size:
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        return height, width
    if kind == b"VP8L":
        bits = _unpack("<I", data, 21)[0]
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    width, height = _unpack("<HH", data, 26)
    return height & 0x3FFF, width & 0x3FFF


def _tiff(data: bytes) -> Size:
    order = "<" if data[:2] == b"II" else ">"
    directory = _unpack(order + "I", data, 4)[0]
    sides = {}
    for entry in range(_unpack(order + "H", data, directory)[0]):
        at = directory + 2 + 12 * entry
        tag, kind = _unpack(order + "HH", data, at)
        if tag in {256, 257}:
            sides[tag] = _unpack(order + ("H" if kind == 3 else "I"), data, at + 8)[0]
    if len(sides) < 2:
        raise ValueError("no size")
    return sides[257], sides[256]


def _jpeg2000(data: bytes) -> Size:
    if (box := data.find(b"ihdr", 0, 4096)) >= 0:
        height, width = _unpack(">II", data, box + 4)
        return height, width
    if (marker := data.find(b"\xff\x51", 0, 4096)) < 0:
        raise ValueError("no size")
    right, bottom, left, top = _unpack(">IIII", data, marker + 6)
    return bottom - top, right - left


def _avif(data: bytes) -> Size:
    """The largest of all pictures in the file: which one is shown is written elsewhere."""
    sizes = [_unpack(">II", data, match.end() + 4) for match in re.finditer(b"ispe", data[:65536])]
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return height, width


READERS: tuple[tuple[bytes, Callable[[bytes], Size]], ...] = (
    (rb"\xff\xd8\xff", _jpeg),
    (rb"\x89PNG\r\n\x1a\n", _png),
    (rb"GIF8[79]a", _gif),
    (rb"RIFF....WEBP", _webp),
    (rb"II\*\0|MM\0\*", _tiff),
    (rb"BM", _bmp),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", _jpeg2000),
    (rb"....ftyp(avi[fs]|mif1|msf1)", _avif),
)
