"""Reading and writing image files: what is accepted, what is refused and how."""

import io
import logging
import os
import struct
import sys

import cv2
import numpy as np
import pytest

from rmpe.errors import ImageError, OutputError, UsageError
from rmpe.media.headers import SIZES, has_pages, is_animated, jpeg_is_whole, kind_of, size_of
from rmpe.media.images import read_image, save_image

Image = pytest.importorskip("PIL.Image")

HEIGHT, WIDTH = 120, 160
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
SMOOTH = np.stack([COLUMNS * 1.5, ROWS * 2, 255 - COLUMNS], axis=-1).astype(np.uint8)
PICTURE = Image.fromarray(SMOOTH)
GREY = np.repeat(np.asarray(PICTURE.convert("L"))[..., None], 3, axis=2)
ROTATED = Image.Exif()
ROTATED[0x0112] = 6  # "turn by 90 degrees clockwise to see it upright"
NOISE = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)


def with_alpha(mode="RGBA"):
    rgba = PICTURE.convert("RGBA")
    rgba.putalpha(Image.fromarray((COLUMNS < WIDTH // 2).astype(np.uint8) * 255))
    return rgba.convert(mode)


@pytest.mark.parametrize(
    ("name", "picture", "options", "expected", "tolerance"),
    [
        ("rgb.png", PICTURE, {}, SMOOTH, 0),
        ("rgb.jpg", PICTURE, {"quality": 95}, SMOOTH, 2),
        ("progressive.jpg", PICTURE, {"quality": 95, "progressive": True}, SMOOTH, 2),
        ("rgb.webp", PICTURE, {"lossless": True}, SMOOTH, 0),
        ("rgb.bmp", PICTURE, {}, SMOOTH, 0),
        ("rgb.tif", PICTURE, {}, SMOOTH, 0),
        ("wrong_suffix.jpg", PICTURE, {"format": "PNG"}, SMOOTH, 0),
        ("no_suffix", PICTURE, {"format": "PNG"}, SMOOTH, 0),
        ("grey.png", PICTURE.convert("L"), {}, GREY, 0),
        ("grey.jpg", PICTURE.convert("L"), {"quality": 95}, GREY, 2),
        ("grey and transparent.png", with_alpha("LA"), {}, GREY, 1),
        ("cmyk.jpg", PICTURE.convert("CMYK"), {"quality": 95}, SMOOTH, 3),
        ("rgba.png", with_alpha(), {}, SMOOTH, 0),
        ("palette.png", PICTURE.convert("P", palette=1), {}, SMOOTH, 6),
        ("bits.png", PICTURE.convert("1"), {}, np.asarray(PICTURE.convert("1").convert("RGB")), 0),
        ("turned.jpg", PICTURE, {"exif": ROTATED, "quality": 95}, np.rot90(SMOOTH, -1), 2),
        ("turned.png", PICTURE, {"exif": ROTATED}, np.rot90(SMOOTH, -1), 0),
        ("one.png", PICTURE.crop((5, 7, 6, 8)), {}, SMOOTH[7:8, 5:6], 0),
        ("näme 写真 with spaces [1].png", PICTURE, {}, SMOOTH, 0),
        (
            "animated.gif",
            PICTURE,
            {"save_all": True, "append_images": [PICTURE.convert("L")]},
            SMOOTH,
            6,
        ),
    ],
)
def test_reads_as_rgb(tmp_path, name, picture, options, expected, tolerance):
    path = tmp_path / name
    picture.save(path, **options)
    if name.endswith(".gif") and not cv2.haveImageWriter("x.gif"):
        pytest.skip("this OpenCV has no GIF")
    image = read_image(path)
    assert image.dtype == np.uint8 and image.flags.c_contiguous and image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() <= tolerance


def test_sixteen_bits_become_the_high_byte(tmp_path):
    deep = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 3).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    image = read_image(tmp_path / "deep.png")
    assert np.abs(image.astype(int) - (deep >> 8)[..., None]).max() <= 1
    color = np.stack([deep, deep[::-1], deep[:, ::-1]], axis=-1)
    cv2.imwrite(str(tmp_path / "color.png"), color[..., ::-1])
    assert np.abs(read_image(tmp_path / "color.png").astype(int) - (color >> 8)).max() <= 1


def test_twenty_thousand_pixels_wide(tmp_path):
    wide = np.zeros((10, 20_000, 3), np.uint8)
    wide[:, -1] = 255
    save_image(tmp_path / "wide.png", wide)
    assert np.array_equal(read_image(tmp_path / "wide.png"), wide)


@pytest.mark.parametrize(("suffix", "kind"), [("gif", "GIF"), ("webp", "WebP")])
@pytest.mark.parametrize("frames", [1, 3])
def test_animation_says_that_one_frame_is_used(tmp_path, caplog, suffix, kind, frames):
    if not cv2.haveImageWriter("x.gif"):
        pytest.skip("this OpenCV is too old for animations")
    path = tmp_path / f"animated.{suffix}"
    more = [Image.fromarray(np.roll(SMOOTH, 40 * index, 1)) for index in range(1, frames)]
    PICTURE.save(path, save_all=True, append_images=more, duration=100)
    with caplog.at_level(logging.WARNING):
        read_image(path)
    assert [record.getMessage() for record in caplog.records] == (
        [f"{path}: animated {kind}, only its first frame is used"] if frames > 1 else []
    )


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("pages", [1, 3])
def test_tiff_says_that_one_page_is_used(tmp_path, caplog, pages, big):
    path = tmp_path / "pages.tiff"
    more = [Image.fromarray(np.roll(SMOOTH, 40 * index, 1)) for index in range(1, pages)]
    PICTURE.save(path, save_all=True, append_images=more, big_tiff=big)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(read_image(path), SMOOTH)
    assert [record.getMessage() for record in caplog.records] == (
        [f"{path}: TIFF of several pages, only the first is used"] if pages > 1 else []
    )


def test_tiff_whose_pages_lead_in_circles(tmp_path):
    file = io.BytesIO()
    PICTURE.save(file, "TIFF")
    data = bytearray(file.getvalue())
    start = int.from_bytes(data[4:8], "little")
    following = start + 2 + 12 * int.from_bytes(data[start : start + 2], "little")
    data[following : following + 4] = data[4:8]
    assert has_pages(bytes(data))
    assert size_of("TIFF", bytes(data)) == SMOOTH.shape[:2]


def jpeg(picture=NOISE, **options):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", **options)
    return file.getvalue()


def thumbnail_exif():
    """EXIF data with an embedded JPEG thumbnail, including its end marker."""
    return b"Exif\0\0" + jpeg(SMOOTH[:40, :40])


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("exif", [b"", thumbnail_exif()])
@pytest.mark.parametrize("padding", [b"", b"\0" * 5000])
def test_truncated_jpeg_is_a_named_failure(tmp_path, progressive, share, exif, padding):
    data = jpeg(progressive=progressive, exif=exif)
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[: int(share * len(data))] + padding)
    with pytest.raises(ImageError, match=r"cut\.jpg: truncated JPEG") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "trailer", [b"", b"\0", b"\0" * 4096, b"junk" * 99, b"\xff\xff", b"\xff\xd9", jpeg()]
)
@pytest.mark.parametrize("exif", [b"", thumbnail_exif()])
@pytest.mark.parametrize("progressive", [False, True])
def test_whole_jpeg_with_bytes_after_its_end_is_read(tmp_path, trailer, exif, progressive):
    (tmp_path / "whole.jpg").write_bytes(jpeg(exif=exif, progressive=progressive) + trailer)
    assert read_image(tmp_path / "whole.jpg").shape == NOISE.shape


def test_every_photo_of_the_data_folder_counts_as_whole(data_root):
    photos = sorted((data_root / "data/coco-val/images").glob("*.jpg"))[:50]
    assert photos
    assert all(jpeg_is_whole(photo.read_bytes()) for photo in photos)


def png_header(width, height):
    return (
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"
        + struct.pack(">II", width, height)
        + b"\1\0\0\0\0"
        + bytes(4)
    )


def bmp_header(width, height):
    return b"BM" + bytes(8) + struct.pack("<IIiiHH", 54, 40, width, height, 1, 24) + bytes(24)


def tiff_header(width, height, order="<", tile=0):
    tags = [(256, 4, width), (257, 4, height)] + [(322, 4, tile), (323, 4, tile)] * bool(tile)
    rows = b"".join(struct.pack(order + "HHII", tag, kind, 1, value) for tag, kind, value in tags)
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return start + struct.pack(order + "H", len(tags)) + rows + bytes(4)


def jpeg_header(width, height):
    return (
        b"\xff\xd8\xff\xc0\0\x11\x08"
        + struct.pack(">HH", height, width)
        + b"\3\1\x22\0\2\x11\1\3\x11\1"
        + b"\xff\xda\0\x0c\3\1\0\2\x11\3\x11\0\x3f\0"
    )


def webp_header(chunk, rest):
    return b"RIFF\0\0\0\0WEBP" + chunk + struct.pack("<I", 10) + rest


def half(kind):
    _, data = cv2.imencode(kind, NOISE)
    return data.tobytes()[: data.size // 2]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty.jpg", b"", "the file is empty"),
        ("text.jpg", b"hello, I am a text", "not an image of a known kind"),
        ("short.jpg", b"\xff", "not an image of a known kind"),
        ("start.jpg", b"\xff\xd8\xff", "truncated JPEG"),
        ("zeros.png", b"\0" * 1000, "not an image of a known kind"),
        ("half.png", half(".png"), "damaged or truncated PNG"),
        ("half.webp", half(".webp"), "damaged or truncated WebP"),
        ("half.bmp", half(".bmp"), "damaged or truncated BMP"),
        ("half.tif", half(".tif"), "damaged or truncated TIFF"),
        ("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99, "HEIC"),
        ("photo.heic", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + b"\0" * 99, "HEIC"),
        (
            "photo.avif",
            b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + b"\0" * 99,
            "no AVIF decoder; convert it",
        ),
        ("cut.gif", b"GIF89a\x10\0\x10\0", "no GIF decoder; convert it"),
        ("bomb.ppm", b"P6 1048577 1048577 255 ", "1048577 x 1048577 pixels, more than 178956970"),
        ("bomb.ppm", b"P6 " + b"9" * 5000 + b" 9 255 ", "more than 178956970"),
        ("bomb.png", png_header(30000, 30000), "30000 x 30000 pixels, more than 178956970 in all"),
        ("bomb.png", png_header(2**31 - 1, 2**31 - 1), "more than 178956970"),
        ("bomb.bmp", bmp_header(30000, -30000), "30000 x 30000 pixels"),
        ("bomb.gif", b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(9), "65535 x 65535"),
        ("bomb.tif", tiff_header(30000, 30000), "30000 x 30000 pixels"),
        ("bomb.tif", tiff_header(30000, 30000, ">"), "30000 x 30000 pixels"),
        ("tile.tif", tiff_header(8, 8, tile=60000), "60000 x 60000 pixels"),
        ("bomb.jpg", jpeg_header(65500, 65500) + b"\xff\xd9", "65500 x 65500 pixels"),
        ("bomb.webp", webp_header(b"VP8X", bytes(4) + b"\xff\xff\x0f" * 2), "1048576 x 1048576"),
        ("bomb.webp", webp_header(b"VP8L", b"/\xff\xff\xff\x0f" + bytes(9)), "16384 x 16384"),
        ("bomb.webp", webp_header(b"VP8 ", bytes(6) + b"\xff\x3f" * 2), "16383 x 16383"),
        ("short.webp", webp_header(b"VP8X", b"")[:18], "damaged or truncated WebP"),
        ("short.bmp", b"BM1", "damaged or truncated BMP"),
        ("short.tif", b"II*\0\xff\xff\xff\xff", "damaged or truncated TIFF"),
        ("short.gif", b"GIF89a", "GIF decoder"),
        # A chunk that claims to be 4 GB long.
        ("chunk.png", png_header(8, 8) + b"\xff\xff\xff\xf0IDAT", "damaged or truncated PNG"),
        ("cut.png", png_header(8, 8)[:30], "damaged or truncated PNG"),
        ("clip.mp4", b"\0\0\0\x20ftypisom\0\0\2\0", "a video, not an image; use rmpe track"),
        ("clip.mkv", b"\x1aE\xdf\xa3" + bytes(30), "a video, not an image; use rmpe track"),
        ("clip.avi", b"RIFF\0\0\0\0AVI LIST", "a video, not an image; use rmpe track"),
        ("clip.ts", (b"G" + bytes(187)) * 4, "a video, not an image; use rmpe track"),
    ],
)
def test_unreadable_files_say_why(tmp_path, name, data, message):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and message in text and "\n" not in text


def test_missing_file_and_folder_are_image_errors(tmp_path):
    with pytest.raises(ImageError, match=r"gone\.jpg: cannot read the file: No such file"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="cannot read the file"):
        read_image(tmp_path)


@pytest.mark.parametrize(("suffix", "tolerance"), [(".png", 0), (".jpg", 2), (".JPEG", 2)])
def test_saved_image_reads_back(tmp_path, suffix, tolerance):
    path = tmp_path / "new folder" / f"bild ä{suffix}"
    before = SMOOTH.copy()
    save_image(path, SMOOTH)
    assert np.array_equal(before, SMOOTH)
    assert np.abs(read_image(path).astype(int) - SMOOTH).mean() <= tolerance
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["picture.xyz", "picture"])
def test_unknown_suffix_cannot_be_saved(tmp_path, name):
    with pytest.raises(OutputError, match=r"cannot write images as .*use \.jpg or \.png"):
        save_image(tmp_path / name, SMOOTH)
    assert not list(tmp_path.iterdir())


def test_folder_in_the_way_is_an_output_error(tmp_path):
    (tmp_path / "picture.png").mkdir()
    with pytest.raises(OutputError, match=r"picture\.png: cannot write"):
        save_image(tmp_path / "picture.png", SMOOTH)
    assert [file.name for file in tmp_path.iterdir()] == ["picture.png"]


def test_a_limit_of_pixels_can_be_set(tmp_path, monkeypatch):
    save_image(tmp_path / "picture.png", SMOOTH)
    monkeypatch.setenv("RMPE_MAX_PIXELS", str(WIDTH * HEIGHT))
    assert read_image(tmp_path / "picture.png").shape == SMOOTH.shape
    monkeypatch.setenv("RMPE_MAX_PIXELS", str(WIDTH * HEIGHT - 1))
    with pytest.raises(ImageError, match="set RMPE_MAX_PIXELS"):
        read_image(tmp_path / "picture.png")
    monkeypatch.setenv("RMPE_MAX_PIXELS", "many")
    with pytest.raises(UsageError, match="RMPE_MAX_PIXELS is 'many'"):
        read_image(tmp_path / "picture.png")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".bmp", ".jp2", ".ppm"])
def test_the_header_tells_the_size(suffix):
    done, data = cv2.imencode(suffix, SMOOTH)
    assert done
    kind = kind_of(data.tobytes())
    assert kind is not None
    assert size_of(kind, data.tobytes()) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("kind", sorted(SIZES))
def test_a_header_cut_anywhere_is_no_traceback(kind):
    starts = {
        "JPEG": jpeg(SMOOTH),
        "PNG": png_header(8, 8),
        "BMP": bmp_header(8, 8),
        "TIFF": tiff_header(8, 8),
        "WebP": webp_header(b"VP8 ", bytes(20)),
        "GIF": b"GIF89a\1\0\1\0",
        "JPEG 2000": b"\xff\x4f\xff\x51" + bytes(40),
        "PNM": b"P6 # a\n 12 13 255 ",
        "AVIF": bytes(20) + b"ispe" + bytes(12),
    }
    for end in range(min(len(starts[kind]), 700)):
        size_of(kind, starts[kind][:end])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_or_device_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero"):
        with pytest.raises(ImageError, match="not a regular file"):
            read_image(path)


def test_a_file_too_large_for_a_picture_is_not_read(tmp_path):
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(ImageError, match="larger than 1024 MiB"):
        read_image(tmp_path / "huge.png")


def test_heic_is_read_with_its_extra(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, 32:] = (200, 40, 40)
    heif.encode("RGB", (64, 48), picture.tobytes(), str(tmp_path / "a.heic"), quality=95)
    found = read_image(tmp_path / "a.heic")
    assert found.shape == (48, 64, 3)
    assert np.abs(found.astype(int) - picture).mean() < 8


def test_heic_without_its_extra_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99)
    with pytest.raises(ImageError, match=r"pip install 'rmpe\[heic\]'; or convert it"):
        read_image(tmp_path / "a.heic")


def test_an_offset_beyond_all_memory_is_a_damaged_file():
    """BigTIFF's offsets have 64 bits: found by fuzzing."""
    data = b"II+\0\x08\0\0\0" + b"\xff" * 8 + bytes(40)
    with pytest.raises(ImageError, match="damaged or truncated TIFF"):
        read_image(data)


@pytest.mark.parametrize(("suffix", "kind"), [("gif", "GIF"), ("png", "PNG"), ("webp", "WebP")])
@pytest.mark.parametrize("frames", [1, 3])
def test_what_moves_is_told_from_what_does_not(suffix, kind, frames):
    pictures = [Image.new("RGB", (40, 30), (60 * k, 0, 0)) for k in range(frames)]
    file = io.BytesIO()
    pictures[0].save(file, suffix, save_all=frames > 1, append_images=pictures[1:])
    assert is_animated(kind, file.getvalue()) == (frames > 1)
