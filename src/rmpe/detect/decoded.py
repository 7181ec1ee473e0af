"""Detectors whose ONNX graph decodes boxes and scores: only the box NMS is left to do."""

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Boxes, size_of
from rmpe.cards import ModelCard
from rmpe.detect.letterbox import covered, letterbox
from rmpe.detect.outputs import boxes_of, least_score, people
from rmpe.errors import ModelError
from rmpe.estimate.crops import network_input
from rmpe.runtime import Session

# Suppression compares all pairs, and an untrained model is sure of every box: only the best of them
# are looked at.
CANDIDATES = 1000


class DecodedDetector:
    """A detector that gives decoded boxes and scores.

    Attributes:
        size: (height, width) of the largest input.

    Boxes are ``(1, A, 4)`` xyxy in input pixels, scores ``(1, A)`` in [0, 1].
    """

    def __init__(self, session: Session, card: ModelCard) -> None:
        """Check the model.

        Raises:
            ModelError: If its outputs are not boxes and scores, or neither model nor card say its
                input size.
        """
        shape = card.input_shape(session)
        if card.stride and any(shape[2:]):
            raise ModelError(
                f"{session.path}: takes inputs of shape {shape}; leave stride out of its card"
            )
        if len(shape) != 4 or shape[1] != 3:
            raise ModelError(
                f"{session.path}: a detector takes (1, 3, height, width), this one takes {shape}"
            )
        self.session = session
        self.card = card
        self.size = (shape[2] or card.size[0], shape[3] or card.size[1])
        if not min(self.size):
            raise ModelError(
                f"{session.path}: takes any input size; write size = [height, width] into its card"
            )
        boxes, scores, *_ = [*session.outputs.values(), (), ()]
        if len(boxes) != 3 or boxes[2] != 4 or len(scores) != 2:
            raise ModelError(
                f"{session.path}: its card's decoder 'boxes' needs outputs (1, A, 4) and (1, A), "
                f"this model's are {list(session.outputs.values())}"
            )

    def __call__(self, image: NDArray[np.uint8], name: str = "") -> Boxes:  # noqa: ARG002
        """Find the people of one RGB image; boxes in image pixels, best first."""
        size, stride = self.size, self.card.stride
        canvas, scale = letterbox(image, covered(size_of(image), size, stride) if stride else size)
        xyxy, scores = self.session(network_input(canvas[None], self.card))[:2]
        best = np.argsort(-scores[0], kind="stable")[:CANDIDATES]
        best = best[scores[0, best] >= least_score(self.card)]
        boxes = boxes_of(self.session, xyxy[0, best] / scale, scores[0, best])
        return people(boxes.clip(size_of(image)), self.card)
