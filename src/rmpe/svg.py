"""Poses as a small SVG picture, which needs neither the image nor OpenCV."""

import numpy as np
from numpy.typing import NDArray

from rmpe.skeletons import Color, Skeleton

CLEAR = 0.5  # a joint's score from which it is drawn in full
WIDTH = 360  # pixels of the picture
TALLEST = 480


def poses_svg(
    keypoints: NDArray[np.float32], scores: NDArray[np.float32], skeleton: Skeleton
) -> str:
    """People as stick figures, fainter where joints are less certain.

    Args:
        keypoints: ``(N, K, 2)`` pixels; NaN where a joint is missing.
        scores: ``(N, K)``.
        skeleton: Names and connections of the joints.

    Returns:
        An ``<svg>`` element; empty text if no joint has a place.
    """
    seen = np.isfinite(keypoints).all(axis=2) & (scores > 0)
    if not seen.any():
        return ""
    low = keypoints[seen].min(axis=0)
    extent = np.maximum(keypoints[seen].max(axis=0) - low, 1)
    margin = 0.05 * float(extent.max())
    box = [*(low - margin).tolist(), *(extent + 2 * margin).tolist()]
    scale = min(WIDTH / box[2], TALLEST / box[3])
    parts = []
    for points, sure, known in zip(keypoints, scores, seen, strict=True):
        opacity = np.clip(sure / CLEAR, 0, 1)
        for start, end in skeleton.limbs:
            if known[start] and known[end]:
                (x1, y1), (x2, y2) = points[start].tolist(), points[end].tolist()
                parts.append(
                    f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}'"
                    f" stroke='{_rgb(skeleton.colors[end])}'"
                    f" opacity='{min(opacity[start], opacity[end]):.2f}'/>"
                )
    return (
        f"<svg width='{box[2] * scale:.0f}' height='{box[3] * scale:.0f}'"
        f" viewBox='{' '.join(f'{value:.1f}' for value in box)}'"
        " xmlns='http://www.w3.org/2000/svg'"
        f" stroke-width='{3 / scale:.2f}' stroke-linecap='round'>{''.join(parts)}</svg>"
    )


def _rgb(color: Color) -> str:
    return "#" + "".join(f"{channel:02x}" for channel in color)
