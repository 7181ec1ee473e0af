"""Augmentation of packed photos on the device: scale, shift, flip, mosaic, colour."""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rmpe.training.detector.losses import DetectionTargets
from rmpe.training.detector.patches import patch_of
from rmpe.training.detector.photos import IGNORED, NOTHING, PERSON

GREY: Final = 114.0
# People are ignored if less than this share of their box is visible, or if a side is shorter than
# this many pixels.
VISIBLE_SHARE: Final = 0.3
THINNEST: Final = 3.0
# Range of a mosaic's centre, as fractions of the input.
MIDDLE: Final = (0.3, 0.7)


# Pixels of a side of a detector's input.
LARGEST_INPUT = 4096


@dataclass(frozen=True)
class PhotoAugmentation:
    """Options of the augmentation.

    Attributes:
        size: (height, width) of the input.
        scale: Smallest and largest factor from stored to input pixels.
        aspect: Largest change of the aspect ratio, as a factor.
        mosaic: Probability that a batch consists of mosaics of four photos per input.
        color: Largest relative change of brightness, contrast and saturation.
        zoom_out: For SSD-512: probability that a photo is zoomed out before a patch is sampled.
    """

    size: tuple[int, int]
    scale: tuple[float, float] = (0.6, 1.3)
    aspect: float = 1.15
    mosaic: float = 0.3
    color: float = 0.25
    zoom_out: float = 0.5

    def __post_init__(self) -> None:
        if not all(32 <= side <= LARGEST_INPUT for side in self.size):
            raise ValueError(
                f"size = {list(self.size)}: sides must be 32 to {LARGEST_INPUT} pixels"
            )
        if not 0 < self.scale[0] <= self.scale[1] <= 10:
            raise ValueError(f"scale = {list(self.scale)} must be two rising factors up to 10")
        if not 1 <= self.aspect <= 10:
            raise ValueError(f"aspect = {self.aspect} must lie in [1, 10]")
        for name in ("mosaic", "color", "zoom_out"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)} must lie in [0, 1]")


class PhotoBatch(NamedTuple):
    """Packed photos on the device, see `rmpe.training.detector.photos.PackedPhotos`.

    Attributes:
        canvases: ``(N, S, S, 3)`` uint8.
        sizes: ``(N, 2)`` float32, height and width of each photo on its canvas.
        boxes: ``(N, M, 4)`` float32 xyxy canvas pixels.
        kinds: ``(N, M)`` uint8.
    """

    canvases: Tensor
    sizes: Tensor
    boxes: Tensor
    kinds: Tensor

    def every(self, step: int, start: int) -> "PhotoBatch":
        """Every ``step``-th photo, starting at ``start``."""
        return PhotoBatch(*(field[start::step] for field in self))


class Placed(NamedTuple):
    """Photos drawn on rectangles, with boxes in pixels of the rectangles."""

    images: Tensor
    boxes: Tensor
    kinds: Tensor


def draw_inputs(
    photos: PhotoBatch, how: PhotoAugmentation, generator: torch.Generator, mosaic: bool = False
) -> tuple[Tensor, DetectionTargets]:
    """A batch of augmented inputs.

    Args:
        photos: One photo per input, or four for a mosaic.
        how: The augmentation.
        generator: Source of randomness, on the CPU.
        mosaic: Whether each input is a mosaic of four photos.

    Returns:
        Images ``(B, 3, H, W)`` float32 on the 0..255 scale and their targets.
    """
    placed = _mosaic(photos, how, generator) if mosaic else _place(photos, how, how.size, generator)
    targets = DetectionTargets(placed.boxes, placed.kinds == PERSON, placed.kinds == IGNORED)
    return _color(placed.images, how.color, generator), targets


def draw_patches(
    photos: PhotoBatch, how: PhotoAugmentation, generator: torch.Generator
) -> tuple[Tensor, DetectionTargets]:
    """SSD's augmentation: zooming out, a sampled patch, stretched to the input, flipped at random.

    Args:
        photos: One photo per input.
        how: The augmentation; only ``size``, ``color`` and ``zoom_out`` are used.
        generator: Source of randomness, on the CPU.

    Source: SSD, sections 2.2 and 3.6; see `rmpe.training.detector.patches`.
    Differs: what lies outside the photo is grey, not the mean colour; people are ignored by the
        visibility rule of `draw_inputs`, not if their centre is outside the patch.
    """
    device = photos.canvases.device
    extent = photos.sizes.flip(1)
    shares = (photos.boxes / extent.repeat(1, 2)[:, None]).cpu()
    people = [
        boxes[kinds == PERSON] for boxes, kinds in zip(shares, photos.kinds.cpu(), strict=True)
    ]
    patches = torch.stack([patch_of(boxes, how.zoom_out, generator) for boxes in people])
    patches = patches.to(device) * extent.repeat(1, 2)
    target = extent.new_tensor(how.size[::-1])
    slope = target / (patches[:, 2:] - patches[:, :2])
    offset = -patches[:, :2] * slope
    flipped = torch.rand(len(patches), generator=generator).to(device) < 0.5
    slope[flipped, 0] *= -1
    offset[flipped, 0] = target[0] - offset[flipped, 0]
    placed = _move(photos, slope, offset, how.size)
    targets = DetectionTargets(placed.boxes, placed.kinds == PERSON, placed.kinds == IGNORED)
    return _color(placed.images, how.color, generator), targets


def _mosaic(photos: PhotoBatch, how: PhotoAugmentation, generator: torch.Generator) -> Placed:
    """Mosaics of four photos; all share one centre, so quarters can be processed as a batch."""
    height, width = how.size
    low, high = MIDDLE
    split = torch.rand(2, generator=generator) * (high - low) + low
    row = int(split[0] * height)
    column = int(split[1] * width)
    quarters = []
    for part, (top, left) in enumerate(((0, 0), (0, column), (row, 0), (row, column))):
        rectangle = (height - row if top else row, width - column if left else column)
        images, boxes, kinds = _place(photos.every(4, part), how, rectangle, generator)
        quarters.append(Placed(images, boxes + boxes.new_tensor([left, top, left, top]), kinds))
    rows = [
        torch.cat([quarter.images for quarter in quarters[start : start + 2]], dim=3)
        for start in (0, 2)
    ]
    boxes, kinds = (torch.cat([quarter[field] for quarter in quarters], dim=1) for field in (1, 2))
    return Placed(torch.cat(rows, dim=2), *_packed(boxes, kinds))


def _packed(boxes: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
    """The boxes with minimal padding; the concatenation of four photos is mostly padding."""
    used = kinds != NOTHING
    most = max(1, int(used.sum(dim=1).max()))
    order = used.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]
    return boxes.gather(1, order[..., None].expand(-1, -1, 4)), kinds.gather(1, order)


def _place(
    photos: PhotoBatch,
    how: PhotoAugmentation,
    rectangle: tuple[int, int],
    generator: torch.Generator,
) -> Placed:
    """Photos scaled, flipped and shifted at random on rectangles of (height, width)."""
    count = len(photos.canvases)
    device = photos.canvases.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (torch.rand(*shape, generator=generator) * (high - low) + low).to(device)

    smallest, largest = map(math.log, how.scale)
    size = uniform(smallest, largest, count)
    stretch = uniform(-0.5, 0.5, count) * math.log(how.aspect)
    scale = torch.stack([size + stretch, size - stretch], dim=1).exp()
    extent = photos.sizes.flip(1) * scale  # width, height of the photo as placed
    shift = (extent.new_tensor(rectangle[::-1]) - extent) * uniform(0, 1, count, 2)
    # From canvas x to rectangle x: slope x + offset; a flipped photo runs back from its right edge.
    flipped = uniform(0, 1, count) < 0.5
    slope = scale.clone()
    offset = shift.clone()
    slope[flipped, 0] *= -1
    offset[flipped, 0] += extent[flipped, 0]
    return _move(photos, slope, offset, rectangle)


def _move(photos: PhotoBatch, slope: Tensor, offset: Tensor, rectangle: tuple[int, int]) -> Placed:
    """Photos and boxes moved by ``x' = slope x + offset``, both ``(N, 2)``."""
    boxes, kinds = _moved(photos.boxes, photos.kinds, slope, offset, rectangle)
    return Placed(warp(photos.canvases, slope, offset, rectangle), boxes, kinds)


def _moved(
    boxes: Tensor, kinds: Tensor, slope: Tensor, offset: Tensor, rectangle: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Boxes moved by ``x' = slope x + offset`` and clipped; barely visible people are ignored."""
    moved = boxes.reshape(len(boxes), -1, 2, 2) * slope[:, None, None] + offset[:, None, None]
    whole = torch.cat([moved.amin(dim=2), moved.amax(dim=2)], dim=-1)
    limit = whole.new_tensor([*rectangle[::-1], *rectangle[::-1]])
    cut = torch.minimum(whole.clamp(min=0), limit)
    sides = cut[..., 2:] - cut[..., :2]
    share = sides.prod(dim=-1) / (whole[..., 2:] - whole[..., :2]).prod(dim=-1).clamp(min=1e-6)
    doubtful = (kinds == PERSON) & ((share < VISIBLE_SHARE) | (sides.amin(dim=-1) < THINNEST))
    kinds = kinds.masked_fill(doubtful, IGNORED)
    return cut, kinds.masked_fill(sides.amin(dim=-1) <= 0, NOTHING)


def warp(canvases: Tensor, slope: Tensor, offset: Tensor, rectangle: tuple[int, int]) -> Tensor:
    """Move canvases by ``x' = slope x + offset``, with grey outside.

    Args:
        canvases: ``(B, S, S, 3)``.
        slope: ``(B, 2)``.
        offset: ``(B, 2)``.
        rectangle: (height, width) of the result.

    Returns:
        ``(B, 3, height, width)``.
    """
    side = canvases.shape[1]
    grids = []
    for axis, length in enumerate(rectangle[::-1]):
        pixel = torch.arange(length, device=canvases.device, dtype=torch.float32) + 0.5
        source = (pixel - offset[:, axis, None]) / slope[:, axis, None]
        grids.append(source * 2 / side - 1)
    x, y = grids
    grid = torch.stack(
        [x[:, None].expand(-1, rectangle[0], -1), y[:, :, None].expand(-1, -1, rectangle[1])],
        dim=-1,
    )
    centred = canvases.permute(0, 3, 1, 2).to(torch.float32) - GREY
    return (
        F.grid_sample(centred, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        + GREY
    )


def _color(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation of each image by up to ``strength``."""
    gain = (
        1
        + (torch.rand(3, len(images), 1, 1, 1, generator=generator) * 2 - 1).to(images.device)
        * strength
    )
    brightness, contrast, saturation = gain
    images = images * brightness
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * contrast + mean
    grey = images.mean(dim=1, keepdim=True)
    return ((images - grey) * saturation + grey).clamp(0, 255)
