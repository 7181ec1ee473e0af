"""Augmentation: from stored people to a training batch with one affine map and one ``grid_sample``.

Frames: *stored* (pixels of the packed crop), *centred* (the crop of the true box, turned, scaled
and mirrored), *disturbed* (the crop of a proposal, moved likewise). The picture is turned first and
the proposal is an upright box in the turned picture, as it would be around a leaning person;
mirroring comes last.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rmpe import affine
from rmpe.boxes import Boxes
from rmpe.datasets.packed import PackedCrops
from rmpe.propose.offsets import disturb
from rmpe.propose.pgpg import Pgpg
from rmpe.propose.policies import BoxPolicy, load_policy
from rmpe.propose.regions import grow_proposals
from rmpe.training.pose.batch import Batch
from rmpe.training.pose.distill import PseudoLabels, TeacherHeatmaps, TeacherView
from rmpe.training.pose.others import Neighbours, Others
from rmpe.training.pose.source import Pasted, Source
from rmpe.training.pose.spoil import spoil

LOWER_BODY = ("hip", "knee", "ankle", "foot", "toe", "heel", "pelvis")
# A half body is cut out only where this many joints say where it is; its box is their extent times
# this.
HALF_BODY_JOINTS = 4
HALF_BODY_GROWTH = 1.5
# The paper calls a third of its samples random sub-patches of the person and gives no sizes.
SUB_PATCH_SIDES = (0.6, 1.0)
OCCLUSION_SIDES = (0.1, 0.4)
# Sides of a piece of another person's picture, and how far its middle is from that person's, as
# shares of the crop.
PASTED_SIDES, PASTED_SHIFT = (0.25, 0.6), 0.25


@dataclass(frozen=True)
class AugmentConfig:
    """How people are changed between epochs. All shares are probabilities a person.

    Attributes:
        policy: Box policy of the proposals: ``true``, ``jitter``, or a file of `rmpe learn pgpg`.
        undisturbed: Share of people that keep their true box whatever the policy.
        sub_patch: Share of people whose proposal is a random part of the true box (paper: 0.3).
        flip: Share mirrored.
        rotate: Share turned.
        rotation: Largest angle, degrees (uniform).
        scale: Largest change of scale (log-uniform in 1 / (1 + scale) .. 1 + scale).
        half_body: Share cut to the upper or the lower half.
        occlusion: Share with a plain rectangle in front.
        color: Each channel is multiplied by U(1 - color, 1 + color) (paper: 0.4).
        paste: Share with a piece of another person's picture in front; labels of joints that it
            covers are left out.
        contrast: Contrast is multiplied by U(1 - contrast, 1 + contrast).
        grey: Share without colours.
        blur: Share blurred, as a small person is who is enlarged.
        noise: Share with noise.
    """

    policy: str = "jitter"
    undisturbed: float = 0.0
    sub_patch: float = 0.0
    flip: float = 0.5
    rotate: float = 0.6
    rotation: float = 30.0
    scale: float = 0.25
    half_body: float = 0.1
    occlusion: float = 0.2
    color: float = 0.4
    paste: float = 0.0
    contrast: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name in (
            "undisturbed",
            "sub_patch",
            "flip",
            "rotate",
            "half_body",
            "occlusion",
            "color",
            "paste",
            "contrast",
            "grey",
            "blur",
            "noise",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)} must lie in [0, 1]")
        if not 0 <= self.rotation <= 180:
            raise ValueError(f"rotation = {self.rotation} must lie in [0, 180] degrees")
        if not 0 <= self.scale < 1:
            raise ValueError(f"scale = {self.scale} must lie in [0, 1)")


class Augmenter:
    """Draws batches from packed people.

    All randomness comes from the generator that is passed in, in one order, so the same generator
    gives the same batch on every device and however many processes share it.

    Args:
        packed: The people.
        config: What to do to them.
        growth: Growth of a box before it is cut out.
        pseudo: A teacher's answers that stand in for missing labels.
        minimum_score: Teacher's answers below this are not used.
        teacher: A teacher's heatmaps.
        device: Where batches are made; on a GPU all crops move into its memory.
        others: Whether batches hold the other people in each crop.
    """

    def __init__(
        self,
        packed: PackedCrops,
        config: AugmentConfig,
        growth: float,
        pseudo: PseudoLabels | None = None,
        minimum_score: float = 0.4,
        teacher: TeacherHeatmaps | None = None,
        device: str = "cpu",
        others: bool = False,
    ) -> None:
        self.packed = packed
        self.neighbours = Neighbours(packed) if others else None
        self.config = config
        self.growth = growth
        self.device = torch.device(device)
        self.teacher = teacher
        skeleton = packed.people.skeleton
        policy = load_policy(config.policy)
        self.policy: BoxPolicy = (
            policy.to_joints(skeleton.joints) if isinstance(policy, Pgpg) else policy
        )
        self.atoms = self.policy.atoms_of(packed.keypoints, packed.visibility > 0)
        self.flip_order = skeleton.flip_order
        self.lower = np.array(
            [any(word in joint for word in LOWER_BODY) for joint in skeleton.joints]
        )
        self.keypoints = packed.keypoints.astype(np.float64)
        self.weights = (packed.visibility > 0).astype(np.float32)
        if pseudo is not None:
            missing = (packed.visibility == 0) & (pseudo.scores >= minimum_score)
            self.keypoints[missing] = pseudo.keypoints[missing]
            self.weights[missing] = pseudo.scores[missing]
        self.crops = (
            torch.from_numpy(np.asarray(packed.crops)).to(self.device)
            if self.device.type != "cpu"
            else None
        )
        self._normalise_stored = affine.pixels_to_normalised(packed.spec.stored_size)
        self._identity = torch.eye(2, 3, device=self.device)[None]

    def __call__(
        self,
        people: NDArray[np.int64],
        generator: np.random.Generator,
        size: tuple[int, int],
        share: slice = slice(None),
        *,
        source: bool = False,
    ) -> Batch:
        """A batch of the people with indices ``people``.

        Args:
            people: ``(B,)`` indices of the whole batch.
            generator: Source of all randomness.
            size: (height, width) of the crops.
            share: The part of the batch that this process needs; draws are made for all.
            source: Whether the batch is to be sampled from again, through another map.
        """
        config = self.config
        count = len(people)
        boxes = self._boxes(people, generator)
        proposals = disturb(boxes, self._offsets(people, generator))
        scene, flipped = self._scene(count, size, generator)
        gains = generator.uniform(1 - config.color, 1 + config.color, (count, 3))
        patches = self._patches(count, generator)
        colors = generator.uniform(0, 255, (count, 3))
        pasted, pieces = None, None
        if config.paste:
            pasted, pieces = self._pasted(count, size, generator, share)
        spoiled = spoil(config, count, generator, share)

        stored_to_centred = self._crop_maps(boxes, size)
        upright = affine.compose(self._crop_maps(proposals, size), affine.invert(stored_to_centred))
        mirror = affine.scale_translate(
            np.where(flipped[:, None], [-1.0, 1.0], 1.0),
            np.where(flipped[:, None], [size[1] - 1.0, 0.0], 0.0),
        )
        stored_to_scene = affine.compose(scene, stored_to_centred)
        stored_to_disturbed = affine.compose(mirror, affine.compose(upright, stored_to_scene))[
            share
        ]
        stored_to_centred = affine.compose(mirror, stored_to_scene)[share]
        centred_to_disturbed = affine.compose(mirror, affine.compose(upright, mirror))[
            share
        ]  # a mirror is its inverse

        people = people[share]
        flipped = flipped[share]
        points = self.keypoints[people]
        weights = self.weights[people]
        points[flipped] = points[flipped][:, self.flip_order]
        weights[flipped] = weights[flipped][:, self.flip_order]
        normalise = affine.pixels_to_normalised(size)
        pixels = affine.normalised_to_pixels(size)
        disturbed_to_stored = affine.compose(affine.invert(stored_to_disturbed), pixels)
        sampled = Source(
            stored=self._stored(people),
            disturbed_to_stored=self._tensor(
                affine.compose(self._normalise_stored, disturbed_to_stored)
            ),
            gains=self._tensor(gains[share]),
            patches=self._tensor(2 * patches[share] - 1),
            colors=self._tensor(colors[share]),
            pasted=pasted,
        )
        disturbed_points, visible = _in_crop(
            affine.apply(stored_to_disturbed, points), weights, size
        )
        if pieces is not None:
            visible *= ~_covered(disturbed_points, pieces, size)
        centred_points, centred_visible = _in_crop(
            affine.apply(stored_to_centred, points), weights, size
        )
        return Batch(
            images=spoiled(sampled(self._identity, size)),
            keypoints=self._tensor(disturbed_points),
            visible=self._tensor(visible),
            theta=self._tensor(
                affine.compose(normalise, affine.compose(centred_to_disturbed, pixels))
            ),
            centred_keypoints=self._tensor(centred_points),
            centred_visible=self._tensor(centred_visible),
            source=sampled if source else None,
            teacher=self._teacher(people, flipped, affine.invert(stored_to_disturbed), size),
            others=self._others(people, flipped, stored_to_disturbed, size, pieces),
        )

    def _others(
        self,
        people: NDArray[np.int64],
        flipped: NDArray[np.bool_],
        stored_to_crop: affine.Matrix,
        size: tuple[int, int],
        pieces: NDArray[np.float64] | None,
    ) -> Others | None:
        """The other people in the crops; joints behind ``pieces`` of pictures are left out."""
        if self.neighbours is None:
            return None
        points, visible, regions = self.neighbours(people, stored_to_crop, size)
        points[flipped] = points[flipped][:, :, self.flip_order]
        visible[flipped] = visible[flipped][:, :, self.flip_order]
        if pieces is not None:
            flat = points.reshape(len(points), -1, 2)
            visible &= ~_covered(flat, pieces, size).reshape(visible.shape)
        return Others(
            self._tensor(points), self._tensor(visible.astype(np.float32)), self._tensor(regions)
        )

    def _boxes(
        self, people: NDArray[np.int64], generator: np.random.Generator
    ) -> NDArray[np.float64]:
        """True boxes ``(B, 4)``, some of them of half a body."""
        boxes = self.packed.boxes[people].astype(np.float64)
        chosen = generator.random(len(people)) < self.config.half_body
        lower = generator.random(len(people)) < 0.5
        wanted = (self.weights[people] > 0) & (self.lower == lower[:, None]) & chosen[:, None]
        points = self.keypoints[people]
        low = np.where(wanted[..., None], points, np.inf).min(axis=1)
        high = np.where(wanted[..., None], points, -np.inf).max(axis=1)
        enough = wanted.sum(axis=1) >= HALF_BODY_JOINTS
        enough &= np.all(np.where(enough[:, None], high - low, 0) > 4, axis=1)
        halves = Boxes(np.concatenate([low, high], axis=1)[enough]).grow(HALF_BODY_GROWTH)
        boxes[enough] = halves.xyxy
        return boxes

    def _offsets(
        self, people: NDArray[np.int64], generator: np.random.Generator
    ) -> NDArray[np.float64]:
        """Proposals' offsets ``(B, 4)`` as shares of the true sides."""
        offsets = self.policy.sample(self.atoms[people], 1, generator)[:, 0]
        sides = generator.uniform(*SUB_PATCH_SIDES, (len(people), 2))
        start = generator.random((len(people), 2)) * (1 - sides)
        patch = np.concatenate([start, start + sides - 1], axis=1)
        kind = generator.random((len(people), 1))
        keep = self.config.undisturbed
        part = self.config.sub_patch * (1 - self.config.undisturbed)
        return np.where(kind < keep, 0.0, np.where(kind < keep + part, patch, offsets))

    def _scene(
        self, count: int, size: tuple[int, int], generator: np.random.Generator
    ) -> tuple[affine.Matrix, NDArray[np.bool_]]:
        """Rotation and scaling around the crop's centre ``(B, 2, 3)``, and mirroring ``(B,)``."""
        angles = np.deg2rad(generator.uniform(-self.config.rotation, self.config.rotation, count))
        angles *= generator.random(count) < self.config.rotate
        scales = (1 + self.config.scale) ** generator.uniform(-1, 1, count)
        flipped = generator.random(count) < self.config.flip
        cosine = scales * np.cos(angles)
        sine = scales * np.sin(angles)
        linear = np.stack([cosine, -sine, sine, cosine], axis=1).reshape(-1, 2, 2)
        center = (np.array(size[::-1]) - 1) / 2
        return np.concatenate([linear, (center - linear @ center)[..., None]], axis=2), flipped

    def _patches(self, count: int, generator: np.random.Generator) -> NDArray[np.float64]:
        """Rectangles ``(B, 4)`` xyxy as shares of the crop; empty ones for most."""
        sides = generator.uniform(*OCCLUSION_SIDES, (count, 2))
        start = generator.random((count, 2)) * (1 - sides)
        sides *= generator.random((count, 1)) < self.config.occlusion
        return np.concatenate([start, start + sides], axis=1)

    def _pasted(
        self, count: int, size: tuple[int, int], generator: np.random.Generator, share: slice
    ) -> tuple[Pasted | None, NDArray[np.float64]]:
        """Pieces of other people's pictures and their places.

        The places are ``(B, 4)`` xyxy, shares of the crop; most are empty.
        """
        sides = generator.uniform(*PASTED_SIDES, (count, 2))
        start = generator.random((count, 2)) * (1 - sides)
        shown = generator.random(count) < self.config.paste
        others = generator.integers(len(self.packed), size=count)
        shifts = generator.uniform(-PASTED_SHIFT, PASTED_SHIFT, (count, 2))
        patches = np.concatenate([start, start + sides * shown[:, None]], axis=1)[share]
        rows = np.flatnonzero(shown[share])
        if not len(rows):
            return None, patches
        others, shifts, pieces = others[share][rows], shifts[share][rows], patches[rows]
        middles = (pieces[:, :2] + pieces[:, 2:]) / 2
        # From the crop in which the piece lies to the other's own, whose middle is at 1/2.
        shift = affine.scale_translate(np.ones(2), (0.5 + shifts - middles) * size[::-1])
        to_stored = affine.invert(
            self._crop_maps(self.packed.boxes[others].astype(np.float64), size)
        )
        to_stored = affine.compose(
            affine.compose(to_stored, shift), affine.normalised_to_pixels(size)
        )
        return Pasted(
            rows=torch.from_numpy(rows).to(self.device),
            stored=self._stored(others),
            disturbed_to_stored=self._tensor(affine.compose(self._normalise_stored, to_stored)),
            patches=self._tensor(2 * pieces - 1),
        ), patches

    def _crop_maps(self, boxes: NDArray[np.float64], size: tuple[int, int]) -> affine.Matrix:
        return affine.boxes_to_crops(
            grow_proposals(boxes.astype(np.float32), self.growth), size, "center"
        )

    def _stored(self, people: NDArray[np.int64]) -> Tensor:
        """Stored crops ``(B, 3, H, W)`` float32 0..255, channels last in memory."""
        if self.crops is None:
            pixels = torch.from_numpy(self.packed.crops[people])
        else:
            pixels = self.crops[torch.from_numpy(people).to(self.device)]
        return pixels.float().permute(0, 3, 1, 2)

    def _teacher(
        self,
        people: NDArray[np.int64],
        flipped: NDArray[np.bool_],
        crop_to_stored: affine.Matrix,
        size: tuple[int, int],
    ) -> TeacherView | None:
        if self.teacher is None:
            return None
        maps = self.teacher.maps[people]
        maps[flipped] = maps[flipped][:, self.flip_order]
        to_cells = affine.compose(self.teacher.stored_to_cells[people], crop_to_stored)
        to_cells = affine.compose(to_cells, affine.normalised_to_pixels(size))
        crop_to_maps = affine.compose(affine.pixels_to_normalised(maps.shape[2:]), to_cells)
        return TeacherView(
            self._tensor(maps / np.float32(255)), self._tensor(crop_to_maps), self.teacher.sigma
        )

    def _tensor(self, array: NDArray[np.float64] | NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(array.astype(np.float32)).to(self.device, non_blocking=True)


def _covered(
    points: NDArray[np.float64], patches: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Which points ``(B, K, 2)``, crop pixels, lie in rectangles ``(B, 4)``, shares of the crop."""
    places = (points + 0.5) / np.array(size[::-1])
    low, high = patches[:, None, :2], patches[:, None, 2:]
    return np.asarray(((places >= low) & (places < high)).all(axis=2))


def _in_crop(
    points: NDArray[np.float64], weights: NDArray[np.float32], size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Points without NaN, and weights that are 0 for joints that lie outside the crop."""
    inside = np.all(
        (points >= -0.5) & (points < np.array(size[::-1]) - 0.5), axis=2
    )  # false for NaN
    return np.where(inside[..., None], points, 0.0), np.where(inside, weights, 0).astype(np.float32)
