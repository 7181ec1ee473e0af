"""Detect: image in, boxes of people out."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Boxes, size_of
from rmpe.cards import ModelCard, find_card
from rmpe.detect.decoded import DecodedDetector
from rmpe.detect.nms_boxes import NmsBoxesDetector
from rmpe.detect.recorded import RecordedBoxes
from rmpe.detect.yolox import Yolox
from rmpe.errors import ModelError
from rmpe.runtime import Device, Session

__all__ = [
    "WHOLE_IMAGE",
    "DecodedDetector",
    "Detector",
    "NmsBoxesDetector",
    "RecordedBoxes",
    "WholeImage",
    "Yolox",
    "load_detector",
]


# Stands for `WholeImage` where a detector is named.
WHOLE_IMAGE = "whole-image"


class Detector(Protocol):
    """Anything that finds people."""

    def __call__(self, image: NDArray[np.uint8], name: str = "") -> Boxes:
        """Find the people of one image.

        Args:
            image: RGB uint8 ``(H, W, 3)``.
            name: What the image is called; only detectors that look boxes up need it.

        Returns:
            Boxes in image pixels, in the order of their scores.
        """
        ...


class WholeImage:
    """One person who fills the image: for pictures that are crops already.

    It must be asked for; it is never a fallback.
    """

    def __call__(self, image: NDArray[np.uint8], name: str = "") -> Boxes:  # noqa: ARG002
        """The whole image as one box with score 1."""
        return Boxes.whole(size_of(image))


DECODERS: dict[str, Callable[[Session, ModelCard], Detector]] = {
    "yolox": Yolox,
    "boxes": DecodedDetector,
    "nms-boxes": NmsBoxesDetector,
}


def load_detector(
    path: str | Path, device: Device = "auto", threads: int = 0, card: Path | None = None
) -> Detector:
    """A detector from an ONNX file and its card.

    Raises:
        ModelError: If the model or its card cannot be used.
    """
    session = Session(path, device, threads)
    found = find_card(session, card)
    if found.kind != "detector":
        raise ModelError(f"{path}: its card says it is a {found.kind} model, not a detector")
    return DECODERS[found.decoder](session, found)
