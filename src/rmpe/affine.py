"""Affine maps between coordinate frames: images, boxes and points all move through them.

A map is a ``(..., 2, 3)`` float64 array named ``a_to_b``; leading axes are people.
``docs/conventions.md`` defines the frames and the position of pixel centres.
"""

from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix: TypeAlias = NDArray[np.float64]
Alignment: TypeAlias = Literal["corner", "udp", "center"]
ALIGNMENTS: tuple[str, ...] = get_args(Alignment)

# A map with a smaller determinant has no numerically meaningful inverse.
SINGULAR = 1e-8


def apply(a_to_b: Matrix, points: ArrayLike) -> NDArray[np.float64]:
    """Move points from frame a to frame b.

    Args:
        a_to_b: Maps ``(..., 2, 3)``.
        points: Points ``(..., P, 2)`` in frame a; leading axes broadcast with those of the map.

    Returns:
        Points ``(..., P, 2)`` in frame b. NaN stays NaN.
    """
    points = np.asarray(points, np.float64)
    return points @ np.swapaxes(a_to_b[..., :2], -1, -2) + a_to_b[..., None, :, 2]


def compose(b_to_c: Matrix, a_to_b: Matrix) -> Matrix:
    """The map a_to_c that first applies ``a_to_b`` and then ``b_to_c``."""
    linear = b_to_c[..., :2] @ a_to_b[..., :2]
    offset = (b_to_c[..., :2] @ a_to_b[..., 2:]) + b_to_c[..., 2:]
    return np.concatenate([linear, offset], axis=-1)


def invert(a_to_b: Matrix) -> Matrix:
    """The map b_to_a.

    Raises:
        ValueError: If a map is singular (determinant at most ``SINGULAR``) or not finite.
    """
    with np.errstate(invalid="ignore"):
        determinant = np.linalg.det(a_to_b[..., :2])
    if not np.all(np.abs(determinant) > SINGULAR):  # also false for NaN
        raise ValueError(
            f"affine map cannot be inverted: determinant {np.ravel(determinant).tolist()[:8]}"
        )
    linear = np.linalg.inv(a_to_b[..., :2])
    return np.concatenate([linear, -linear @ a_to_b[..., 2:]], axis=-1)


def scale_translate(scale: ArrayLike, offset: ArrayLike) -> Matrix:
    """The map ``x -> scale * x + offset``; both arguments are ``(..., 2)`` in (x, y) order."""
    scale, offset = np.broadcast_arrays(
        np.asarray(scale, np.float64), np.asarray(offset, np.float64)
    )
    matrix = np.zeros((*scale.shape[:-1], 2, 3))
    matrix[..., 0, 0] = scale[..., 0]
    matrix[..., 1, 1] = scale[..., 1]
    matrix[..., 2] = offset
    return matrix


def pad_to_aspect(boxes: ArrayLike, aspect: float) -> NDArray[np.float64]:
    """Extend boxes around their centres until width / height equals ``aspect``.

    Args:
        boxes: ``(..., 4)`` xyxy, any frame.
        aspect: Width over height.

    Returns:
        Boxes ``(..., 4)``; no side becomes shorter.
    """
    boxes = np.asarray(boxes, np.float64)
    center = (boxes[..., :2] + boxes[..., 2:]) / 2
    side = boxes[..., 2:] - boxes[..., :2]
    width = np.maximum(side[..., 0], side[..., 1] * aspect)
    half = np.stack([width, width / aspect], axis=-1) / 2
    return np.concatenate([center - half, center + half], axis=-1)


def boxes_to_crops(boxes: ArrayLike, crop_size: tuple[int, int], alignment: Alignment) -> Matrix:
    """One image_to_crop map per box; the image keeps its aspect ratio.

    Args:
        boxes: ``(..., 4)`` xyxy image pixels, already grown by the model's factor; sides must be
            positive.
        crop_size: (height, width) of the crop.
        alignment: The half-pixel rule the model was trained with (``docs/conventions.md``).

    Returns:
        Maps ``(..., 2, 3)`` from image pixels to crop pixels.

    Raises:
        ValueError: If a side of a box is not positive and finite, or the alignment is unknown.
    """
    height, width = crop_size
    boxes = np.asarray(boxes, np.float64)
    usable = np.all(boxes[..., 2:] > boxes[..., :2], axis=-1) & np.all(np.isfinite(boxes), axis=-1)
    if not np.all(usable):
        raise ValueError(f"cannot crop an empty box: {boxes[~usable][:4].tolist()}")
    boxes = pad_to_aspect(boxes, width / height)
    sides = boxes[..., 2:] - boxes[..., :2]
    crop = np.array([width, height], np.float64)
    start = boxes[..., :2]
    if alignment == "corner":
        return scale_translate(crop / sides, -start * crop / sides)
    if alignment == "udp":
        return scale_translate((crop - 1) / sides, -start * (crop - 1) / sides)
    if alignment == "center":
        return scale_translate(crop / sides, (0.5 - start) * crop / sides - 0.5)
    raise ValueError(f"unknown alignment {alignment!r}; known: {', '.join(ALIGNMENTS)}")


def crop_to_heatmap(
    crop_size: tuple[int, int], heatmap_size: tuple[int, int], alignment: Alignment
) -> Matrix:
    """The map from crop pixels to heatmap cells, ``(2, 3)``; both sizes are (height, width)."""
    crop = np.array(crop_size[::-1], np.float64)
    heatmap = np.array(heatmap_size[::-1], np.float64)
    if alignment == "corner":
        return scale_translate(heatmap / crop, np.zeros(2))
    if alignment == "udp":
        return scale_translate((heatmap - 1) / (crop - 1), np.zeros(2))
    if alignment == "center":
        return scale_translate(heatmap / crop, 0.5 * heatmap / crop - 0.5)
    raise ValueError(f"unknown alignment {alignment!r}; known: {', '.join(ALIGNMENTS)}")


def pixels_to_normalised(size: tuple[int, int]) -> Matrix:
    """The map ``(2, 3)`` from pixels to [-1, 1], with ``align_corners=False``.

    Args:
        size: (height, width) of the image.
    """
    extent = np.array(size[::-1], np.float64)
    return scale_translate(2 / extent, 1 / extent - 1)


def normalised_to_pixels(size: tuple[int, int]) -> Matrix:
    """The inverse of `pixels_to_normalised`: ``(2, 3)``, from [-1, 1] to pixels."""
    extent = np.array(size[::-1], np.float64)
    return scale_translate(extent / 2, (extent - 1) / 2)
