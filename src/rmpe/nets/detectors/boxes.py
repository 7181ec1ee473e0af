"""Box arithmetic on tensors (xyxy, any frame): areas, IoU, GIoU."""

from typing import Final

import torch
from torch import Tensor

EPSILON: Final = 1e-9


def box_areas(boxes: Tensor) -> Tensor:
    """Areas ``(...)`` of boxes ``(..., 4)``; 0 where a side is negative."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)


def intersections(a: Tensor, b: Tensor) -> Tensor:
    """Intersection areas ``(...)`` of boxes ``a`` and ``b`` ``(..., 4)``, which broadcast."""
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    return (high - low).clamp(min=0).prod(dim=-1)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes ``(..., N, 4)`` with boxes ``(..., M, 4)``: ``(..., N, M)``."""
    rows = a[..., :, None, :]
    columns = b[..., None, :, :]
    shared = intersections(rows, columns)
    return shared / (box_areas(rows) + box_areas(columns) - shared).clamp(min=EPSILON)


def paired_giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU of boxes ``(N, 4)`` with boxes ``(N, 4)``: ``(N,)`` in [-1, 1].

    Source: Rezatofighi et al., CVPR 2019.
    """
    shared = intersections(a, b)
    low = torch.minimum(a[..., :2], b[..., :2])
    high = torch.maximum(a[..., 2:], b[..., 2:])
    hull = (high - low).clamp(min=0).prod(dim=-1)
    union = box_areas(a) + box_areas(b) - shared
    return shared / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


def inside(points: Tensor, boxes: Tensor, least: Tensor | float = 0.0) -> Tensor:
    """Whether points ``(A, 2)`` lie in boxes ``(..., M, 4)``, extended to ``least`` per side.

    Returns:
        ``(..., M, A)`` bool.
    """
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = (boxes[..., 2:] - boxes[..., :2]) / 2
    reach = torch.maximum(half[..., :, None, :], torch.as_tensor(least, device=boxes.device) / 2)
    return ((points - middle[..., :, None, :]).abs() < reach).all(dim=-1)


def corners(boxes: Tensor) -> Tensor:
    """Convert boxes ``(..., 4)`` from centre and sides to xyxy."""
    half = boxes[..., 2:] / 2
    return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], dim=-1)
