"""What a detector's model answered, as boxes."""

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Boxes
from rmpe.errors import ModelError
from rmpe.runtime import Session


def boxes_of(session: Session, xyxy: NDArray[np.floating], scores: NDArray[np.floating]) -> Boxes:
    """Boxes ``(N, 4)`` with scores ``(N,)``, which are clipped to [0, 1].

    Raises:
        ModelError: If a box is not finite: numbers of a broken model overflow in the decoder.
    """
    if not np.isfinite(xyxy).all():
        raise ModelError(f"{session.path}: answers boxes that are not finite; the model is broken")
    return Boxes(xyxy, scores.clip(0, 1))
