"""YOLOX (Ge et al., 2021): any ONNX export of it, nano to x, with raw or decoded heads."""

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Boxes, size_of
from rmpe.cards import ModelCard
from rmpe.detect.letterbox import letterbox
from rmpe.detect.outputs import boxes_of, least_score, people
from rmpe.errors import ModelError
from rmpe.estimate.crops import network_input
from rmpe.runtime import Session

STRIDES = (8, 16, 32)
PERSON = 0  # COCO's first class
DEFAULT_SIZE = (640, 640)


class Yolox:
    """Finds people with a YOLOX model; other classes are ignored.

    Source: YOLOX, section 2; the person score is objectness times class score.
    """

    def __init__(self, session: Session, card: ModelCard) -> None:
        """Read the input size and the kind of head from the model.

        Raises:
            ModelError: If inputs or outputs are not those of a YOLOX export.
        """
        shape = card.input_shape(session)
        if len(shape) != 4 or shape[1] not in (3, None):
            raise ModelError(
                f"{session.path}: a YOLOX model takes (1, 3, height, width), this one takes {shape}"
            )
        self.session = session
        self.card = card
        declared = card.size if min(card.size) else DEFAULT_SIZE
        self.size = (shape[2] or declared[0], shape[3] or declared[1])
        self._offsets, self._strides = _cells(self.size)
        rows = self._forward(np.full((*self.size, 3), 114, np.uint8))
        # Decoded centres spread over the whole input; raw ones are offsets of a cell or so.
        self.decoded = bool(np.ptp(rows[:, 0]) > self.size[1] / 2)

    def __call__(self, image: NDArray[np.uint8], name: str = "") -> Boxes:  # noqa: ARG002
        """Find the people of one RGB image; boxes in image pixels, best first."""
        canvas, scale = letterbox(image, self.size)
        rows = self._forward(canvas)
        scores = rows[:, 4] * rows[:, 5 + PERSON]
        sure = scores >= least_score(self.card)
        rows = rows[sure]
        scores = scores[sure]
        if self.decoded:
            centers = rows[:, :2]
            sides = rows[:, 2:4]
        else:
            stride = self._strides[sure, None]
            centers = (rows[:, :2] + self._offsets[sure]) * stride
            with np.errstate(over="ignore"):  # told below
                sides = np.exp(rows[:, 2:4]) * stride
        corners = np.concatenate([centers - sides / 2, centers + sides / 2], axis=1) / scale
        boxes = boxes_of(self.session, corners, scores)
        return people(boxes.clip(size_of(image)), self.card)

    def _forward(self, canvas: NDArray[np.uint8]) -> NDArray[np.float32]:
        output = self.session(network_input(canvas[None], self.card))[0]
        if output.ndim != 3 or output.shape[1] != len(self._offsets) or output.shape[2] < 6:
            raise ModelError(
                f"{self.session.path}: a YOLOX output at {self.size} is (1, {len(self._offsets)},"
                f" 5 + classes), this model's is {output.shape}"
            )
        return output[0]


def _cells(size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cell indices (x, y) ``(A, 2)`` and strides ``(A,)`` of all predictions, in output order."""
    offsets = []
    strides = []
    for stride in STRIDES:
        y, x = np.mgrid[: size[0] // stride, : size[1] // stride]
        offsets.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full(x.size, stride))
    return np.concatenate(offsets).astype(np.float32), np.concatenate(strides).astype(np.float32)
