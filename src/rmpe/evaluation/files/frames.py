"""People of video frames or photos, annotated and predicted together, measured by head size.

What MPII multi-person and PoseTrack share. The frames layout is one JSON file that holds both
sides.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
        """The frame without the joints that lie strictly inside a region and without people who lose all joints."""
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


def head_size(xyxy: ArrayLike) -> float:
    """0.6 times the diagonal of a head box.

    Source: Andriluka et al., MPII (CVPR 2014): PCKh.
    """
    left, top, right, bottom = np.asarray(xyxy, np.float64)
    return float(HEAD_SHARE * np.hypot(right - left, bottom - top))


def person_area(joints: Floats, head: float, xywh: ArrayLike | None = None) -> float:
    """Area of a person for OKS: 0.53 of the box (else of the extent of the joints), at least a head
    squared.

    The floor keeps people of whom one or two joints are annotated from having no area at all.
    """
    if xywh is not None:
        width, height = np.asarray(xywh, np.float64)[2:]
        return max(float(BOX_SHARE * width * height), head**2)
    annotated = joints[np.isfinite(joints).all(axis=1)]
    extent = np.ptp(annotated, axis=0) if len(annotated) else np.zeros(2)
    return max(float(BOX_SHARE * np.prod(extent)), head**2)


def read_frames(path: Path) -> Footage:
    """Read the frames layout: ``joint_names`` and ``frames`` or ``sequences``, with ``gt`` and
    ``pred`` in each frame.

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
    names = tuple(data["joint_names"])
    raw = data["sequences"] if "sequences" in data else [{"name": source, "frames": data["frames"]}]
    sequences = []
    for number, sequence in enumerate(raw):
        name = str(sequence.get("name", number))
        regions = sequence.get("ignore_regions", [])
        frames = [
            _frame(f, names, f"{source}: {name}: frame {i}")
            for i, f in enumerate(sequence["frames"])
        ]
        sequences.append(Sequence(name, [frame.outside(regions) for frame in frames]))
    return Footage(names, sequences, [])


def _frame(raw: dict[str, Any], names: tuple[str, ...], where: str) -> Frame:
    if not {"gt", "pred"} <= set(raw):
        raise DataError(f"{where}: needs 'gt' and 'pred'")
    try:
        truth = joint_array(
            [person["joints"] for person in raw["gt"]], len(names), 2, f"{where}: gt"
        )
        found = joint_array(
            [person["joints"] for person in raw["pred"]], len(names), 3, f"{where}: pred"
        )
        heads = np.array([head_size(person["head_box"]) for person in raw["gt"]], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{where}: people need 'joints', those of gt a 'head_box' of 4 numbers: {error!r}"
        ) from error
    areas = [person_area(joints, head) for joints, head in zip(truth, heads, strict=True)]
    ids = [
        track_ids([person.get("track_id", -1) for person in raw[side]], f"{where}: {side}")
        for side in ("gt", "pred")
    ]
    return Frame(
        truth, heads, np.array(areas, np.float64), ids[0], found[..., :2], found[..., 2], ids[1]
    )


def joint_array(people: list[list[Any]], joints: int, numbers: int, where: str) -> Floats:
    """Joints of people as ``(N, K, numbers)``; ``None`` becomes NaN.

    Raises:
        DataError: If the number of joints is wrong or a joint holds anything but finite numbers.
    """
    result = np.full((len(people), joints, numbers), np.nan)
    for person, points in enumerate(people):
        if len(points) != joints:
            raise DataError(
                f"{where}: person {person} has {len(points)} joints, there are {joints}"
            )
        for joint, point in enumerate(points):
            if point is not None:
                if len(point) != numbers or not np.isfinite(np.array(point, np.float64)).all():
                    raise DataError(
                        f"{where}: person {person}, joint {joint}: not {numbers} finite numbers: {point}"
                    )
                result[person, joint] = point
    return result


def track_ids(ids: list[int], where: str) -> NDArray[np.int64]:
    """Track ids of the people of one frame.

    Raises:
        DataError: If two people have the same.
    """
    given = [identity for identity in ids if identity != -1]
    if len(set(given)) < len(given):
        raise DataError(f"{where}: two people have the same track id: {sorted(given)}")
    return np.array(ids, np.int64)


def _erase(joints: Floats, regions: list[Polygon]) -> Floats:
    inside = np.any([_inside(joints, np.array(region, np.float64)) for region in regions], axis=0)
    return np.where(inside[..., None], np.nan, joints)


def _inside(points: Floats, polygon: Floats) -> NDArray[np.bool_]:
    """Whether points ``(..., 2)`` lie inside a polygon ``(V, 2)``: an odd number of edges lies to their right."""
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
