"""The doors of pictures and videos: what a camera, a download or an attacker may leave there."""

import io
import random
import struct
import tempfile
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .driver import Kind

EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
SIDE = (60, 84)


def broken(generator: random.Random, data: bytes) -> bytes:
    """A file with one to six faults: bits, numbers, missing, doubled and foreign parts."""
    changed = bytearray(data)
    for _ in range(generator.choice((1, 1, 1, 2, 3, 6))):
        if not changed:
            break
        # Headers are where the numbers stand that a decoder believes.
        near = generator.random() < 0.6
        place = generator.randrange(min(len(changed), 200) if near else len(changed))
        match generator.randrange(8):
            case 0:
                changed[place] ^= 1 << generator.randrange(8)
            case 1:
                changed[place] = generator.randrange(256)
            case 2 | 3:
                size = generator.choice((1, 2, 4))
                order = generator.choice(("little", "big"))
                number = generator.choice((*EXTREMES, generator.getrandbits(32)))
                changed[place : place + size] = (number % 256**size).to_bytes(size, order)  # type: ignore[arg-type]
            case 4:
                del changed[place:]
            case 5:
                del changed[place : place + generator.randrange(1, 40)]
            case 6:
                part = changed[place : place + generator.randrange(1, 80)]
                changed[place:place] = part * generator.choice((1, 1, 3))
            case 7:
                length = generator.randrange(1, 60)
                changed[place : place + length] = generator.randbytes(length)
    return bytes(changed)


def broken_png(generator: random.Random, data: bytes) -> bytes:
    """As `broken`; often with right check sums, so that the fault is not found at once."""
    changed = bytearray(broken(generator, data))
    if generator.random() < 0.7:
        place = 8
        while place + 12 <= len(changed):
            (length,) = struct.unpack_from(">I", changed, place)
            end = place + 8 + length
            if end + 4 > len(changed):
                break
            struct.pack_into(">I", changed, end, zlib.crc32(changed[place + 4 : end]))
            place = end + 4
    return bytes(changed)


def _picture() -> Any:
    from PIL import Image

    rows, columns = np.mgrid[: SIDE[0], : SIDE[1]]
    colors = np.stack([columns * 3, rows * 4, 255 - columns], axis=-1).astype(np.uint8)
    return Image.fromarray(colors)


def _saved(picture: Any, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _jpeg() -> Sequence[bytes]:
    from PIL import Image

    picture = _picture()
    turned = Image.Exif()
    turned[0x0112] = 6
    return [
        _saved(picture, "JPEG"),
        _saved(picture, "JPEG", progressive=True),
        _saved(picture, "JPEG", exif=turned),
        _saved(picture.convert("L"), "JPEG"),
        _saved(picture.convert("CMYK"), "JPEG"),
    ]


def _png() -> Sequence[bytes]:
    picture = _picture()
    deep = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    from PIL import Image

    return [
        _saved(picture, "PNG"),
        _saved(picture.convert("RGBA"), "PNG"),
        _saved(picture.convert("P"), "PNG", bits=4),
        _saved(picture.convert("1"), "PNG"),
        _saved(picture.convert("LA"), "PNG"),
        _saved(Image.fromarray(deep), "PNG"),
        _saved(picture, "PNG", save_all=True, append_images=[picture.rotate(90)]),
    ]


def _webp() -> Sequence[bytes]:
    picture = _picture()
    return [
        _saved(picture, "WEBP"),
        _saved(picture, "WEBP", lossless=True),
        _saved(picture.convert("RGBA"), "WEBP", exact=True),
        _saved(picture, "WEBP", save_all=True, append_images=[picture.rotate(90)]),
    ]


def _tiff() -> Sequence[bytes]:
    picture = _picture()
    return [
        _saved(picture, "TIFF"),
        *(
            _saved(picture, "TIFF", compression=name)
            for name in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")
        ),
        _saved(picture.convert("1"), "TIFF", compression="group4"),
        _saved(picture.convert("P"), "TIFF"),
        _saved(picture.convert("RGBA"), "TIFF", big_tiff=True),
        _saved(picture, "TIFF", save_all=True, append_images=[picture]),
    ]


def _gif() -> Sequence[bytes]:
    picture = _picture()
    return [
        _saved(picture, "GIF"),
        _saved(picture, "GIF", save_all=True, append_images=[picture.rotate(90)], duration=50),
    ]


def _bmp() -> Sequence[bytes]:
    picture = _picture()
    return [_saved(picture.convert(mode), "BMP") for mode in ("RGB", "L", "1", "P", "RGBA")]


def _others() -> Sequence[bytes]:
    picture = _picture()
    return [
        _saved(picture, "PPM"),
        _saved(picture.convert("L"), "PPM"),
        _saved(picture, "JPEG2000"),
    ]


def _read_image(folder: Path, data: bytes) -> None:
    from rmpe.errors import RmpeError
    from rmpe.media.images import read_image

    path = folder / "mutated.jpg"  # its suffix does not matter
    path.write_bytes(data)
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.ndim == 3
    try:
        again = read_image(data)
    except RmpeError as error:
        raise AssertionError("bytes are refused where the file is read") from error
    assert again.shape == image.shape


def image_kinds() -> list[Kind]:
    """Doors that read pictures."""
    formats: dict[str, tuple[Callable[[], Sequence[bytes]], Callable[..., bytes]]] = {
        "jpeg": (_jpeg, broken),
        "png": (_png, broken_png),
        "webp": (_webp, broken),
        "tiff": (_tiff, broken),
        "gif": (_gif, broken),
        "bmp": (_bmp, broken),
        "pnm, jpeg 2000": (_others, broken),
    }
    return [Kind(name, seeds, mutate, _read_image) for name, (seeds, mutate) in formats.items()]


def _clip(suffix: str, codec: str, sound: str) -> bytes:
    import av

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clip.{suffix}"
        picture = np.asarray(_picture())
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=10)
            stream.width, stream.height, stream.pix_fmt = SIDE[1], SIDE[0], "yuv420p"
            if sound:
                track = container.add_stream(sound, rate=44100, layout="mono")
            for number in range(12):
                shifted = np.roll(picture, 3 * number, axis=1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(shifted, format="rgb24")))
            container.mux(stream.encode(None))
            if sound:
                silence = np.zeros((1, 1152), np.int16)
                for _ in range(20):
                    block = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
                    block.sample_rate = 44100
                    container.mux(track.encode(block))
                container.mux(track.encode(None))
        return path.read_bytes()


def _clips(suffix: str) -> Sequence[bytes]:
    return [
        _clip(suffix, codec, sound)
        for codec, sound in (("libx264", "aac"), ("mpeg4", "mp2"), ("libx264", ""))
    ]


def _read_video(suffix: str, folder: Path, data: bytes) -> None:
    from rmpe.media.video import Video
    from rmpe.media.video_writer import VideoWriter

    path = folder / f"mutated.{suffix}"
    path.write_bytes(data)
    last = -1
    seconds = -1.0
    with (
        Video(path) as video,
        VideoWriter(folder / "again.mp4", fps=video.fps, audio_from=path) as writer,
    ):
        for frame in video:
            assert frame.index > last
            assert frame.seconds > seconds
            last = frame.index
            seconds = frame.seconds
            writer.write(frame.image[:64, :64], frame.seconds)


def video_kinds() -> list[Kind]:
    """Doors that read videos and take their sound along."""
    return [
        Kind(suffix, partial(_clips, suffix), broken, partial(_read_video, suffix))
        for suffix in ("mp4", "mkv", "ts", "avi")
    ]
