"""People of video frames or photos, annotated and predicted together, measured by head size.

What MPII multi-person and PoseTrack share. The frames layout is one JSON file that holds both
sides.
"""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmpe import fields
from rmpe.errors import DataError
from rmpe.evaluation.files.submissions import BOX_SHARE
from rmpe.files import read_json

Floats = NDArray[np.float64]
Polygon = list[list[float]]

# A head box's diagonal is longer than the head; MPII and PoseTrack take this share of it.
HEAD_SHARE = 0.6
GROUPS = ("head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")


@dataclass(frozen=True, eq=False)
class Frame:
    """One image.

    Attributes:
        truth: ``(G, K, 2)`` annotated joints in pixels, NaN where not annotated.
        head_sizes: ``(G,)`` head size of each annotated person in pixels.
        areas: ``(G,)`` area of each annotated person in square pixels.
        truth_ids: ``(G,)`` track ids, -1 = none.
        points: ``(P, K, 2)`` predicted joints, NaN where missing.
        scores: ``(P, K)`` scores of the predicted joints.
        point_ids: ``(P,)`` track ids, -1 = none.
    """

    truth: Floats
    head_sizes: Floats
    areas: Floats
    truth_ids: NDArray[np.int64]
    points: Floats
    scores: Floats
    point_ids: NDArray[np.int64]

    def distances(self) -> Floats:
        """Distance ``(G, P, K)`` between joints in head sizes; NaN where either is missing."""
        pixels = np.linalg.norm(self.truth[:, None] - self.points[None], axis=3)
        return pixels / self.head_sizes[:, None, None]

    def outside(self, regions: list[Polygon]) -> "Frame":
        """The frame without joints inside a region, and without people who lose all of them."""
        if not regions:
            return self
        truth, points = (_erase(joints, regions) for joints in (self.truth, self.points))
        people, found = (
            np.any(np.isfinite(joints).all(axis=2), axis=1) for joints in (truth, points)
        )
        return Frame(
            truth[people],
            self.head_sizes[people],
            self.areas[people],
            self.truth_ids[people],
            points[found],
            self.scores[found],
            self.point_ids[found],
        )

    @property
    def tracked(self) -> "Frame":
        """The frame without predictions that have no track id."""
        kept = self.point_ids >= 0
        return replace(
            self, points=self.points[kept], scores=self.scores[kept], point_ids=self.point_ids[kept]
        )


@dataclass(frozen=True, eq=False)
class Sequence:
    """The frames of one video, in order; or all photos of a set without order."""

    name: str
    frames: list[Frame]


@dataclass(frozen=True, eq=False)
class Footage:
    """Sequences and what their joints are."""

    joint_names: tuple[str, ...]
    sequences: list[Sequence]
    warnings: list[str]

    @property
    def frames(self) -> list[Frame]:
        """All frames of all sequences."""
        return [frame for sequence in self.sequences for frame in sequence.frames]

    def groups(self) -> dict[str, list[int]]:
        """Joint indices of head, shoulder ... ankle; neck, nose and head top belong to the head."""
        parts = [name.removeprefix("right_").removeprefix("left_") for name in self.joint_names]
        parts = [name.removeprefix("r_").removeprefix("l_") for name in parts]
        parts = [part if part in GROUPS else "head" for part in parts]
        return {group: [i for i, part in enumerate(parts) if part == group] for group in GROUPS}


def head_size(xyxy: ArrayLike, place: str = "head box") -> float:
    """0.6 times the diagonal of a head box.

    Raises:
        DataError: If the box has no size: everybody's distances would be infinite.

    Source: Andriluka et al., MPII (CVPR 2014): PCKh.
    """
    left, top, right, bottom = np.asarray(xyxy, np.float64)
    if not (right > left and bottom > top):
        raise DataError(f"{place} has no size: {right - left:g} x {bottom - top:g}")
    return float(HEAD_SHARE * np.hypot(right - left, bottom - top))


def person_area(joints: Floats, head: float, xywh: ArrayLike | None = None) -> float:
    """Area of a person for OKS, at least a head squared.

    It is 0.53 of the box, or of the extent of the joints where there is no box.
    The floor keeps people of whom one or two joints are annotated from having no area at all.
    """
    if xywh is not None:
        width, height = np.asarray(xywh, np.float64)[2:]
        return max(float(BOX_SHARE * width * height), head**2)
    annotated = joints[np.isfinite(joints).all(axis=1)]
    extent = np.ptp(annotated, axis=0) if len(annotated) else np.zeros(2)
    return max(float(BOX_SHARE * np.prod(extent)), head**2)


def read_frames(path: Path) -> Footage:
    """Read the frames layout.

    A file has ``joint_names`` and ``frames`` or ``sequences``, a frame ``gt`` and ``pred``.

    Raises:
        DataError: If the file is not in that layout or a number is not finite.
    """
    return frames_layout(read_json(path), str(path))


def is_frames_layout(data: Any) -> bool:
    """Whether parsed JSON is in the frames layout."""
    return (
        isinstance(data, dict)
        and "joint_names" in data
        and ("frames" in data or "sequences" in data)
    )


def frames_layout(data: dict[str, Any], source: str) -> Footage:
    """Footage of a parsed file in the frames layout; see `read_frames`."""
    names = fields.texts(data["joint_names"], f"{source}: 'joint_names'")
    if not names or len(set(names)) < len(names):
        raise DataError(f"{source}: 'joint_names' must be different names")
    raw = data["sequences"] if "sequences" in data else [{"name": source, "frames": data["frames"]}]
    sequences = []
    for number, entry in enumerate(fields.items(raw, f"{source}: 'sequences'")):
        sequence = fields.table(entry, f"{source}: sequence {number}")
        name = sequence.get("name")
        called = name if isinstance(name, str) and name.isprintable() else str(number)
        place = f"{source}: {fields.cut(called)}"
        regions = _regions(sequence.get("ignore_regions"), f"{place}: 'ignore_regions'")
        frames = [
            _frame(frame, names, f"{place}: frame {index}")
            for index, frame in enumerate(
                fields.items(sequence.get("frames"), f"{place}: 'frames'")
            )
        ]
        sequences.append(Sequence(called, [frame.outside(regions) for frame in frames]))
    called_twice = [name for name, count in Counter(s.name for s in sequences).items() if count > 1]
    if called_twice:
        raise DataError(f"{source}: two sequences are called {fields.cut(called_twice[0])!r}")
    warnings = []
    if not any(len(frame.truth) for sequence in sequences for frame in sequence.frames):
        warnings.append(f"{source}: nobody is annotated, so no figure means anything")
    return Footage(names, sequences, warnings)


def _regions(value: Any, place: str) -> list[Polygon]:
    rows = [] if value is None else fields.items(value, place)
    return [
        [
            fields.pixels(corner, f"{place}, region {index}", 2).tolist()
            for corner in fields.items(row, f"{place}, region {index}")
        ]
        for index, row in enumerate(rows)
    ]


def _frame(entry: Any, names: tuple[str, ...], where: str) -> Frame:
    raw = fields.table(entry, where)
    sides: dict[str, list[dict[str, Any]]] = {}
    for side in ("gt", "pred"):
        if side not in raw:
            raise DataError(f"{where}: needs 'gt' and 'pred'")
        sides[side] = [
            fields.table(person, f"{where}: {side}: person {index}")
            for index, person in enumerate(fields.items(raw[side], f"{where}: {side}"))
        ]
    truth, found = (
        joint_array(
            [person.get("joints") for person in sides[side]],
            len(names),
            numbers,
            f"{where}: {side}",
        )
        for side, numbers in (("gt", 2), ("pred", 3))
    )
    heads = np.array(
        [
            _head(person.get("head_box"), f"{where}: gt: person {index}: 'head_box'")
            for index, person in enumerate(sides["gt"])
        ],
        np.float64,
    )
    areas = [person_area(joints, head) for joints, head in zip(truth, heads, strict=True)]
    ids = [
        track_ids([person.get("track_id") for person in people], f"{where}: {side}")
        for side, people in sides.items()
    ]
    return Frame(
        truth, heads, np.array(areas, np.float64), ids[0], found[..., :2], found[..., 2], ids[1]
    )


def _head(value: Any, place: str) -> float:
    return head_size(fields.pixels(value, place, 4), place)


def joint_array(people: list[Any], joints: int, numbers: int, where: str) -> Floats:
    """Joints of people as ``(N, K, numbers)``; ``None`` becomes NaN.

    Raises:
        DataError: If the number of joints is wrong or a joint holds anything but finite numbers.
    """
    result = np.full((len(people), joints, numbers), np.nan)
    for person, entry in enumerate(people):
        place = f"{where}: person {person}"
        points = fields.items(entry, f"{place}: 'joints'")
        if len(points) != joints:
            raise DataError(f"{place} has {len(points)} joints, there are {joints}")
        for joint, point in enumerate(points):
            if point is not None:
                row = fields.pixels(point, f"{place}, joint {joint}")
                if len(row) != numbers:
                    raise DataError(f"{place}, joint {joint}: not {numbers} finite numbers")
                result[person, joint] = row
    return result


def track_ids(ids: list[Any], where: str) -> NDArray[np.int64]:
    """Track ids of the people of one frame; -1 and ``None`` mean that a person has none.

    Raises:
        DataError: If one is no whole number or two people have the same.
    """
    numbers = [-1 if one is None else fields.whole(one, f"{where}: 'track_id'") for one in ids]
    given = [identity for identity in numbers if identity != -1]
    if len(set(given)) < len(given):
        raise DataError(f"{where}: two people have the same track id: {sorted(given)[:6]}")
    return np.array(numbers, np.int64)


def _erase(joints: Floats, regions: list[Polygon]) -> Floats:
    polygons = [np.array(region, np.float64).reshape(-1, 2) for region in regions]
    inside = np.any([_inside(joints, polygon) for polygon in polygons], axis=0)
    return np.where(inside[..., None], np.nan, joints)


def _inside(points: Floats, polygon: Floats) -> NDArray[np.bool_]:
    """Whether points ``(..., 2)`` lie inside a polygon ``(V, 2)``.

    An odd number of edges lies to the right of such a point.
    """
    x = points[..., None, 0]
    y = points[..., None, 1]
    start = polygon
    end = np.roll(polygon, -1, axis=0)
    crosses = (start[:, 1] > y) != (end[:, 1] > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        edge_x = start[:, 0] + (y - start[:, 1]) / (end[:, 1] - start[:, 1]) * (
            end[:, 0] - start[:, 0]
        )
    result: NDArray[np.bool_] = np.sum(crosses & (x < edge_x), axis=-1) % 2 == 1
    return result
