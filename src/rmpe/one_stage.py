"""The pipeline of models that answer boxes and joints at once: no proposals, no crops."""

from rmpe.boxes import Boxes
from rmpe.estimate.one_stage import OneStageModel
from rmpe.pipeline import Estimator, Image
from rmpe.poses import Poses


class OneStageEstimator(Estimator):
    """Everybody's pose from a model that answers boxes and joints at once.

    It is put together as an `Estimator` is. The one-stage model stands for the pose model, and
    `rmpe.detect.WholeImage` for the detector: whatever boxes it is given say nothing to it. Pose
    NMS, and all that comes after, is as for `Estimator`.

    Attributes:
        pose: The one-stage model.
    """

    pose: OneStageModel  # type: ignore[assignment] # it has no crops, and needs none

    def estimate_batch(self, images: list[Image], boxes: list[Boxes]) -> list[Poses]:  # noqa: ARG002
        """The poses of everybody in several images."""
        return [self._without_redundant(self.pose(image)[: self.limit]) for image in images]
