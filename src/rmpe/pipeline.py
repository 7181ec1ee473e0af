"""The method on one screen: detect, propose, STN, SPPE, SDTN, association, pose NMS."""

from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from rmpe.affine import invert
from rmpe.associate import Associator, associator
from rmpe.boxes import Boxes, size_of
from rmpe.detect import Detector
from rmpe.estimate.candidates import fuse
from rmpe.estimate.crops import Cropper, cut
from rmpe.estimate.pose_model import BoxCropper, PoseModel
from rmpe.estimate.score import lowest_box_score, pose_scores
from rmpe.estimate.stn import Stn, StnCropper
from rmpe.media.arrays import ChannelOrder, check_channel_order
from rmpe.media.images import as_image, as_images
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
        associate: Associator | None = None,
        min_score: float = 0.0,
        limit: int = 100,
        workers: int = 1,
        color: ChannelOrder = "rgb",
    ) -> None:
        """Put the stages together.

        Args:
            detector: Finds boxes.
            pose: The single-person pose estimator (SPPE).
            stn: Moves the crops onto the people before ``pose`` sees them.
            suppress: Removes redundant poses; parametric pose NMS if not given.
            associate: Chooses among the candidates of each joint, where people overlap; by default
                everybody has the best of their own.
            min_score: Poses below it are left out.
            limit: Most people in one image; the best boxes are kept.
            workers: Threads of `rmpe.stream`.
            color: Order of the colour channels of arrays that callers pass; files know theirs.

        Raises:
            ImageError: If there is no such order.
        """
        self.detector = detector
        self.pose = pose
        self.stn = stn
        self.cropper: Cropper = StnCropper(stn, pose) if stn else BoxCropper(pose)
        self.suppress = suppress or suppressor("parametric")
        self.associate = associate or associator("none")
        self.min_score = min_score
        self.limit = limit
        self.workers = max(1, workers)
        self.color = check_channel_order(color)

    @property
    def skeleton(self) -> Skeleton:
        """The joints of the poses."""
        return self.pose.skeleton

    @overload
    def __call__(self, image: list[Any] | tuple[Any, ...], name: str = "") -> list[Poses]: ...
    @overload
    def __call__(self, image: Any, name: str = "") -> Poses: ...
    def __call__(self, image: Any, name: str = "") -> Poses | list[Poses]:
        """Find everybody in one image, or in each of a list of images.

        Args:
            image: Whatever can be meant by an image (`rmpe.media.images.as_image`): a path, bytes,
                a file object, a Pillow image, a PyTorch tensor, an array; or a list of such.
            name: What the image is called; only needed by detectors that look boxes up.

        Returns:
            Poses, best first; for a list, a list.

        Raises:
            ImageError: If something is not an image.
        """
        if isinstance(image, list | tuple):
            return [
                self.estimate(each, self.detector(each, name))
                for each in as_images(image, self.color)
            ]
        pixels = as_image(image, self.color)
        return self.estimate(pixels, self.detector(pixels, name))

    def estimate(self, image: Image, boxes: Boxes) -> Poses:
        """The poses of the people in the given boxes, without redundant ones, best first.

        Args:
            image: Anything that `rmpe.media.images.as_image` takes; RGB whatever ``color`` is.
            boxes: Where to look.

        Raises:
            ImageError: If ``image`` is not an image.
        """
        return self.estimate_batch([as_image(image)], [boxes])[0]

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
        looks = self.cropper(images, proposals)
        crops = [
            cut(image, maps, self.pose.size)
            for image, maps in zip(images, looks.image_to_crop, strict=True)
        ]
        # SPPE: joints in the frame of the crop, the best candidate first.
        candidates = self.pose.candidates(np.concatenate(crops))
        # SDTN: the inverse map takes the joints back into the image.
        candidates = candidates.apply(invert(np.concatenate(looks.image_to_crop)))
        # Whom the STN moved has been looked at twice: one answer for each person.
        proposed = Boxes(
            np.concatenate([found.xyxy for found in proposals]),
            np.concatenate([found.scores for found in proposals]),
        )
        candidates = fuse(candidates, looks.whose(), self.skeleton.spread(proposed.areas))
        joint_scores = candidates.scores[:, :, 0]
        poses = Poses(
            candidates.points[:, :, 0],
            joint_scores,
            pose_scores(proposed.scores, joint_scores),
            proposed.xyxy,
            self.skeleton,
            stn_boxes=np.concatenate(looks.boxes),
        )
        ends = np.cumsum([len(found) for found in proposals])
        rows = [slice(end - len(found), end) for end, found in zip(ends, proposals, strict=True)]
        return [
            self._without_redundant(self.associate(poses[some], candidates[some])) for some in rows
        ]

    def _without_redundant(self, poses: Poses) -> Poses:
        """Pose NMS, and a last cut at ``min_score``."""
        poses = self.suppress(poses)
        return poses[poses.scores >= self.min_score]
