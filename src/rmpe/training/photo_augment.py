"""Detector inputs cut from packed photos on the device: scale, shift, flip, mosaic, colour."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from rmpe.datasets.photos import IGNORED, NOTHING, PERSON
from rmpe.training.detection import DetectionTargets

GREY: Final = 114.0
# A person cut by the border teaches only if this much of it is left; thinner ones than this many pixels never do.
VISIBLE_SHARE: Final = 0.3
THINNEST: Final = 3.0


@dataclass(frozen=True)
class PhotoAugmentation:
    """How inputs are drawn.

    Attributes:
        size: (height, width) of the input.
        scale: Least and largest factor from stored to input pixels.
        aspect: Largest factor by which width and height are stretched apart.
        mosaic: Chance that a batch is made of four photos an input.
        color: Largest relative change of brightness, contrast and saturation.
    """

    size: tuple[int, int]
    scale: tuple[float, float] = (0.6, 1.3)
    aspect: float = 1.15
    mosaic: float = 0.3
    color: float = 0.25


def draw_inputs(
    canvases: Tensor, sizes: Tensor, boxes: Tensor, kinds: Tensor, how: PhotoAugmentation, generator: torch.Generator
) -> tuple[Tensor, DetectionTargets]:
    """A batch of augmented inputs.

    All photos of a mosaic batch share one middle, so that a quarter has the same shape in all of them.

    Args:
        canvases: ``(4 B or B, S, S, 3)`` uint8; with 4 B photos the batch is a mosaic.
        sizes: ``(.., 2)`` height and width of each photo on its canvas.
        boxes: ``(.., M, 4)`` xyxy canvas pixels.
        kinds: ``(.., M)``, see `rmpe.datasets.photos`.
        how: How.
        generator: Source of randomness, on the CPU.

    Returns:
        Images ``(B, 3, H, W)`` float32 on the 0..255 scale and their targets.
    """
    height, width = how.size
    if len(canvases) % 4 or torch.rand((), generator=generator) >= how.mosaic:
        images, boxes, kinds = _place(canvases, sizes, boxes, kinds, how, how.size, 1.0, generator)
    else:
        split = (torch.rand(2, generator=generator) * 0.4 + 0.3) * torch.tensor([height, width])
        row, column = (int(value) for value in split)
        images, boxes, kinds = _mosaic(canvases, sizes, boxes, kinds, how, (row, column), generator)
    images = _color(images, how.color, generator)
    return images, DetectionTargets(boxes, kinds == PERSON, kinds == IGNORED)


def _mosaic(canvases, sizes, boxes, kinds, how, middle, generator):
    (height, width), (row, column) = how.size, middle
    quarters = []
    corners = ((0, 0), (0, column), (row, 0), (row, column))
    for part, (top, left) in enumerate(corners):
        rectangle = (row if top == 0 else height - row, column if left == 0 else width - column)
        chosen = slice(part, None, 4)
        image, box, kind = _place(
            canvases[chosen], sizes[chosen], boxes[chosen], kinds[chosen], how, rectangle, 0.8, generator
        )
        quarters.append((image, box + torch.tensor([left, top, left, top], dtype=torch.float32, device=box.device), kind))
    images = [quarter[0] for quarter in quarters]
    rows = [torch.cat(images[:2], dim=3), torch.cat(images[2:], dim=3)]
    return torch.cat(rows, dim=2), torch.cat([q[1] for q in quarters], dim=1), torch.cat([q[2] for q in quarters], dim=1)


def _place(canvases, sizes, boxes, kinds, how, rectangle, shrink, generator):
    """Photos, scaled, flipped and shifted, on rectangles of ``rectangle`` (height, width)."""
    count, device = len(canvases), canvases.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) * (high - low) + low

    low, high = (torch.tensor(value).log().item() for value in how.scale)
    stretch = torch.tensor(how.aspect).log().item()
    base, aspect = uniform(low, high, count), uniform(-stretch / 2, stretch / 2, count)
    scale = torch.stack([base + aspect, base - aspect], dim=1).exp().to(device) * shrink
    extent = sizes.flip(1) * scale  # width, height of the photo as placed
    room = torch.tensor(rectangle[::-1], dtype=torch.float32, device=device) - extent
    shift = room * torch.rand(count, 2, generator=generator).to(device)
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0).to(device)
    # stored x -> input x: x' = slope x + offset; a flipped photo runs backwards from its right edge.
    slope = scale * torch.stack([flip, torch.ones_like(flip)], dim=1)
    offset = shift + torch.stack([torch.where(flip < 0, extent[:, 0], 0.0), torch.zeros_like(flip)], dim=1)
    images = _warp(canvases, slope, offset, rectangle)
    moved = boxes.reshape(count, -1, 2, 2) * slope[:, None, None] + offset[:, None, None]
    corners = torch.cat([moved.amin(dim=2), moved.amax(dim=2)], dim=-1)
    limit = torch.tensor([*rectangle[::-1]] * 2, dtype=torch.float32, device=device)
    clipped = corners.clamp(min=torch.zeros_like(limit), max=limit)
    whole, left = (c[..., 2:] - c[..., :2] for c in (corners, clipped))
    share = left.prod(dim=-1) / whole.prod(dim=-1).clamp(min=1e-6)
    doubtful = (share < VISIBLE_SHARE) | (left.amin(dim=-1) < THINNEST)
    kinds = torch.where((kinds == PERSON) & doubtful, torch.full_like(kinds, IGNORED), kinds)
    kinds = torch.where(left.amin(dim=-1) <= 0, torch.full_like(kinds, NOTHING), kinds)
    return images, clipped, kinds


def _warp(canvases: Tensor, slope: Tensor, offset: Tensor, rectangle: tuple[int, int]) -> Tensor:
    """Canvases ``(B, S, S, 3)`` moved by ``x' = slope x + offset``, grey where there is no photo."""
    side = canvases.shape[1]
    grids = []
    for axis, length in ((0, rectangle[1]), (1, rectangle[0])):
        pixel = torch.arange(length, device=canvases.device, dtype=torch.float32) + 0.5
        source = (pixel - offset[:, axis, None]) / slope[:, axis, None]
        grids.append(source * 2 / side - 1)
    x, y = grids
    grid = torch.stack([x[:, None].expand(-1, rectangle[0], -1), y[:, :, None].expand(-1, -1, rectangle[1])], dim=-1)
    centred = canvases.permute(0, 3, 1, 2).to(torch.float32) - GREY
    return F.grid_sample(centred, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + GREY


def _color(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation changed by up to ``strength``, a different change for every image."""
    gain = 1 + (torch.rand(3, len(images), 1, 1, 1, generator=generator) * 2 - 1).to(images.device) * strength
    brightness, contrast, saturation = gain
    images = images * brightness
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * contrast + mean
    grey = images.mean(dim=1, keepdim=True)
    return ((images - grey) * saturation + grey).clamp(0, 255)
