"""Letterboxing: an image at the top left of a detector's input, aspect kept, the rest grey."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import size_of


def covered(image: tuple[int, int], size: tuple[int, int], stride: int) -> tuple[int, int]:
    """The part of a letterboxed input that an image covers, to whole cells of a network.

    Args:
        image: (height, width) of the image.
        size: (height, width) of the whole input, multiples of ``stride``.
        stride: Pixels of a side of the network's coarsest cells.
    """
    (height, width), _ = _inside(image, size)
    return math.ceil(height / stride) * stride, math.ceil(width / stride) * stride


def letterbox(
    image: NDArray[np.uint8], size: tuple[int, int], pad: int = 114
) -> tuple[NDArray[np.uint8], float]:
    """Shrink or enlarge an image into ``size`` (height, width).

    Returns:
        The input ``(height, width, 3)`` uint8 and the scale from image pixels to input pixels.
    """
    inside, scale = _inside(size_of(image), size)
    canvas = np.full((*size, 3), pad, np.uint8)
    canvas[: inside[0], : inside[1]] = cv2.resize(
        image, inside[::-1], interpolation=cv2.INTER_LINEAR
    )
    return canvas, scale


def _inside(image: tuple[int, int], size: tuple[int, int]) -> tuple[tuple[int, int], float]:
    """(height, width) of an image in an input of ``size``, and its scale there."""
    scale = min(size[0] / image[0], size[1] / image[1])
    return (max(1, round(image[0] * scale)), max(1, round(image[1] * scale))), scale
