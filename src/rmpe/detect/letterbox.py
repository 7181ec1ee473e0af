"""Letterboxing: an image at the top left of a detector's input, aspect kept, the rest grey."""

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import size_of


def letterbox(
    image: NDArray[np.uint8], size: tuple[int, int], pad: int = 114
) -> tuple[NDArray[np.uint8], float]:
    """Shrink or enlarge an image into ``size`` (height, width).

    Returns:
        The input ``(height, width, 3)`` uint8 and the scale from image pixels to input pixels.
    """
    height, width = size_of(image)
    scale = min(size[0] / height, size[1] / width)
    inside = max(1, round(height * scale)), max(1, round(width * scale))
    canvas = np.full((*size, 3), pad, np.uint8)
    canvas[: inside[0], : inside[1]] = cv2.resize(
        image, inside[::-1], interpolation=cv2.INTER_LINEAR
    )
    return canvas, scale
