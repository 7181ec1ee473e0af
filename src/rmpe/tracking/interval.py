"""Detect only now and then: in between, people are looked for where their last poses moved to.

At video rates people move little from frame to frame, so their last poses say well enough where to
look. Who comes in is found at the next detection.
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

# The extent of the joints is less than the person; both sides are multiplied by this, as is usual.
# (The growth on the pose model's card comes on top, as with a detector's box.)
BODY = 1.25
# A pose with a lower score than this is not worth another look where it was.
CARRIED = 0.1
# A joint surer than this tells where the person is.
SURE = 0.2


class DetectionInterval:
    """Says for every frame whether to run the detector, and if not, where to look for people.

    With ``auto`` the detector runs when the poses have lost confidence since the last detection,
    when people were lost, when something moves where nobody is known to be, and at the latest after
    ``longest`` frames.
    """

    def __init__(
        self,
        every: Every = 1,
        *,
        longest: int = 15,
        shortest: int = 2,
        carry: Callable[[Poses, SmallPicture, SmallPicture], Boxes] | None = None,
    ) -> None:
        """Set up; the first frame is always due.

        Args:
            every: Run the detector on every so many frames, or ``auto``.
            longest: For ``auto``: most frames from one detection to the next.
            shortest: For ``auto``: fewest.
            carry: Where to look in a frame, given the poses of the one before and both pictures;
                `moved_boxes` if not given.
        """
        self._carry = carry or moved_boxes
        self.every = every
        self.longest = longest
        self.shortest = shortest
        self._poses: Poses | None = None
        self._picture: SmallPicture | None = None
        self._since = 0  # frames since the last detection
        self._confidence = 0.0  # mean joint confidence right after it
        self._expected = 0  # people carried into the last frame
        self._restless = False

    def boxes(self, image: NDArray[np.uint8]) -> Boxes | None:
        """Where to look for people in the next frame; ``None`` says: run the detector."""
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
        """What was found in the frame that `boxes` was asked about."""
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
    """Boxes of people from their poses: the extent of the sure joints, grown to the body.

    The score is the box's part of the pose score, so that a person's score does not sink from frame
    to frame. Who has fewer than two sure joints is left out.
    """
    return _boxes_around(_placed(poses))


def moved_boxes(poses: Poses, before: SmallPicture, after: SmallPicture) -> Boxes:
    """`last_boxes`, moved to the next frame by the median motion of the image features around the
    sure joints.

    Args:
        poses: The people of this frame.
        before: Its picture.
        after: That of the next frame.
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
    """Those whose joints say where they are."""
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
    """Whether more than ``share`` of the picture changed outside the (grown) boxes of people."""
    height, width = before.size
    tiny = (80, max(1, round(80 * height / width)))
    change = cv2.absdiff(
        *(cv2.resize(each.grey, tiny, interpolation=cv2.INTER_AREA) for each in (before, after))
    )
    changed = change > 16
    for x1, y1, x2, y2 in np.maximum(np.round(people.grow(1.3).xyxy * (80 / width)), 0).astype(int):
        changed[y1 : y2 + 1, x1 : x2 + 1] = False
    return float(changed.mean()) > share
