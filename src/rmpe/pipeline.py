"""The method on one screen: detect, propose, STN, SPPE, SDTN, pose NMS."""

import numpy as np
from numpy.typing import NDArray

from rmpe.affine import apply, invert
from rmpe.boxes import Boxes, size_of
from rmpe.detect import Detector
from rmpe.estimate.crops import Cropper, cut
from rmpe.estimate.pose_model import BoxCropper, PoseModel
from rmpe.estimate.score import lowest_box_score, pose_scores
from rmpe.estimate.stn import Stn, StnCropper
from rmpe.poses import Poses
from rmpe.propose.regions import propose
from rmpe.skeletons import Skeleton
from rmpe.suppress import Suppressor, suppressor

Image = NDArray[np.uint8]


class Estimator:
    """Everybody's pose, from an image. Make one with `rmpe.load`.

    Safe to call from several threads at once.
    """

    def __init__(
        self,
        detector: Detector,
        pose: PoseModel,
        stn: Stn | None = None,
        suppress: Suppressor | None = None,
        *,
        min_score: float = 0.0,
        limit: int = 100,
        workers: int = 1,
    ) -> None:
        """Put the stages together.

        Args:
            detector: Finds boxes.
            pose: The single-person pose estimator (SPPE).
            stn: Moves the crops onto the people before ``pose`` sees them.
            suppress: Removes redundant poses; parametric pose NMS if not given.
            min_score: Poses below it are left out.
            limit: Most people in one image; the best boxes are kept.
            workers: Threads of `rmpe.stream`.
        """
        self.detector = detector
        self.pose = pose
        self.stn = stn
        self.cropper: Cropper = StnCropper(stn, pose) if stn else BoxCropper(pose)
        self.suppress = suppress or suppressor("parametric")
        self.min_score = min_score
        self.limit = limit
        self.workers = max(1, workers)

    @property
    def skeleton(self) -> Skeleton:
        """The joints of the poses."""
        return self.pose.skeleton

    def __call__(self, image: Image, name: str = "") -> Poses:
        """Find everybody in one image.

        Args:
            image: RGB uint8 ``(H, W, 3)``.
            name: What the image is called; only needed by detectors that look boxes up.

        Returns:
            Poses, best first.
        """
        return self.estimate(image, self.detector(image, name))

    def estimate(self, image: Image, boxes: Boxes) -> Poses:
        """The poses of the people in the given boxes, without redundant ones, best first."""
        return self.estimate_batch([image], [boxes])[0]

    def estimate_batch(self, images: list[Image], boxes: list[Boxes]) -> list[Poses]:
        """`estimate` for several images, whose people share the pose model's batches.

        Source: RMPE, section 3 and Fig. 2: human proposals, STN, SPPE, SDTN, pose NMS.
        """
        if not images:
            return []
        enough = lowest_box_score(self.min_score)
        proposals = [
            propose(found, size_of(image), self.limit, enough)
            for image, found in zip(images, boxes, strict=True)
        ]
        # STN: where in the image the pose estimator looks for each person.
        image_to_crop, found_boxes = self.cropper(images, proposals)
        crops = [
            cut(image, maps, self.pose.size)
            for image, maps in zip(images, image_to_crop, strict=True)
        ]
        # SPPE: joints in the frame of the crop.
        points, joint_scores = self.pose(np.concatenate(crops))
        # SDTN: the inverse map takes the joints back into the image.
        keypoints = apply(invert(np.concatenate(image_to_crop)), points)
        poses = Poses(
            keypoints,
            joint_scores,
            pose_scores(np.concatenate([found.scores for found in proposals]), joint_scores),
            np.concatenate([found.xyxy for found in proposals]),
            self.skeleton,
            stn_boxes=np.concatenate(found_boxes),
        )
        ends = np.cumsum([len(found) for found in proposals])
        return [
            self._without_redundant(poses[end - len(found) : end])
            for end, found in zip(ends, proposals, strict=True)
        ]

    def _without_redundant(self, poses: Poses) -> Poses:
        """Pose NMS, and a last cut at ``min_score``."""
        poses = self.suppress(poses)
        return poses[poses.scores >= self.min_score]
