"""SSD's augmentation of whole photos: zooming out, then sampled patches.

Source: Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, sections 2.2 (patches) and 3.6
    (zooming out).
"""

from typing import Final

import torch
from torch import Tensor

from rmpe.nets.detectors.boxes import pairwise_iou

# Choices for the minimum IoU of a patch with a person; None is the whole photo, 0 is any patch.
PATCHES: Final = (None, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0)
PATCH_SIDE: Final = (0.3, 1.0)
TRIES: Final = 50
# Largest side of the canvas onto which a photo is zoomed out, in sides of the photo: 16 times the
# area.
FARTHEST: Final = 4.0


def zoom_out(generator: torch.Generator) -> Tensor:
    """Sample a canvas that contains the photo, which makes people small.

    Returns:
        The canvas ``(4,)`` xyxy, fractions of the photo; ``(0, 0, 1, 1)`` is the photo itself.

    Source: SSD, section 3.6, "expansion" augmentation.
    """
    side = 1 + (FARTHEST - 1) * torch.rand((), generator=generator)
    start = -(side - 1) * torch.rand(2, generator=generator)
    return torch.cat([start, start + side])


def patch_of(people: Tensor, zoom: float, generator: torch.Generator) -> Tensor:
    """Sample a patch of a photo that is first zoomed out, with probability ``zoom``.

    Args:
        people: ``(M, 4)`` xyxy, fractions of the photo.
        zoom: Probability of zooming out; one half in the authors' code.
        generator: Source of randomness.

    Returns:
        ``(4,)`` xyxy, fractions of the photo; it may reach beyond the photo.
    """
    if torch.rand((), generator=generator) >= zoom:
        return sample_patch(people, generator)
    canvas = zoom_out(generator)
    corner = canvas[:2].repeat(2)
    side = canvas[2] - canvas[0]
    return corner + sample_patch((people - corner) / side, generator) * side


def sample_patch(people: Tensor, generator: torch.Generator) -> Tensor:
    """Sample a training patch: the whole photo, or a patch with a minimum IoU with a person.

    Args:
        people: ``(M, 4)`` xyxy, fractions of the photo.
        generator: Source of randomness.

    Returns:
        The patch ``(4,)`` xyxy, fractions of the photo; the whole photo if no try succeeds.

    Source: SSD, section 2.2, "Data augmentation"; the smallest side is 0.3 as in the authors' code
    (paper: 0.1).
    """
    whole = torch.tensor([0.0, 0.0, 1.0, 1.0])
    least = PATCHES[int(torch.randint(len(PATCHES), (), generator=generator))]
    if least is None or not len(people):
        return whole
    low, high = PATCH_SIDE
    scale = low + (high - low) * torch.rand(TRIES, generator=generator)
    # Aspect ratios from 1/2 to 2, limited so that the patch stays inside the photo.
    root = torch.maximum(torch.tensor(0.5), scale**2)
    aspect = root + (torch.minimum(torch.tensor(2.0), scale**-2) - root) * torch.rand(
        TRIES, generator=generator
    )
    sides = torch.stack([scale * aspect.sqrt(), scale / aspect.sqrt()], dim=1)
    start = (1 - sides) * torch.rand(TRIES, 2, generator=generator)
    patches = torch.cat([start, start + sides], dim=1)
    fits = pairwise_iou(patches, people).amax(dim=1) >= least
    middle = (people[:, :2] + people[:, 2:]) / 2
    holds = (
        ((middle > patches[:, None, :2]) & (middle < patches[:, None, 2:])).all(dim=-1).any(dim=1)
    )
    good = torch.nonzero(fits & holds)
    return patches[good[0, 0]] if len(good) else whole
