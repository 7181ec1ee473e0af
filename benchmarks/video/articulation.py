"""Limbs that swing: a cut-out taken apart at its joints, its parts turned about them as in a walk.

Pixels and joints go through the same maps, so the truth is exact. What a limb hides of the parts
behind it is filled with their nearest colours.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.video.cutouts import SHOULDERS, TRUNK, Cutout
from rmpe.affine import Matrix, apply, compose

HEAD = (0, 1, 2, 3, 4)
# A limb and a head are this thick, as shares of the person's longer side, as `cutouts` cuts them
# out; a little more, so that the cut-out's own edge is the limb's.
THICKNESS, HEAD_RADIUS = 0.115, 0.085
# Largest swing to each side in degrees: least and most among people.
SWING = {
    "head": (3, 8),
    "upper arm": (12, 35),
    "forearm": (10, 35),
    "thigh": (12, 28),
    "shin": (10, 35),
}
# Where in the stride each part is, in turns: opposite arms and legs go together, and the lower part
# of a limb lags behind the upper one.
PHASE = {"upper arm": 0.0, "forearm": 0.15, "thigh": 0.5, "shin": 0.7, "head": 0.25}


@dataclass(frozen=True)
class Limb:
    """A part of the body that turns about its first joint.

    Attributes:
        kind: A key of `SWING`.
        side: 0 = left, 1 = right.
        start: The joint that it turns about.
        end: The joint that it moves.
        before: Index in `LIMBS` of the limb that carries it; None = the trunk.
    """

    kind: str
    side: int
    start: int
    end: int
    before: int | None


LIMBS = (
    Limb("thigh", 0, 11, 13, None),
    Limb("thigh", 1, 12, 14, None),
    Limb("shin", 0, 13, 15, 0),
    Limb("shin", 1, 14, 16, 1),
    Limb("upper arm", 0, 5, 7, None),
    Limb("upper arm", 1, 6, 8, None),
    Limb("forearm", 0, 7, 9, 4),
    Limb("forearm", 1, 8, 10, 5),
)
LEGS, ARMS = (0, 1, 2, 3), (4, 5, 6, 7)


@dataclass(frozen=True, eq=False)
class Part:
    """A piece of a cut-out and its place; ``limb`` is None for the trunk, -1 for the head."""

    limb: int | None
    cutout: Cutout
    offset: tuple[int, int]


class Walker:
    """A cut-out whose limbs swing."""

    def __init__(self, cutout: Cutout, strides: float, rng: np.random.Generator) -> None:
        """Take it apart.

        Args:
            cutout: The person.
            strides: Strides (of two steps each) a second.
            rng: Chooses how far the limbs swing, where in the stride the walk begins, and which
                side is in front.
        """
        self.cutout = cutout
        self.strides = strides
        self.begin = rng.random()
        self.swing = {kind: np.deg2rad(rng.uniform(*limits)) for kind, limits in SWING.items()}
        self.parts = _parts(cutout, int(rng.integers(2)))

    def pieces(self, seconds: float) -> list[tuple[Cutout, Matrix]]:
        """The parts from back to front, each with its map piece_to_cutout."""
        limbs, head = self._maps(seconds)
        moved = {None: np.eye(2, 3), -1: head} | dict(enumerate(limbs))
        return [
            (part.cutout, compose(moved[part.limb], np.array([[1, 0, x], [0, 1, y]], np.float64)))
            for part in self.parts
            for x, y in [part.offset]
        ]

    def joints(self, seconds: float) -> np.ndarray:
        """The joints ``(17, 2)`` in pixels of the cut-out at rest."""
        limbs, head = self._maps(seconds)
        joints = self.cutout.joints.astype(np.float64)
        joints[list(HEAD)] = apply(head, joints[list(HEAD)])
        for limb, moved in zip(LIMBS, limbs, strict=True):
            joints[limb.end] = apply(moved, self.cutout.joints[[limb.end]])[0]
        return joints

    def _maps(self, seconds: float) -> tuple[list[Matrix], Matrix]:
        """The map of each limb and of the head within the cut-out."""
        joints, labelled = self.cutout.joints, self.cutout.labelled
        limbs: list[Matrix] = []
        for limb in LIMBS:
            carried = np.eye(2, 3) if limb.before is None else limbs[limb.before]
            angle = self._angle(limb.kind, limb.side, seconds) if labelled[limb.start] else 0.0
            limbs.append(compose(carried, _turn(joints[limb.start], angle)))
        neck = joints[list(SHOULDERS)].mean(axis=0)
        nod = self._angle("head", 0, seconds) if labelled[list(SHOULDERS)].all() else 0.0
        return limbs, _turn(neck, nod)

    def _angle(self, kind: str, side: int, seconds: float) -> float:
        turns = self.begin + self.strides * seconds + PHASE[kind] + side / 2
        return self.swing[kind] * float(np.sin(2 * np.pi * turns))


def _turn(center: np.ndarray, angle: float) -> Matrix:
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]])
    return np.column_stack([linear, center - linear @ center])


def _parts(cutout: Cutout, front: int) -> list[Part]:
    """Trunk, legs, head and arms, from back to front; ``front`` is the side that is nearer."""
    size = max(cutout.mask.shape)
    limbs = {number: _limb_mask(cutout, limb, size) for number, limb in enumerate(LIMBS)}
    for group in (LEGS, ARMS):
        _share_out(cutout, limbs, group)
    head = _head_mask(cutout, size)
    in_front = np.maximum.reduce([*limbs.values(), head])
    trunk = _trunk_mask(cutout, limbs, head)
    legs, arms = ([n for n in group if n in limbs] for group in (LEGS, ARMS))
    legs.sort(key=lambda n: LIMBS[n].side == front)
    arms.sort(key=lambda n: LIMBS[n].side == front)
    over_legs = np.maximum.reduce([limbs[n] for n in arms])
    parts = [_part(cutout, None, trunk, in_front)]
    parts += [_part(cutout, n, limbs[n], over_legs) for n in legs]
    parts.append(_part(cutout, -1, head, over_legs))
    parts += [_part(cutout, n, limbs[n], np.zeros_like(over_legs)) for n in arms]
    return [part for part in parts if part is not None]


def _limb_mask(cutout: Cutout, limb: Limb, size: int) -> np.ndarray:
    mask = np.zeros(cutout.mask.shape, np.uint8)
    if cutout.labelled[[limb.start, limb.end]].all():
        start, end = cutout.joints[[limb.start, limb.end]].round().astype(int).tolist()
        cv2.line(mask, start, end, 1, max(3, int(THICKNESS * size)))
    return mask


def _head_mask(cutout: Cutout, size: int) -> np.ndarray:
    mask = np.zeros(cutout.mask.shape, np.uint8)
    seen = cutout.labelled[list(HEAD)]
    if seen.any():
        face = cutout.joints[list(HEAD)][seen]
        center = face.mean(axis=0).round().astype(int).tolist()
        cv2.circle(mask, center, max(3, int(HEAD_RADIUS * size)), 1, -1)
        hull = cv2.convexHull(face.round().astype(np.int32))
        cv2.polylines(mask, [hull], True, 1, max(3, int(THICKNESS * size)))
        if cutout.labelled[list(SHOULDERS)].all():
            neck = cutout.joints[list(SHOULDERS)].mean(axis=0).round().astype(int).tolist()
            cv2.line(mask, center, neck, 1, max(3, int(THICKNESS * size)))
    return mask


def _trunk_mask(cutout: Cutout, limbs: dict[int, np.ndarray], head: np.ndarray) -> np.ndarray:
    """The hull of shoulders and hips, and whatever no other part has."""
    mask = (cutout.mask > 0.02).astype(np.uint8)
    mask[np.maximum.reduce([*limbs.values(), head]) > 0] = 0
    # Fringes that are left along the limbs are no part of the trunk.
    width = max(3, int(THICKNESS / 3 * max(mask.shape)))
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, brush)
    corners = cutout.joints[[j for j in TRUNK if cutout.labelled[j]]].round().astype(np.int32)
    if len(corners) >= 3:
        cv2.fillConvexPoly(mask, cv2.convexHull(corners), 1)
    return mask


def _share_out(cutout: Cutout, limbs: dict[int, np.ndarray], group: tuple[int, ...]) -> None:
    """Give what two limbs of a group claim to the nearer one; limbs that join share a joint."""
    height, width = cutout.mask.shape
    y, x = np.mgrid[:height, :width]
    points = np.stack([x, y], axis=-1).astype(np.float32)
    away = {n: _distance(points, *cutout.joints[[LIMBS[n].start, LIMBS[n].end]]) for n in group}
    claims = {n: limbs[n].copy() for n in group}
    for n in group:
        for other in group:
            if n not in (other, LIMBS[other].before) and LIMBS[n].before != other:
                limbs[n][(claims[other] > 0) & (away[other] < away[n])] = 0


def _distance(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distance of points ``(..., 2)`` from a segment."""
    along = end - start
    share = ((points - start) @ along / max(float(along @ along), 1e-6)).clip(0, 1)
    return np.linalg.norm(points - start - share[..., None] * along, axis=-1)


def _part(cutout: Cutout, limb: int | None, own: np.ndarray, hidden: np.ndarray) -> Part | None:
    """A part; where something before it hides it, it has its nearest colours."""
    if not own.any():
        return None
    image = _filled(cutout.image, own, hidden)
    soft = cv2.GaussianBlur(own.astype(np.float32), (0, 0), max(0.8, 0.006 * max(own.shape)))
    mask = soft * np.where(hidden > 0, 1, cutout.mask)
    rows, columns = np.nonzero(mask > 0.02)
    top, left = rows.min(), columns.min()
    box = np.s_[top : rows.max() + 1, left : columns.max() + 1]
    piece = Cutout(image[box], mask[box], cutout.joints - (left, top), cutout.labelled)
    return Part(limb, piece, (int(left), int(top)))


def _filled(image: np.ndarray, own: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    known = (own > 0) & (hidden == 0)
    missing = (own > 0) & (hidden > 0)
    if not known.any() or not missing.any():
        return image
    _, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    color_of = np.zeros((labels.max() + 1, 3), np.uint8)
    color_of[labels[known]] = image[known]
    filled = image.copy()
    filled[missing] = color_of[labels[missing]]
    # Streaks of single pixels become areas.
    filled[missing] = cv2.GaussianBlur(filled, (0, 0), 2)[missing]
    return filled
