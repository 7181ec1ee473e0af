"""Detectors with suppression inside their graph: MMPose's exports of YOLOX and RTMDet."""

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Boxes, size_of
from rmpe.cards import ModelCard
from rmpe.detect.letterbox import letterbox
from rmpe.errors import ModelError
from rmpe.estimate.crops import network_input
from rmpe.runtime import Session

PERSON = 0  # the first class
DEFAULT_SIZE = (640, 640)


class NmsBoxesDetector:
    """Finds people with a model that answers with boxes that need no suppression.

    Outputs: ``dets (1, N, 5)``, left, top, right, bottom in input pixels and the score, and often
    ``labels (1, N)``, the class of each. N may be 0.
    """

    def __init__(self, session: Session, card: ModelCard) -> None:
        """Check the model by running it once.

        Raises:
            ModelError: If inputs or outputs are not those of such an export.
        """
        shape = next(iter(session.inputs.values()))
        if len(shape) != 4 or shape[1] not in (3, None):
            raise ModelError(
                f"{session.path}: a detector takes (1, 3, height, width), this one takes {shape}"
            )
        self.session = session
        self.card = card
        declared = card.size if min(card.size) else DEFAULT_SIZE
        self.size = (shape[2] or declared[0], shape[3] or declared[1])
        self._people(np.full((*self.size, 3), 114, np.uint8))

    def __call__(self, image: NDArray[np.uint8], name: str = "") -> Boxes:  # noqa: ARG002
        """Find the people of one RGB image; boxes in image pixels, best first."""
        canvas, scale = letterbox(image, self.size)
        rows = self._people(canvas)
        rows = rows[rows[:, 4] >= self.card.score_threshold]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        return Boxes(rows[:, :4] / scale, rows[:, 4].clip(0, 1)).clip(size_of(image))

    def _people(self, canvas: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Rows ``(N, 5)`` of people, as the model answers them."""
        outputs = self.session(network_input(canvas[None], self.card))
        dets = outputs[0]
        labels = outputs[1] if len(outputs) > 1 else np.zeros(dets.shape[:2])
        if dets.ndim != 3 or dets.shape[2] != 5 or labels.shape != dets.shape[:2]:
            raise ModelError(
                f"{self.session.path}: its card's decoder 'nms-boxes' needs outputs (1, N, 5) and "
                f"(1, N), this model's are {', '.join(str(output.shape) for output in outputs)}"
            )
        return dets[0][labels[0] == PERSON]
