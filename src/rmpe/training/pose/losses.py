"""Heatmap loss against Gaussians at the true joints."""

import torch
from torch import Tensor

from rmpe import affine


def gaussian_targets(
    keypoints: Tensor, crop_size: tuple[int, int], heatmap_size: tuple[int, int], sigma: float
) -> Tensor:
    """Heatmaps with a Gaussian of height 1 at each joint.

    Args:
        keypoints: ``(B, K, 2)`` crop pixels.
        crop_size: (height, width) of the crop.
        heatmap_size: (height, width) of the heatmaps.
        sigma: Standard deviation in heatmap cells (paper: 1 on 64x64).

    Returns:
        ``(B, K, h, w)``.

    Source: RMPE, section 4.1, after Newell et al. 2016.
    """
    to_cells = affine.crop_to_heatmap(crop_size, heatmap_size, "center")
    scale = keypoints.new_tensor(to_cells[[0, 1], [0, 1]])
    offset = keypoints.new_tensor(to_cells[:, 2])
    cells = keypoints * scale + offset
    height, width = heatmap_size
    x = torch.arange(width, dtype=cells.dtype, device=cells.device) - cells[..., :1]
    y = torch.arange(height, dtype=cells.dtype, device=cells.device) - cells[..., 1:]
    falloff = -0.5 / sigma**2
    return (falloff * y**2).exp()[..., :, None] * (falloff * x**2).exp()[..., None, :]


def heatmap_loss(
    heatmaps: list[Tensor], targets: Tensor, weights: Tensor, sigma: float, total: Tensor
) -> Tensor:
    """Squared error of the heatmaps of every stack, over known joints.

    The error of a joint is divided by the error of empty heatmaps (the energy of the Gaussian,
    pi sigma^2), so the loss per stack starts near 1 at every resolution.

    Args:
        heatmaps: One ``(B, K, h, w)`` per stack.
        targets: ``(B, K, h, w)``.
        weights: ``(B, K)``; 0 where a joint is unknown.
        sigma: Standard deviation of the targets in cells.
        total: Divisor of the weighted sum: the sum of the weights over the whole batch, in all
            processes.

    Returns:
        Scalar, summed over stacks.

    Source: RMPE, section 4.1 (mean squared error on Gaussians, intermediate supervision).
    """
    energy = torch.pi * sigma**2
    errors = [((maps.float() - targets) ** 2).sum(dim=(2, 3)) for maps in heatmaps]
    return sum(((error * weights).sum() for error in errors), start=targets.new_zeros(())) / (
        energy * total
    )
