"""Sampling of a batch's crops: one `grid_sample` of the stored crops through any theta."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from rmpe.nets import PIXEL_MEAN, PIXEL_SD
from rmpe.nets.sstn import Size, sampling_grid, transform_points


@dataclass(frozen=True, eq=False)
class Pasted:
    """Pieces of other people's pictures in front of P of the B people.

    Attributes:
        rows: ``(P,)`` int64, in front of whom.
        stored: ``(P, 3, h, w)`` float32, 0..255: the others' stored crops.
        disturbed_to_stored: ``(P, 2, 3)`` float32, normalised coordinates: from the crop in which a
            piece is pasted.
        patches: ``(P, 4)`` xyxy of the pieces, normalised in the disturbed crop.
    """

    rows: Tensor
    stored: Tensor
    disturbed_to_stored: Tensor
    patches: Tensor

    def over(self, images: Tensor, disturbed: Tensor) -> Tensor:
        """Put the pieces in front of ``images`` ``(B, 3, H, W)``, sampled at ``disturbed``."""
        places = disturbed.expand(len(images), -1, -1, -1)[self.rows]
        others = transform_points(self.disturbed_to_stored, places)
        pieces = F.grid_sample(
            self.stored, others, mode="bilinear", padding_mode="zeros", align_corners=False
        )
        covered = _inside(places, self.patches)
        return images.index_copy(0, self.rows, torch.where(covered, pieces, images[self.rows]))


@dataclass(frozen=True, eq=False)
class Source:
    """Stored crops of B people and the maps to them from the disturbed crops of proposals.

    Called with a theta, it returns the view of an STN on the disturbed crop, but sampled once from
    the stored pixels. The view is therefore sharper and includes limbs that the disturbed crop cuts
    off.

    Attributes:
        stored: ``(B, 3, h, w)`` float32, 0..255.
        disturbed_to_stored: ``(B, 2, 3)`` float32, normalised coordinates.
        gains: ``(B, 3)``, factor of each channel.
        patches: ``(B, 4)`` xyxy, an occluding rectangle, normalised in the disturbed crop.
        colors: ``(B, 3)``, colours of the rectangles, 0..255.
        pasted: Pieces of other photos, behind the rectangles.

    Differs: the paper samples the transformed crop from the crop.
    """

    stored: Tensor
    disturbed_to_stored: Tensor
    gains: Tensor
    patches: Tensor
    colors: Tensor
    pasted: Pasted | None = None

    def __call__(self, theta: Tensor, size: Size) -> Tensor:
        """Sample through the composed map; gradients reach theta.

        Args:
            theta: ``(B, 2, 3)`` centred_to_disturbed, or ``(1, 2, 3)`` for all people; the identity
                gives the disturbed crops.
            size: (height, width) of the output.

        Returns:
            ``(B, 3, height, width)`` normalised images, black outside the stored crop.
        """
        disturbed = sampling_grid(theta, size)
        stored = transform_points(self.disturbed_to_stored, disturbed)
        images = F.grid_sample(
            self.stored, stored, mode="bilinear", padding_mode="zeros", align_corners=False
        )
        if self.pasted is not None:
            images = self.pasted.over(images, disturbed)
        images = (images * self.gains[:, :, None, None]).clamp(0, 255)
        covered = _inside(disturbed, self.patches)
        images = (
            torch.where(covered, self.colors[:, :, None, None], images) - PIXEL_MEAN
        ) / PIXEL_SD
        return images.contiguous(memory_format=torch.channels_last)


def _inside(places: Tensor, patches: Tensor) -> Tensor:
    """Which of ``places`` ``(B, H, W, 2)`` lie in the rectangles ``(B, 4)``: ``(B, 1, H, W)``."""
    low, high = patches[:, None, None, :2], patches[:, None, None, 2:]
    return ((places >= low) & (places < high)).all(dim=-1)[:, None]
