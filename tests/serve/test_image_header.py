"""Sizes from headers, against what the decoder finds; junk is refused, never a crash."""

import cv2
import numpy as np
import pytest

from rmpe.errors import ImageError
from rmpe.serve.image_header import image_size, is_image

SIZE = (37, 53)


def encode(suffix, *options):
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
    done, data = cv2.imencode(suffix, image, list(options))
    assert done
    return data.tobytes()


KINDS = [".png", ".jpg", ".bmp", ".tif", ".jp2", ".webp", ".gif", ".avif"]


def encoded(suffix):
    try:
        return encode(suffix)
    except (cv2.error, AssertionError):
        pytest.skip(f"this OpenCV writes no {suffix}")


@pytest.mark.parametrize("suffix", KINDS)
def test_the_header_says_what_the_decoder_finds(suffix):
    data = encoded(suffix)
    assert is_image(data[:32])
    assert image_size(data) == SIZE


def test_webp_without_loss():
    assert image_size(encode(".webp", cv2.IMWRITE_WEBP_QUALITY, 101)) == SIZE


@pytest.mark.parametrize("suffix", KINDS)
def test_no_prefix_and_no_damage_crashes(suffix):
    data = encoded(suffix)
    random = np.random.default_rng(1)
    for _ in range(300):
        broken = bytearray(data[: random.integers(0, len(data))])
        for _ in range(random.integers(0, 8)):
            if broken:
                broken[random.integers(0, len(broken))] = random.integers(0, 256)
        try:
            height, width = image_size(bytes(broken))
        except ImageError:
            continue
        assert isinstance(height, int) and isinstance(width, int)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG", b"%PDF-1.7", b"P6 3 3 255 "])
def test_what_is_no_image_is_said_so(data):
    assert not is_image(data)
    with pytest.raises(ImageError, match="known kind"):
        image_size(data)
