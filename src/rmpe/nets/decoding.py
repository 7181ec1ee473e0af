"""Heatmap decoding in PyTorch for exported graphs; same as `rmpe.estimate.heatmaps.decode_dark`."""

import torch
from torch import Tensor

from rmpe.nets.sstn import Size, denormalise_points, normalise_points

# Responses are clamped to this minimum before the logarithm.
FLOOR = 1e-10


def decode_heatmaps(heatmaps: Tensor, crop_size: Size) -> tuple[Tensor, Tensor]:
    """The peak of each heatmap, refined to the maximum of a Gaussian fitted around it.

    Args:
        heatmaps: Responses ``(B, K, h, w)``, both sides at least 3.
        crop_size: (height, width) of the crop.

    Returns:
        Points ``(B, K, 2)`` in pixels of the crop, and responses ``(B, K)``.

    Source: Zhang et al., "Distribution-aware coordinate representation" (DARK, CVPR 2020), Eq. 4-9.
    """
    height, width = heatmaps.shape[-2:]
    flat = heatmaps.flatten(2)
    scores, index = flat.max(dim=2)
    x = index % width
    y = index // width
    # The nine values around the peak. Border peaks are not refined, so any nine values serve there.
    reach = torch.arange(-1, 2, device=heatmaps.device)
    rows = y.clamp(1, height - 2)[..., None, None] + reach[:, None]
    columns = x.clamp(1, width - 2)[..., None, None] + reach
    patch = flat.gather(2, (rows * width + columns).flatten(2)).clamp(min=FLOOR).log()
    nw, n, ne, w, here, e, sw, s, se = patch.unbind(-1)
    dx = (e - w) / 2
    dy = (s - n) / 2
    dxy = (se - sw - ne + nw) / 4
    dxx = e - 2 * here + w
    dyy = s - 2 * here + n
    determinant = dxx * dyy - dxy * dxy
    border = (x < 1) | (x > width - 2) | (y < 1) | (y > height - 2)
    summit = (dxx < 0) & (determinant > FLOOR) & ~border & (scores > 0)
    step = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], dim=-1)
    step = (step / torch.where(summit, determinant, 1.0)[..., None]).clamp(-1, 1)
    cells = torch.stack([x, y], dim=-1) + torch.where(summit[..., None], step, 0.0)
    return denormalise_points(normalise_points(cells, (height, width)), crop_size), scores
