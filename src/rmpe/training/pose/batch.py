"""A training batch: people as the nets see them."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from rmpe.training.pose.distill import TeacherView
from rmpe.training.pose.hints import Features
from rmpe.training.pose.others import Others
from rmpe.training.pose.source import Source


@dataclass(frozen=True, eq=False)
class Batch:
    """People as the nets see them; B people, K joints, crops of (H, W).

    Attributes:
        images: ``(B, 3, H, W)`` float32, normalised crops of the proposals.
        keypoints: ``(B, K, 2)`` float32, crop pixels.
        visible: ``(B, K)`` float32 weight, 0 = not to be learnt from.
        theta: ``(B, 2, 3)`` float32, true map centred_to_disturbed, normalised coordinates.
        centred_keypoints: ``(B, K, 2)`` float32, pixels of the undisturbed crop.
        centred_visible: ``(B, K)`` float32.
        source: What the crops were sampled from, or None if not asked for; ``source(theta, (H,
            W))`` are the crops of the undisturbed boxes.
        teacher: A teacher's heatmaps, or None without one.
        others: The other people in the crops, or None if they do not count.
        hints: A teacher's features for each part of the net, scaled; None without hints.
    """

    images: Tensor
    keypoints: Tensor
    visible: Tensor
    theta: Tensor
    centred_keypoints: Tensor
    centred_visible: Tensor
    source: Source | None = None
    teacher: TeacherView | None = None
    others: Others | None = None
    hints: list[Features] | None = None

    def shrunk(self, size: tuple[int, int]) -> "Batch":
        """The same crops with fewer pixels, without a source."""
        shape = self.images.shape[2:]
        if shape == size:
            return replace(self, source=None)
        images = F.interpolate(
            self.images, size, mode="bilinear", align_corners=False, antialias=True
        )
        scale = self.keypoints.new_tensor([size[1] / shape[1], size[0] / shape[0]])
        return replace(
            self,
            images=images.contiguous(memory_format=torch.channels_last),
            keypoints=(self.keypoints + 0.5) * scale - 0.5,
            centred_keypoints=(self.centred_keypoints + 0.5) * scale - 0.5,
            source=None,
            others=None if self.others is None else self.others.shrunk(scale),
        )
