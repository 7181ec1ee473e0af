"""Heatmap loss against Gaussians at the true joints, and those of others in the crop."""

import torch
from torch import Tensor

from rmpe import affine
from rmpe.training.pose.others import Others

# A cell of the own Gaussian, in which a crowd region does not count.
OWN = 0.01


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


def joint_candidate_targets(
    targets: Tensor,
    visible: Tensor,
    others: Others,
    interference: float,
    crop_size: tuple[int, int],
    sigma: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The targets of a joint-candidate SPPE: others' joints answer, too, but lower.

    Args:
        targets: ``(B, K, h, w)``, Gaussians of the own joints.
        visible: ``(B, K)`` weights of the own joints; 0 where one is unknown.
        others: The other people in the crops.
        interference: mu, the height of the others' Gaussians.
        crop_size: (height, width) of the crop.
        sigma: Standard deviation in heatmap cells.

    Returns:
        Targets ``(B, K, h, w)``; weights ``(B, K)``: that of the own joint, or if it is unknown, 1
        where another's joint of that kind is in the crop; and the weight of each cell, ``(B, K, h,
        w)``: 0 in crowd regions away from the own joint.

    Source: Li et al., CrowdPose (CVPR 2019), section 3.2: T_k + mu C_k.
    Differs: the maximum of the Gaussians, not their sum, so two people's overlapping joints do not
    answer above 1; the rules for unknown joints and crowd regions are ours.
    """
    height, width = targets.shape[2:]
    own = targets * (visible > 0)[..., None, None]
    foreign = torch.zeros_like(own)
    for person in range(others.keypoints.shape[1]):
        one = gaussian_targets(others.keypoints[:, person], crop_size, (height, width), sigma)
        foreign = torch.maximum(foreign, one * others.visible[:, person, :, None, None])
    among = others.visible.amax(dim=1) if others.visible.shape[1] else torch.zeros_like(visible)
    weights = torch.where(visible > 0, visible, among)
    outside = ~_in_regions(others.regions, crop_size, (height, width))[:, None]
    cells = (outside | (own > OWN)).to(targets.dtype)
    return torch.maximum(own, interference * foreign), weights, cells


def _in_regions(
    regions: Tensor, crop_size: tuple[int, int], heatmap_size: tuple[int, int]
) -> Tensor:
    """Which cells lie in a crowd region, ``(B, h, w)``."""
    cell_to_crop = affine.invert(affine.crop_to_heatmap(crop_size, heatmap_size, "center"))
    height, width = heatmap_size
    x = torch.arange(width, device=regions.device) * cell_to_crop[0, 0] + cell_to_crop[0, 2]
    y = torch.arange(height, device=regions.device) * cell_to_crop[1, 1] + cell_to_crop[1, 2]
    inside = torch.zeros((len(regions), height, width), dtype=torch.bool, device=regions.device)
    for region in regions.unbind(dim=1):
        linear = region[:, None, None]
        places = linear[..., 0] * x[:, None] + linear[..., 1] * y[:, None, None] + linear[..., 2]
        inside |= ((places >= 0) & (places < 1)).all(dim=-1)
    return inside


def heatmap_loss(
    heatmaps: list[Tensor],
    targets: Tensor,
    weights: Tensor,
    sigma: float,
    total: Tensor,
    cells: Tensor | None = None,
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
        cells: ``(B, K, h, w)`` weights of the cells; all count by default.

    Returns:
        Scalar, summed over stacks.

    Source: RMPE, section 4.1 (mean squared error on Gaussians, intermediate supervision).
    """
    energy = torch.pi * sigma**2
    squares = [(maps.float() - targets) ** 2 for maps in heatmaps]
    if cells is not None:
        squares = [square * cells for square in squares]
    errors = [square.sum(dim=(2, 3)) for square in squares]
    return sum(((error * weights).sum() for error in errors), start=targets.new_zeros(())) / (
        energy * total
    )
