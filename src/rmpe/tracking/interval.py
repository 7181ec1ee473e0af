"""Run the detector on some frames only; between them, boxes follow the poses of the last frame.

A spatial transformer can correct these boxes; docs/video.md reports the measured effect.
"""

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Boxes
from rmpe.estimate.score import box_scores
from rmpe.poses import Poses
from rmpe.tracking.features import SmallPicture, follow, joint_features, shrink

Every = int | Literal["auto"]

# A person is larger than the extent of the joints; both sides are multiplied by this. The growth
# factor on the pose model's card is applied later, as for a detector's box.
BODY = 1.25
# Poses with a lower score are not carried to the next frame.
CARRIED = 0.1
# Joints with a lower score do not contribute to the box.
SURE = 0.2


class DetectionInterval:
    """Decides for each frame whether to run the detector, or else which boxes to use.

    With ``auto`` the detector runs when the joint confidence has dropped since the last detection,
    when people are lost, when something moves outside the known boxes, and after ``longest`` frames
    at the latest.
    """

    def __init__(
        self,
        every: Every = 1,
        *,
        longest: int = 15,
        shortest: int = 2,
        carry: Callable[[Poses, SmallPicture, SmallPicture], Boxes] | None = None,
    ) -> None:
        """Create the interval; the detector always runs on the first frame.

        Args:
            every: Run the detector on every n-th frame, or ``auto``.
            longest: With ``auto``, the most frames from one detection to the next.
            shortest: With ``auto``, the fewest.
            carry: Computes the boxes of a frame from the poses of the frame before and both images;
                `moved_boxes` by default.
        """
        self._carry = carry or moved_boxes
        self.every = every
        self.longest = longest
        self.shortest = shortest
        self._poses: Poses | None = None
        self._picture: SmallPicture | None = None
        self._since = 0  # frames since the last detection
        self._confidence = 0.0  # mean joint confidence at the last detection
        self._expected = 0  # people carried into the last frame
        self._restless = False

    def boxes(self, image: NDArray[np.uint8]) -> Boxes | None:
        """The boxes for the next frame, or ``None`` to run the detector."""
        picture = shrink(image)
        before = self._picture
        self._picture = picture
        self._since += 1
        if self._poses is None or before is None or before.size != picture.size:
            return None
        carried = self._carry(self._poses, before, picture)
        self._restless = _moves_elsewhere(before, picture, carried)
        if self._due(self._poses):
            return None
        self._expected = len(carried)
        return carried

    def note(self, poses: Poses, *, detected: bool) -> None:
        """Record the poses found in the frame passed to `boxes`."""
        if detected:
            self._since = 0
            self._expected = 0
            self._confidence = _confidence(poses)
        self._poses = poses[np.flatnonzero(poses.scores >= CARRIED)]

    def _due(self, poses: Poses) -> bool:
        if self.every != "auto":
            return self._since >= self.every
        if self._since < self.shortest:
            return False
        lost = len(poses) < self._expected
        unsure = _confidence(poses) < 0.75 * self._confidence
        return self._since >= self.longest or lost or unsure or self._restless


def last_boxes(poses: Poses) -> Boxes:
    """Boxes around poses: the extent of the confident joints, enlarged to the body.

    The score is the box score within the pose score, so a person's score does not decay from frame
    to frame. People with fewer than two confident joints are left out.
    """
    return _boxes_around(_placed(poses))


def moved_boxes(poses: Poses, before: SmallPicture, after: SmallPicture) -> Boxes:
    """`last_boxes`, moved to the next frame by the median optical flow around the confident joints.

    Args:
        poses: The people of this frame.
        before: This frame.
        after: The next frame.
    """
    kept = _placed(poses)
    boxes = _boxes_around(kept)
    points = joint_features(kept)
    sure = (kept.keypoint_scores >= SURE)[:, :, None, None]
    motion = np.where(sure, follow(before, after, points) - points, np.nan)
    known = np.any(np.isfinite(motion), axis=(1, 2, 3))
    shift = np.zeros((len(kept), 2), np.float32)
    if known.any():
        shift[known] = np.nanmedian(motion[known], axis=(1, 2))
    return Boxes(boxes.xyxy + np.tile(shift, 2), boxes.scores)


def _placed(poses: Poses) -> Poses:
    """The people with at least two confident joints."""
    return poses[np.flatnonzero((poses.keypoint_scores >= SURE).sum(axis=1) >= 2)]


def _boxes_around(poses: Poses) -> Boxes:
    if not len(poses):
        return Boxes.empty()
    joints = np.where((poses.keypoint_scores >= SURE)[..., None], poses.keypoints, np.nan)
    low = np.nanmin(joints, axis=1)
    high = np.nanmax(joints, axis=1)
    center = (low + high) / 2
    half = np.maximum((high - low) / 2 * BODY, 1)
    scores = box_scores(poses.scores, poses.keypoint_scores)
    return Boxes(np.concatenate([center - half, center + half], axis=1), scores)


def _confidence(poses: Poses) -> float:
    return float(poses.keypoint_scores.mean()) if len(poses) else 0.0


def _moves_elsewhere(
    before: SmallPicture, after: SmallPicture, people: Boxes, share: float = 0.004
) -> bool:
    """Whether more than ``share`` of the image changed outside the enlarged boxes of people."""
    height, width = before.size
    tiny = (80, max(1, round(80 * height / width)))
    change = cv2.absdiff(
        *(cv2.resize(each.grey, tiny, interpolation=cv2.INTER_AREA) for each in (before, after))
    )
    changed = change > 16
    for x1, y1, x2, y2 in np.maximum(np.round(people.grow(1.3).xyxy * (80 / width)), 0).astype(int):
        changed[y1 : y2 + 1, x1 : x2 + 1] = False
    return float(changed.mean()) > share
