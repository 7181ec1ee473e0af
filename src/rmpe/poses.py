"""`Poses`: the people of one image."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

import rmpe  # for its public functions that lie above this module; looked up when they are called
from rmpe.boxes import Boxes, Index
from rmpe.extras import load_extra
from rmpe.skeletons import Skeleton
from rmpe.svg import poses_svg

PICTURE = 480  # pixels of the longer side of a picture without an image
MARGIN = 0.05
# Array fields, one row per person.
ARRAYS = ("keypoints", "keypoint_scores", "scores", "boxes", "track_ids", "stn_boxes")


@dataclass(frozen=True, eq=False, slots=True)
class Poses:
    """The poses of the people in one image; there may be none.

    Attributes:
        keypoints: ``(N, K, 2)`` float32, (x, y) in image pixels; NaN where a joint is missing.
        keypoint_scores: ``(N, K)`` float32 in [0, 1]; 0 where a joint is missing.
        scores: ``(N,)`` float32 in [0, 1], one per pose.
        boxes: ``(N, 4)`` float32 xyxy, the box each person was found in.
        track_ids: ``(N,)`` int64; -1 means no track.
        skeleton: Names and connections of the K joints.
        stn_boxes: ``(N, 4)`` float32 xyxy, the region the spatial transformer cut out, with the
            aspect ratio of the crop; equal to ``boxes`` without a transformer.
    """

    keypoints: NDArray[np.float32]
    keypoint_scores: NDArray[np.float32]
    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    track_ids: NDArray[np.int64]
    skeleton: Skeleton
    stn_boxes: NDArray[np.float32]

    def __init__(
        self,
        keypoints: ArrayLike,
        keypoint_scores: ArrayLike,
        scores: ArrayLike,
        boxes: ArrayLike,
        skeleton: Skeleton,
        track_ids: ArrayLike | None = None,
        stn_boxes: ArrayLike | None = None,
    ) -> None:
        points = np.asarray(keypoints, np.float32)
        count = len(points)
        joints = len(skeleton)
        ids = np.full(count, -1, np.int64) if track_ids is None else np.asarray(track_ids, np.int64)
        arrays: dict[str, tuple[NDArray[Any], tuple[int, ...]]] = {
            "keypoints": (points, (count, joints, 2)),
            "keypoint_scores": (np.asarray(keypoint_scores, np.float32), (count, joints)),
            "scores": (np.asarray(scores, np.float32), (count,)),
            "boxes": (np.asarray(boxes, np.float32), (count, 4)),
            "track_ids": (ids, (count,)),
            "stn_boxes": (
                np.asarray(boxes if stn_boxes is None else stn_boxes, np.float32),
                (count, 4),
            ),
        }
        for name, (array, shape) in arrays.items():
            if array.shape != shape:
                raise ValueError(
                    f"{name} of {count} poses with {skeleton} must be {shape}, got {array.shape}"
                )
            object.__setattr__(self, name, array)
        object.__setattr__(self, "skeleton", skeleton)
        if not all(
            np.all((values >= 0) & (values <= 1)) for values in (self.keypoint_scores, self.scores)
        ):
            raise ValueError("scores of poses and joints must lie in [0, 1]")
        if not (np.isfinite(self.boxes).all() and np.isfinite(self.stn_boxes).all()):
            raise ValueError("boxes of poses must be finite")
        if np.any(~np.isfinite(self.keypoints).all(axis=2) & (self.keypoint_scores > 0)):
            raise ValueError("a joint with a score above 0 must have finite coordinates")

    @classmethod
    def empty(cls, skeleton: Skeleton) -> "Poses":
        """Zero people."""
        joints = len(skeleton)
        return cls(
            np.zeros((0, joints, 2)), np.zeros((0, joints)), np.zeros(0), np.zeros((0, 4)), skeleton
        )

    @classmethod
    def merge(cls, many: Sequence["Poses"]) -> "Poses":
        """All poses of ``many`` (at least one, all with the same skeleton) in order.

        Raises:
            ValueError: If ``many`` is empty or the skeletons differ.
        """
        if not many:
            raise ValueError("nothing to merge: pass at least one Poses, empty ones are fine")
        if any(poses.skeleton != many[0].skeleton for poses in many):
            names = sorted({poses.skeleton.name for poses in many})
            raise ValueError(f"cannot merge poses of different skeletons: {names}")
        joined = {name: np.concatenate([getattr(poses, name) for poses in many]) for name in ARRAYS}
        return cls(**joined, skeleton=many[0].skeleton)

    @property
    def sizes(self) -> NDArray[np.float32]:
        """Longer side of each person's box in pixels, ``(N,)``, at least 1."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return np.maximum(sides.max(axis=1, initial=1), 1)

    def __len__(self) -> int:
        return len(self.keypoints)

    def __getitem__(self, index: Index) -> "Poses":
        if isinstance(index, int):
            index = range(len(self))[index]  # raises the IndexError that ends a for loop
            index = slice(index, index + 1)
        # NMS slices often; a subset of valid poses is valid, so skip the checks of __init__.
        some = object.__new__(Poses)
        for name in ARRAYS:
            object.__setattr__(some, name, getattr(self, name)[index])
        object.__setattr__(some, "skeleton", self.skeleton)
        return some

    def __repr__(self) -> str:
        tracked = f", ids {self.track_ids.tolist()}" if np.any(self.track_ids >= 0) else ""
        return f"Poses({len(self)} x {self.skeleton.name}{tracked})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the people as stick figures and a line on each."""
        head = "".join(f"<th>{name}</th>" for name in ("person", "id", "score", "joints", "box"))
        rows = []
        for person in range(len(self)):
            track_id = int(self.track_ids[person])
            box = ", ".join(f"{value:.0f}" for value in self.boxes[person])
            joints = f"{int((self.keypoint_scores[person] > 0).sum())} of {len(self.skeleton)}"
            cells = (
                str(person),
                str(track_id) if track_id >= 0 else "",
                f"{self.scores[person]:.2f}",
                joints,
                box,
            )
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
        picture = poses_svg(self.keypoints, self.keypoint_scores, self.skeleton)
        table = f"<table><tr>{head}</tr>{''.join(rows)}</table>"
        return f"<div>{html.escape(repr(self))}</div>{picture}{table if rows else ''}"

    def draw(
        self, image: Any, *, style: "rmpe.DrawStyle | None" = None, min_score: float = 0.3
    ) -> NDArray[np.uint8]:
        """The people drawn on a copy of their image; see `rmpe.draw_poses`.

        Args:
            image: What they were found in, or anything else that `rmpe.read_image` reads.
            style: What they look like.
            min_score: People with a lower score are left out.

        Returns:
            RGB uint8 ``(H, W, 3)``.

        Raises:
            ImageError: If ``image`` is not an image.
        """
        return rmpe.draw_poses(image, self, style=style or rmpe.DrawStyle(), min_score=min_score)

    def _repr_png_(self) -> bytes | None:
        """What a notebook's printed page shows: the people on black; nothing if there is nobody."""
        seen = self.keypoint_scores > 0
        if not seen.any():
            return None
        points = self.keypoints[seen]
        low = points.min(axis=0)
        sides = np.maximum(points.max(axis=0) - low, 1)
        scale = PICTURE / sides.max()
        margin = MARGIN * PICTURE
        width, height = np.ceil(sides * scale + 2 * margin).astype(int).tolist()
        shown = self.replace(
            keypoints=(self.keypoints - low) * scale + margin,
            boxes=(self.boxes - np.tile(low, 2)) * scale + margin,
        )
        drawn = shown.draw(np.zeros((height, width, 3), np.uint8), min_score=0)
        return bytes(cv2.imencode(".png", drawn[..., ::-1])[1])

    def to_pandas(self) -> Any:
        """A tidy data frame with a row for each person and joint.

        Columns: ``person``, ``track_id`` (missing where there is none), ``score`` (of the pose),
        ``joint``, ``x``, ``y`` (pixels; NaN where the joint is missing), ``joint_score``.

        Raises:
            MissingPackageError: If pandas is not installed.
        """
        pandas = load_extra("pandas", "pandas")
        joints = len(self.skeleton)
        ids = pandas.array(np.repeat(self.track_ids, joints), dtype="Int64")
        ids[np.repeat(self.track_ids < 0, joints)] = pandas.NA
        return pandas.DataFrame(
            {
                "person": np.repeat(np.arange(len(self)), joints),
                "track_id": ids,
                "score": np.repeat(self.scores, joints),
                "joint": list(self.skeleton.joints) * len(self),
                "x": self.keypoints[..., 0].ravel(),
                "y": self.keypoints[..., 1].ravel(),
                "joint_score": self.keypoint_scores.ravel(),
            }
        )

    def to_supervision(self) -> Any:
        """The same people as ``supervision.KeyPoints``; a missing joint is (0, 0), as there.

        Boxes, scores of the poses and track ids are in its ``data``, as ``xyxy``, ``score`` and
        ``tracker_id``.

        Raises:
            MissingPackageError: If supervision is not installed.
        """
        supervision = load_extra("supervision", "supervision")
        points = np.where(np.isfinite(self.keypoints), self.keypoints, 0).astype(np.float32)
        return supervision.KeyPoints(
            xy=points,
            keypoint_confidence=self.keypoint_scores.copy(),
            class_id=np.zeros(len(self), int),
            data={
                "xyxy": self.boxes.copy(),
                "score": self.scores.copy(),
                "tracker_id": self.track_ids.copy(),
            },
        )

    def replace(self, **changes: Any) -> "Poses":
        """A copy with some arrays replaced, e.g. ``poses.replace(track_ids=ids)``."""
        return Poses(**{name: getattr(self, name) for name in (*ARRAYS, "skeleton")} | changes)

    def to_skeleton(self, target: Skeleton) -> "Poses":
        """The same people with the joints of ``target``.

        Joints with the same name carry over; the others are missing.
        """
        source = self.skeleton.correspondence(target)
        missing = source < 0
        points = self.keypoints[:, source]
        scores = self.keypoint_scores[:, source]
        points[:, missing] = np.nan
        scores[:, missing] = 0
        return self.replace(keypoints=points, keypoint_scores=scores, skeleton=target)

    def to_coco(self, image_id: int, category_id: int = 1) -> list[dict[str, Any]]:
        """COCO results, one dictionary per person.

        The third number of each keypoint is its score; ``bbox`` is xywh. A missing joint becomes
        ``0, 0, 0``, the COCO convention. Two extra keys are written where they apply:
        ``track_id``, and ``stn_bbox``, the region found by the spatial transformer.
        """
        rows = np.concatenate([self.keypoints, self.keypoint_scores[..., None]], axis=2).astype(
            np.float64
        )
        rows = np.where(np.isfinite(rows).all(axis=2, keepdims=True), rows, 0).round(3)
        found = _xywh(self.stn_boxes)
        people = []
        for index, (row, box) in enumerate(zip(rows, _xywh(self.boxes), strict=True)):
            person: dict[str, Any] = {
                "image_id": image_id,
                "category_id": category_id,
                "keypoints": row.ravel().tolist(),
                "score": round(float(self.scores[index]), 6),
                "bbox": box,
            }
            if self.track_ids[index] >= 0:
                person["track_id"] = int(self.track_ids[index])
            if found[index] != box:
                person["stn_bbox"] = found[index]
            people.append(person)
        return people

    def to_dict(self) -> dict[str, Any]:
        """Plain lists for JSON; a missing joint is ``null``. `from_dict` restores them exactly."""
        points = self.keypoints.astype(object)
        points[~np.isfinite(self.keypoints)] = None
        return {
            "skeleton": self.skeleton.name,
            "keypoints": points.tolist(),
            "keypoint_scores": self.keypoint_scores.tolist(),
            "scores": self.scores.tolist(),
            "boxes": self.boxes.tolist(),
            "track_ids": self.track_ids.tolist(),
            "stn_boxes": self.stn_boxes.tolist(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], skeleton: Skeleton) -> "Poses":
        """The inverse of `to_dict`.

        Raises:
            ValueError: If the lists have inconsistent shapes or belong to another skeleton.
        """
        if data["skeleton"] != skeleton.name:
            raise ValueError(
                f"poses were written with skeleton {data['skeleton']!r}, not {skeleton.name!r}"
            )
        count = len(data["scores"])
        joints = len(skeleton)
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
            return cls(
                np.array(data["keypoints"], np.float32).reshape(count, joints, 2),
                np.array(data["keypoint_scores"], np.float32).reshape(count, joints),
                data["scores"],
                np.array(data["boxes"], np.float32).reshape(count, 4),
                skeleton,
                data["track_ids"],
                np.array(data["stn_boxes"], np.float32).reshape(count, 4),
            )


def _xywh(boxes: NDArray[np.float32]) -> list[list[float]]:
    return Boxes(boxes).xywh.astype(np.float64).round(3).tolist()
