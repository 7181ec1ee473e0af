"""The other people in a crop: their joints, and regions in which nobody is annotated."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rmpe import affine
from rmpe.datasets.packed import PackedCrops
from rmpe.datasets.persons import ABSENT

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Others:
    """The others in the crops of B people, padded to P people and C regions.

    Attributes:
        keypoints: ``(B, P, K, 2)`` float32, crop pixels.
        visible: ``(B, P, K)`` float32, 1 where a labelled joint lies in the crop.
        regions: ``(B, C, 2, 3)`` float32, maps from crop pixels to a crowd region as the square
            from (0, 0) to (1, 1).
    """

    keypoints: Tensor
    visible: Tensor
    regions: Tensor

    def shrunk(self, scale: Tensor) -> "Others":
        """The same for crops whose sides are multiplied by ``scale`` (x, y)."""
        linear = self.regions[..., :2] / scale
        # crop = (shrunk + 0.5) / scale - 0.5
        shift = 0.5 / scale - 0.5
        offset = self.regions[..., 2] + (self.regions[..., :2] * shift).sum(dim=-1)
        return Others(
            (self.keypoints + 0.5) * scale - 0.5,
            self.visible,
            torch.cat([linear, offset[..., None]], dim=-1),
        )


class Neighbours:
    """Finds the others of every packed person: who is labelled in the same photo.

    Args:
        packed: The people.
    """

    def __init__(self, packed: PackedCrops) -> None:
        self.packed = packed
        people = packed.people
        height, width = packed.spec.stored_size
        labelled: NDArray[np.bool_] = np.any(np.asarray(people.visibility > ABSENT), axis=1)
        found: list[Ints] = [np.zeros(0, np.int64)] * len(people)
        for group in _groups(people.image_index):
            known = group[labelled[group]]
            for person in known:
                others = known[known != person]
                points = affine.apply(packed.image_to_stored[person], people.keypoints[others])
                with np.errstate(invalid="ignore"):  # NaN where a joint is not labelled
                    inside = np.asarray((points >= 0) & (points < [width, height]))
                found[person] = others[np.any(np.all(inside, axis=2), axis=1)]
        self.others = _padded(found)
        regions = {
            int(people.crowd_images[group[0]]): group for group in _groups(people.crowd_images)
        }
        none = np.zeros(0, np.int64)
        self.regions = _padded([regions.get(int(image), none) for image in people.image_index])

    def __call__(
        self, rows: Ints, stored_to_crop: affine.Matrix, size: tuple[int, int]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], affine.Matrix]:
        """The others of some people.

        Args:
            rows: ``(B,)`` the people.
            stored_to_crop: ``(B, 2, 3)``.
            size: (height, width) of the crops.

        Returns:
            Joints ``(B, P, K, 2)`` in crop pixels, left and right as annotated; whether they are
            labelled and in the crop ``(B, P, K)``; and maps to crowd regions as in `Others`.
        """
        people = self.packed.people
        image_to_crop = affine.compose(stored_to_crop, self.packed.image_to_stored[rows])
        others = self.others[rows]
        points = affine.apply(image_to_crop[:, None], people.keypoints[others])
        with np.errstate(invalid="ignore"):
            inside = ((points >= -0.5) & (points < np.array(size[::-1]) - 0.5)).all(axis=3)
        inside &= (others >= 0)[..., None]
        regions = self.regions[rows]
        boxes = people.crowds[regions].astype(np.float64)
        # A map without extent: everything lies at (-1, -1), outside the square.
        to_square = np.zeros((*regions.shape, 2, 3))
        to_square[..., 2] = -1
        there = regions >= 0
        sides = boxes[there][:, 2:] - boxes[there][:, :2]
        to_square[there] = affine.scale_translate(1 / sides, (0.5 - boxes[there][:, :2]) / sides)
        maps = affine.compose(to_square, affine.invert(image_to_crop)[:, None])
        return np.where(inside[..., None], points, 0.0), inside, maps


def _groups(index: Ints) -> list[Ints]:
    """Positions of equal numbers."""
    order = np.argsort(index, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(index[order])) + 1) if len(order) else []


def _padded(rows: list[Ints]) -> Ints:
    """Rows of different length as one array, filled up with -1."""
    table = np.full((len(rows), max(map(len, rows), default=0)), -1)
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table
