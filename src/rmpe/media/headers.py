"""The first bytes of image files: what kind a file is and how many pixels it promises.

The size is read before anything is decoded, because a decoder reserves memory for all pixels that
a header promises, and a file of a hundred bytes can promise billions.
"""

import re
import struct
from collections.abc import Callable, Iterator
from itertools import islice

Size = tuple[int, int]  # height, width

# Kind of file: what its first bytes look like, whatever its suffix.
SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8[79]a",
    "WebP": rb"RIFF....WEBP",
    "TIFF": rb"II\*\0|MM\0\*|II\+\0|MM\0\+",
    "BMP": rb"BM",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "PNM": rb"P[1-6][\s#]",
    "AVIF": rb"....ftypavi[fs]",
    "HEIC": rb"....ftyp(hei[cfmsx]|hev[cmsx]|mif1|msf1)",
    "video": rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI |OggS|FLV\x01|\0\0\x01\xba|(G.{187}){2}G",
}
SIGNATURE_LENGTH = 2 * 188 + 1  # three packets of an MPEG transport stream

# Bytes a number of each TIFF field type takes, and how struct reads it, where it can be a size.
TIFF_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
TIFF_SUBFILE = 254
TIFF_COPY = 1  # bit of it: a smaller copy of another picture
# Pictures looked at: copies halve, so there are fewer of them; a damaged file may lead in circles.
TIFF_MOST = 16
TIFF_WIDTH = 256
TIFF_HEIGHT = 257
TIFF_SAMPLES = 277
TIFF_TILE_WIDTH = 322
TIFF_TILE_HEIGHT = 323

# JPEG markers that begin a frame header, which holds the size (all SOFn but DHT, JPG and DAC).
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_START_OF_SCAN = 0xDA
JPEG_WITHOUT_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01}

PNM_SIZE = re.compile(rb"P[1-6](?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)")


def kind_of(data: bytes) -> str | None:
    """What kind of file begins like this: a key of `SIGNATURES`, or ``None``."""
    head = data[:SIGNATURE_LENGTH]
    return next(
        (kind for kind, pattern in SIGNATURES.items() if re.match(pattern, head, re.DOTALL)), None
    )


def size_of(kind: str, data: bytes) -> Size | None:
    """The (height, width) that the file's header promises.

    Args:
        kind: A key of `SIGNATURES`.
        data: The file.

    Returns:
        The size, the largest one where several pictures or tiles have their own; ``None`` if the
        header is damaged or cut off.
    """
    try:
        return SIZES[kind](data)
    except (struct.error, IndexError, OverflowError):  # overflow: a place beyond 2^63
        return None


def jpeg_is_whole(data: bytes) -> bool:
    """Whether an end marker follows the first scan.

    Some versions of OpenCV fill what is missing with grey without a word. Headers are stepped over
    because a thumbnail inside them has an end marker of its own; bytes after the end marker are
    legal and common.
    """
    return any(
        marker == JPEG_START_OF_SCAN and data.rfind(b"\xff\xd9") > position
        for marker, position in _jpeg_markers(data)
    )


def png_is_whole(data: bytes) -> bool:
    """Whether every chunk lies inside the file, up to the end chunk or the end of the file.

    A decoder may reserve as many bytes as a damaged chunk claims to have: 4 GB.
    """
    position = 8
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        position += 12 + length
        if position > len(data):
            return False
        if name == b"IEND":
            return True
    return position == len(data)


def is_animated(kind: str, data: bytes) -> bool:
    """Whether a GIF, PNG or WebP is made to move."""
    if kind == "GIF":
        return _has_two_frames(data)
    if kind == "PNG":
        return b"acTL" in data[: data.find(b"IDAT")]
    return kind == "WebP" and data[12:16] == b"VP8X" and bool(data[20:21]) and bool(data[20] & 0b10)


def has_pages(tiff: bytes) -> bool:
    """Whether in a TIFF a picture follows the first that is not a smaller copy of it."""
    try:
        pages = islice(_tiff_directories(tiff), 1, TIFF_MOST)
        return any(not tags.get(TIFF_SUBFILE, 0) & TIFF_COPY for tags in pages)
    except (struct.error, OverflowError):  # the file ends early
        return False


def _has_two_frames(gif: bytes) -> bool:
    """Whether a GIF goes on with a picture after the first; block by block."""

    def table(flags: int) -> int:
        return 3 << (flags % 8 + 1) if flags & 0x80 else 0

    frames = 0
    try:
        place = 13 + table(gif[10])
        while frames < 2 and gif[place] in b"!,":
            if gif[place] == ord(","):
                frames += 1
                place += 11 + table(gif[place + 9])
            else:
                place += 2
            while gif[place]:
                place += 1 + gif[place]
            place += 1
    except IndexError:  # the file ends early
        pass
    return frames >= 2


def _jpeg_markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Markers up to the first scan, each with the place right after it."""
    position = 2
    while (position := data.find(b"\xff", position)) >= 0:
        while data[position : position + 1] == b"\xff":  # fill bytes before a marker
            position += 1
        if position >= len(data):
            return
        marker = data[position]
        position += 1
        yield marker, position
        if marker == JPEG_START_OF_SCAN:
            return
        if marker not in JPEG_WITHOUT_LENGTH and marker != 0:
            position += int.from_bytes(data[position : position + 2], "big")


def _jpeg(data: bytes) -> Size | None:
    sizes = [
        struct.unpack_from(">HH", data, position + 3)
        for marker, position in _jpeg_markers(data)
        if marker in JPEG_FRAMES
    ]
    return max(sizes, key=_pixels, default=None)


def _png(data: bytes) -> Size | None:
    if data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def _gif(data: bytes) -> Size:
    width, height = struct.unpack_from("<HH", data, 6)
    return height, width


def _webp(data: bytes) -> Size | None:
    name = data[12:16]
    if len(data) < 30:
        return None
    if name == b"VP8X":
        height, width = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (27, 24))
        return height, width
    if name == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return (height & 0x3FFF, width & 0x3FFF) if name == b"VP8 " else None


def _bmp(data: bytes) -> Size:
    header = struct.unpack_from("<I", data, 14)[0]
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return abs(height), abs(width)


def _tiff(data: bytes) -> Size | None:
    """Size of the first picture or of its tiles, whichever is larger; wider by channels above 4."""
    found = next(_tiff_directories(data), {})
    if TIFF_WIDTH not in found or TIFF_HEIGHT not in found:
        return None
    tile = found.get(TIFF_TILE_HEIGHT, 0), found.get(TIFF_TILE_WIDTH, 0)
    channels = -(-found.get(TIFF_SAMPLES, 1) // 4)
    height, width = max((found[TIFF_HEIGHT], found[TIFF_WIDTH]), tile, key=_pixels)
    return height, width * channels


def _tiff_directories(data: bytes) -> Iterator[dict[int, int]]:
    """The numbers of each picture of a TIFF, by their tags."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in {b"+\0", b"\0+"}
    offset, entry = order + ("Q" if big else "I"), 20 if big else 12
    start = struct.unpack_from(offset, data, 8 if big else 4)[0]
    while start:
        count = struct.unpack_from(order + ("Q" if big else "H"), data, start)[0]
        first = start + (8 if big else 2)
        end = first + count * entry
        found: dict[int, int] = {}
        for place in range(first, min(end, len(data) - entry + 1), entry):
            tag, kind = struct.unpack_from(order + "HH", data, place)
            if kind in TIFF_NUMBERS:
                value = struct.unpack_from(order + TIFF_NUMBERS[kind], data, place + entry // 2 + 2)
                found.setdefault(tag, value[0])
        yield found
        start = struct.unpack_from(offset, data, end)[0]


def _jpeg2000(data: bytes) -> Size | None:
    place = data.find(b"\xff\x4f\xff\x51")  # the codestream's size marker
    if place < 0:
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", data, place + 8)
    return bottom - top, right - left


def _pnm(data: bytes) -> Size | None:
    found = PNM_SIZE.match(data)
    return (int(found[2][:20]), int(found[1][:20])) if found else None


def _avif(data: bytes) -> Size | None:
    """The largest of the image spatial extents; tiles of a grid are smaller than the whole."""
    sizes = [
        struct.unpack_from(">II", data, place.start() + 8) for place in re.finditer(b"ispe", data)
    ]
    largest = max(sizes, key=_pixels, default=None)
    return largest and (largest[1], largest[0])


def _pixels(size: Size) -> int:
    return size[0] * size[1]


SIZES: dict[str, Callable[[bytes], Size | None]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "WebP": _webp,
    "TIFF": _tiff,
    "BMP": _bmp,
    "JPEG 2000": _jpeg2000,
    "PNM": _pnm,
    "AVIF": _avif,
}
