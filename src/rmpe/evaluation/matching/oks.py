"""Object keypoint similarity (OKS) between annotated people and predicted poses."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def keypoint_similarity(
    truth: ArrayLike, points: ArrayLike, areas: ArrayLike, sigmas: ArrayLike
) -> Floats:
    """Similarity of each joint, ``exp(-d^2 / (2 area (2 sigma)^2))``.

    Args:
        truth: ``(G, K, 2)`` annotated joints in image pixels; NaN where not annotated.
        points: ``(P, K, 2)`` predicted joints; NaN where missing.
        areas: ``(G,)`` areas of the annotated people in square pixels.
        sigmas: ``(K,)`` constants of the joints.

    Returns:
        ``(G, P, K)`` in [0, 1]; NaN where the joint is not annotated, 0 where only the prediction
        is missing.

    Source: COCO keypoint evaluation.
    """
    truth = np.asarray(truth, np.float64)
    points = np.asarray(points, np.float64)
    squared = np.sum((truth[:, None] - points[None]) ** 2, axis=3)
    spread = 2 * np.asarray(areas, np.float64)[:, None] * (2 * np.asarray(sigmas, np.float64)) ** 2
    similarity = np.exp(-squared / (spread[:, None] + np.spacing(1)))
    annotated = np.isfinite(truth).all(axis=2)[:, None]
    result: Floats = np.where(annotated, np.nan_to_num(similarity, nan=0.0), np.nan)
    return result


def oks(truth: ArrayLike, points: ArrayLike, areas: ArrayLike, sigmas: ArrayLike) -> Floats:
    """OKS ``(G, P)``: mean similarity over the annotated joints; 0 for a person without any."""
    similarity = keypoint_similarity(truth, points, areas, sigmas)
    annotated = np.isfinite(similarity)
    result: Floats = np.where(annotated, similarity, 0).sum(axis=2) / np.maximum(
        annotated.sum(axis=2), 1
    )
    return result
