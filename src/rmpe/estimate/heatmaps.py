"""From heatmaps to joints: all people and joints at once.

All functions take heatmaps ``(N, K, h, w)`` and give points ``(N, K, 2)`` as (x, y) in heatmap
cells, cell centres at integers, and scores ``(N, K)``.
"""

import numpy as np
from numpy.typing import NDArray

Heatmaps = NDArray[np.float32]
Points = NDArray[np.float64]
Scores = NDArray[np.float32]

# Below this a response is as good as none; its logarithm would be noise.
FLOOR = 1e-10


def peaks(heatmaps: Heatmaps) -> tuple[NDArray[np.int64], Scores]:
    """The cell of the highest response of each map; of equal ones the first in row-major order.

    Returns:
        Cells ``(N, K, 2)`` as (x, y), and responses ``(N, K)``.
    """
    people, joints, height, width = heatmaps.shape
    flat = heatmaps.reshape(people, joints, height * width)
    index = flat.argmax(axis=2)
    scores = np.take_along_axis(flat, index[..., None], axis=2)[..., 0]
    return np.stack([index % width, index // width], axis=-1), scores


def decode_argmax(heatmaps: Heatmaps) -> tuple[Points, Scores]:
    """The highest cell, moved by a quarter of a cell towards the higher neighbour on each axis.

    The quarter is left out next to the border, and a map without a positive response answers (0,
    0): the rules of the top-down literature. A response of 0 or less means that nothing was found.

    Source: Newell et al., "Stacked hourglass networks" (2016), section 3.3.
    """
    cells, scores = peaks(heatmaps)
    return quarter_steps(heatmaps, cells, scores), scores


def quarter_steps(heatmaps: Heatmaps, cells: NDArray[np.int64], scores: Scores) -> Points:
    """The sub-pixel places of `decode_argmax` for cells that are found already.

    Args:
        heatmaps: Responses ``(N, K, h, w)``.
        cells: ``(N, K, 2)`` or ``(N, K, C, 2)``, for C cells of each map, as (x, y).
        scores: The cells' responses, ``(N, K)`` or ``(N, K, C)``.

    Returns:
        Points of the shape of ``cells``.
    """
    height, width = heatmaps.shape[2:]
    patch = _patches(heatmaps, cells, 1)
    step = 0.25 * np.sign(
        np.stack(
            [patch[..., 1, 2] - patch[..., 1, 0], patch[..., 2, 1] - patch[..., 0, 1]], axis=-1
        )
    )
    inside = ((cells > 1) & (cells < np.array([width - 1, height - 1]))).all(axis=-1, keepdims=True)
    points = np.where(inside, cells + step, cells).astype(np.float64)
    return np.where(scores[..., None] > 0, points, 0)


def decode_dark(heatmaps: Heatmaps, blur: int = 0) -> tuple[Points, Scores]:
    """The highest cell, moved to the summit of the Gaussian that fits around it.

    It is exact for a Gaussian.

    Args:
        heatmaps: Responses ``(N, K, h, w)``.
        blur: Odd width of a Gaussian that evens out the response first (only around the peak); 0 =
            none.

    Source: Zhang et al., "Distribution-aware coordinate representation" (DARK, CVPR 2020), Eq. 4-9.
    Differs: only the nine values that the Taylor step needs are smoothed; the step is at most one
    cell.
    """
    cells, scores = peaks(heatmaps)
    return summits(heatmaps, cells, scores, blur), scores


def summits(heatmaps: Heatmaps, cells: NDArray[np.int64], scores: Scores, blur: int = 0) -> Points:
    """The sub-pixel places of `decode_dark` for cells that are found already.

    Args:
        heatmaps: Responses ``(N, K, h, w)``.
        cells: ``(N, K, 2)`` or ``(N, K, C, 2)``, for C cells of each map, as (x, y).
        scores: The cells' responses, ``(N, K)`` or ``(N, K, C)``.
        blur: As for `decode_dark`.

    Returns:
        Points of the shape of ``cells``.
    """
    kernel = _gaussian(blur)
    patch = _patches(heatmaps, cells, 1 + len(kernel) // 2)
    rows = (
        np.stack([patch[..., start : start + 3] for start in range(len(kernel))], axis=-1) @ kernel
    )
    near = (
        np.stack([rows[..., start : start + 3, :] for start in range(len(kernel))], axis=-1)
        @ kernel
    )
    log = np.log(np.maximum(near.astype(np.float64), FLOOR))
    gradient = (
        np.stack([log[..., 1, 2] - log[..., 1, 0], log[..., 2, 1] - log[..., 0, 1]], axis=-1) / 2
    )
    xx = log[..., 1, 2] - 2 * log[..., 1, 1] + log[..., 1, 0]
    yy = log[..., 2, 1] - 2 * log[..., 1, 1] + log[..., 0, 1]
    xy = (log[..., 2, 2] - log[..., 2, 0] - log[..., 0, 2] + log[..., 0, 0]) / 4
    determinant = xx * yy - xy * xy
    summit = (xx < 0) & (determinant > FLOOR)  # a proper maximum; anything else stays on its cell
    scale = np.where(summit, determinant, 1)
    step = np.stack(
        [
            -(yy * gradient[..., 0] - xy * gradient[..., 1]) / scale,
            -(xx * gradient[..., 1] - xy * gradient[..., 0]) / scale,
        ],
        axis=-1,
    )
    height, width = heatmaps.shape[2:]
    inside = ((cells > 0) & (cells < np.array([width - 1, height - 1]))).all(axis=-1)
    usable = (summit & inside & (scores > 0))[..., None]
    points: Points = cells.astype(np.float64) + np.where(usable, np.clip(step, -1, 1), 0)
    return points


def decode_integral(heatmaps: Heatmaps, normalise: str) -> tuple[Points, Scores]:
    """The expectation of the position under the normalised response.

    Args:
        heatmaps: Logits (``sigmoid``, ``softmax``) or responses of a positive sum (``sum``), ``(N,
            K, h, w)``.
        normalise: ``sigmoid`` (score: the highest response), ``softmax`` or ``sum`` (score: 1).

    Source: Sun et al., "Integral human pose regression" (ECCV 2018), Eq. 2.

    Raises:
        ValueError: If ``normalise`` is none of the three.
    """
    people, joints, height, width = heatmaps.shape
    values = heatmaps.astype(np.float64)
    if normalise == "sigmoid":
        values = 1 / (1 + np.exp(-values))
        scores = values.max(axis=(2, 3))
    elif normalise == "softmax":
        values = np.exp(values - values.max(axis=(2, 3), keepdims=True))
        scores = np.ones((people, joints))
    elif normalise == "sum":
        scores = np.ones((people, joints))
    else:
        raise ValueError(f"normalise must be sigmoid, softmax or sum, got {normalise!r}")
    total = values.sum(axis=(2, 3))
    x = values.sum(axis=2) @ np.arange(width)
    y = values.sum(axis=3) @ np.arange(height)
    return np.stack([x, y], axis=-1) / total[..., None], scores.astype(np.float32)


def _patches(heatmaps: Heatmaps, cells: NDArray[np.int64], radius: int) -> Heatmaps:
    """Squares ``(N, K, ..., 2 radius + 1, 2 radius + 1)`` around cells; the border is mirrored.

    The cells are ``(N, K, ..., 2)``.
    """
    height, width = heatmaps.shape[2:]
    reach = np.arange(-radius, radius + 1)
    x = _mirror(cells[..., 0, None] + reach, width)
    y = _mirror(cells[..., 1, None] + reach, height)
    people, joints = np.ogrid[: heatmaps.shape[0], : heatmaps.shape[1]]
    more = (1,) * (cells.ndim - 1)
    patch: Heatmaps = heatmaps[
        people.reshape(-1, 1, *more), joints.reshape(1, -1, *more), y[..., :, None], x[..., None, :]
    ]
    return patch


def _mirror(index: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    return np.clip(
        np.where(index < 0, -index, np.where(index >= length, 2 * length - 2 - index, index)),
        0,
        length - 1,
    )


def _gaussian(width: int) -> NDArray[np.float32]:
    """Weights of a Gaussian of odd ``width``, with OpenCV's standard deviation; 0 = one weight."""
    if width == 0:
        return np.ones(1, np.float32)
    sigma = 0.3 * ((width - 1) * 0.5 - 1) + 0.8
    weights = np.exp(-((np.arange(width) - width // 2) ** 2) / (2 * sigma**2))
    return (weights / weights.sum()).astype(np.float32)
