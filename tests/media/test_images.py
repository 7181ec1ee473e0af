"""Reading and writing image files: what is accepted, what is refused and how."""

import io
import logging

import cv2
import numpy as np
import pytest

from rmpe.errors import ImageError, OutputError
from rmpe.media import images
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
    assert all(images._jpeg_is_whole(photo.read_bytes()) for photo in photos)


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
        (
            "photo.heic",
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99,
            "HEIC pictures are not supported; convert",
        ),
        (
            "photo.heic",
            b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + b"\0" * 99,
            "HEIC pictures are not supported; convert",
        ),
        (
            "photo.avif",
            b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + b"\0" * 99,
            "no AVIF decoder; convert it",
        ),
        ("cut.gif", b"GIF89a\x10\0\x10\0", "no GIF decoder; convert it"),
        # A header that promises more pixels than OpenCV accepts (2^40).
        ("bomb.ppm", b"P6 1048577 1048577 255 ", "bomb.ppm: "),
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
