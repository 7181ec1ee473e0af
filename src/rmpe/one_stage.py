"""The pipeline of models that answer boxes and joints at once: no proposals, no crops."""

from rmpe.boxes import Boxes
from rmpe.detect import WholeImage
from rmpe.estimate.one_stage import OneStageModel
from rmpe.media.arrays import ChannelOrder, check_channel_order
from rmpe.pipeline import Estimator, Image
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton
from rmpe.suppress import Suppressor, suppressor


class OneStageEstimator(Estimator):
    """Everybody's pose from a model that answers boxes and joints at once.

    It looks at the whole of every image: whatever boxes it is given say nothing to it. Pose NMS,
    and all that comes after, is as for `Estimator`.
    """

    def __init__(
        self,
        model: OneStageModel,
        suppress: Suppressor | None = None,
        *,
        min_score: float = 0.0,
        limit: int = 100,
        workers: int = 1,
        color: ChannelOrder = "rgb",
    ) -> None:
        """Put the stages together.

        Args:
            model: The one-stage model.
            suppress: See `Estimator`, like all that follow.
            min_score: Poses below it are left out.
            limit: Most people in one image; those of the best boxes are kept.
            workers: Threads of `rmpe.stream`.
            color: Order of the colour channels of arrays that callers pass.

        Raises:
            ImageError: If there is no such order.
        """
        self.detector = WholeImage()
        self.model = model
        self.stn = None
        self.suppress = suppress or suppressor("parametric")
        self.min_score = min_score
        self.limit = limit
        self.workers = max(1, workers)
        self.color = check_channel_order(color)

    @property
    def skeleton(self) -> Skeleton:
        """The joints of the poses."""
        return self.model.skeleton

    def estimate_batch(self, images: list[Image], boxes: list[Boxes]) -> list[Poses]:  # noqa: ARG002
        """The poses of everybody in several images."""
        return [self._without_redundant(self.model(image)[: self.limit]) for image in images]
