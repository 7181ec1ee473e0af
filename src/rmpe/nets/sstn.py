"""Symmetric spatial transformer: the STN before the pose estimator and the SDTN, its inverse.

A ``theta`` is a ``(B, 2, 3)`` tensor ``[t1 t2 t3]`` that maps normalised coordinates of the STN's
output (the centred crop) to normalised coordinates of its input (the proposal's crop):
centred_to_disturbed. Normalised means [-1, 1] at the outer edges of the first and last pixel
(``align_corners=False``), so the same theta applies to crops and heatmaps.

Source: Fang et al., RMPE, section 3.1, Eq. 1-6.
"""

from typing import Final, Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

Size: TypeAlias = tuple[int, int]
Motion: TypeAlias = Literal["affine", "similarity", "stretch", "zoom"]
MOTIONS: tuple[str, ...] = get_args(Motion)

# Number of outputs of a localisation net for each family of maps.
PARAMETERS: Final[dict[str, int]] = {"affine": 6, "similarity": 4, "stretch": 4, "zoom": 3}

# Determinants are kept above this in magnitude (a person 1/30 of the crop wide and high).
MIN_AREA = 1e-3
# Scales are limited to exp(+-LOG_SCALE_LIMIT), so a bad training step cannot overflow.
LOG_SCALE_LIMIT = 2.0


def theta_from_parameters(parameters: Tensor, motion: Motion, aspect: float) -> Tensor:
    """Theta from the outputs of a localisation net; zeros give the identity in every family.

    - ``affine`` (6): the entries of theta minus the identity, row by row, as in the paper.
    - ``similarity`` (4): log scale, angle in radians, translation x, y.
    - ``stretch`` (4): log scale x, log scale y, translation x, y.
    - ``zoom`` (3): log scale, translation x, y; sufficient for perturbed boxes of a fixed aspect.

    Args:
        parameters: ``(B, P)`` with ``P = PARAMETERS[motion]``.
        motion: The family of maps.
        aspect: Width over height of the crop. A rotation of the image is a shear in normalised
            coordinates unless the crop is square: ``N R N^-1`` with ``N = diag(1 / width, 1 /
            height)``.

    Returns:
        Theta ``(B, 2, 3)``, at least float32.

    Source: section 3.1 (the affine family).
    Differs: the paper has 6 free numbers and a last layer whose bias is the identity; here the
        identity is added, so weight decay pulls towards it. The smaller families are ours.
    """
    # In half precision, theta would be wrong by whole pixels.
    if parameters.dtype in (torch.float16, torch.bfloat16):
        parameters = parameters.float()
    if motion == "affine":
        identity = torch.eye(2, 3, dtype=parameters.dtype, device=parameters.device)
        return parameters.view(-1, 2, 3) + identity
    translation = parameters[:, -2:]
    if motion == "similarity":
        scale = _scale(parameters[:, 0])
        angle = parameters[:, 1]
        cosine = scale * torch.cos(angle)
        sine = scale * torch.sin(angle)
        linear = torch.stack([cosine, -sine / aspect, sine * aspect, cosine], dim=-1).view(-1, 2, 2)
    else:  # zoom has one log scale, stretch two
        linear = torch.diag_embed(_scale(parameters[:, :-2]).expand(-1, 2))
    return torch.cat([linear, translation[:, :, None]], dim=-1)


def _scale(log_scale: Tensor) -> Tensor:
    return torch.exp(log_scale.clamp(-LOG_SCALE_LIMIT, LOG_SCALE_LIMIT))


def invert_theta(theta: Tensor) -> Tensor:
    """Gamma, the inverse of theta: ``[g1 g2] = [t1 t2]^-1`` and ``g3 = -[g1 g2] t3``.

    The inverse is the adjugate divided by the determinant, whose magnitude is kept at least
    `MIN_AREA`. The result is exact for ``|det A| >= MIN_AREA``, and finite with finite gradients
    otherwise.

    Args:
        theta: ``(B, 2, 3)``.

    Returns:
        Gamma ``(B, 2, 3)``: normalised input coordinates to normalised output coordinates.

    Source: section 3.1, Eq. 2-4; its gradients, by autograd, are Eq. 5-6.
    Differs: the determinant is regularised; the paper does not treat a singular theta.
    """
    (a, b, x) = theta[:, 0].unbind(-1)
    (c, d, y) = theta[:, 1].unbind(-1)
    determinant = a * d - b * c
    away = determinant.abs().clamp(min=MIN_AREA)
    determinant = torch.where(determinant < 0, -away, away)
    adjugate = torch.stack([d, -b, b * y - d * x, -c, a, c * x - a * y], dim=-1)
    return adjugate.view(-1, 2, 3) / determinant[:, None, None]


def transform_points(theta: Tensor, points: Tensor) -> Tensor:
    """Move points by theta, both in normalised coordinates.

    Args:
        theta: ``(B, 2, 3)``.
        points: ``(B, ..., 2)`` as (x, y).

    Returns:
        Points of the same shape. The computation is elementwise because a matrix product would lose
            precision under autocast.

    Source: section 3.1, Eq. 1 (with theta) and Eq. 2 (with gamma).
    """
    theta = theta.view(-1, *[1] * (points.ndim - 2), 2, 3)
    return points[..., :1] * theta[..., 0] + points[..., 1:] * theta[..., 1] + theta[..., 2]


def normalise_points(points: Tensor, size: Size) -> Tensor:
    """Points ``(..., 2)`` from pixels of a grid of ``size`` (height, width) to [-1, 1]."""
    return (2 * points + 1) / points.new_tensor(size[::-1]) - 1


def denormalise_points(points: Tensor, size: Size) -> Tensor:
    """Points ``(..., 2)`` from [-1, 1] to pixels of a grid of ``size`` (height, width)."""
    return ((points + 1) * points.new_tensor(size[::-1]) - 1) / 2


def sampling_grid(theta: Tensor, size: Size) -> Tensor:
    """The input position of each output pixel, ``(B, h, w, 2)`` normalised, as in `F.affine_grid`.

    Source: section 3.1, Eq. 1.
    """
    x, y = (
        torch.arange(n, dtype=theta.dtype, device=theta.device).mul(2).add(1).div(n).sub(1)
        for n in size[::-1]
    )
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    return transform_points(theta, points[None])


def stn(images: Tensor, theta: Tensor, size: Size) -> Tensor:
    """Spatial transformer: sample the region given by theta, bilinear, zero outside the image.

    Args:
        images: ``(B, C, H, W)``.
        theta: ``(B, 2, 3)``, normalised output to normalised input coordinates.
        size: (height, width) of the output.

    Returns:
        ``(B, C, height, width)``.

    Source: section 3.1, Eq. 1.
    """
    grid = sampling_grid(theta, size).to(images.dtype)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def sdtn(heatmaps: Tensor, theta: Tensor) -> Tensor:
    """Spatial de-transformer for heatmaps: from the centred crop back to the proposal's crop.

    Args:
        heatmaps: ``(B, K, h, w)`` in the frame of the STN's output.
        theta: The STN's ``(B, 2, 3)``.

    Returns:
        ``(B, K, h, w)`` in the frame of the STN's input.

    Source: section 3.1, Eq. 2-4.
    """
    height, width = heatmaps.shape[-2:]
    return stn(heatmaps, invert_theta(theta), (height, width))


def sdtn_points(points: Tensor, theta: Tensor, size: Size) -> Tensor:
    """Spatial de-transformer for decoded joints: the same map as `sdtn`, without resampling.

    Theta itself maps centred to disturbed coordinates, so points need no inverse, and a singular
    theta does no harm.

    Args:
        points: ``(B, K, 2)`` pixels of the centred crop.
        theta: The STN's ``(B, 2, 3)``.
        size: (height, width) of both crops.

    Returns:
        ``(B, K, 2)`` pixels of the proposal's crop.

    Source: section 3.1, Eq. 1-2.
    Differs: Eq. 2 of the paper moves heatmaps, with gamma; see `sdtn`.
    """
    return denormalise_points(transform_points(theta, normalise_points(points, size)), size)


def theta_loss(theta: Tensor, true_theta: Tensor, beta: float = 0.05) -> Tensor:
    """Smooth L1 distance to the true transform, a scalar: the mean over samples and entries.

    Args:
        theta: ``(B, 2, 3)``, predicted.
        true_theta: ``(B, 2, 3)``, the true centred_to_disturbed map, known because the perturbed
            box is derived from the true box.
        beta: Distance at which the loss turns from quadratic to linear, in normalised units.

    Differs: not in the paper, which trains theta only with the two heatmap losses.
    """
    return F.smooth_l1_loss(theta, true_theta.to(theta.dtype), beta=beta)
