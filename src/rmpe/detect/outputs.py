"""What a detector's model answered, as boxes of people."""

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Boxes, box_nms, vote
from rmpe.cards import ModelCard
from rmpe.errors import ModelError
from rmpe.runtime import Session

# Boxes from this score on have a vote.
FAINTEST = 0.01


def least_score(card: ModelCard) -> float:
    """The lowest score at which a box counts for `people`."""
    return min(card.score_threshold, FAINTEST) if card.voters else card.score_threshold


def people(boxes: Boxes, card: ModelCard) -> Boxes:
    """Everybody once: the boxes from the card's threshold on, after NMS and vote, best first.

    Args:
        boxes: All from `least_score` on.
        card: The detector's.
    """
    sure = np.flatnonzero(boxes.scores >= card.score_threshold)
    kept = sure[box_nms(boxes[sure], card.nms)]
    return vote(boxes, kept, card.voters) if card.voters else boxes[kept]


def boxes_of(session: Session, xyxy: NDArray[np.floating], scores: NDArray[np.floating]) -> Boxes:
    """Boxes ``(N, 4)`` with scores ``(N,)``, which are clipped to [0, 1].

    Raises:
        ModelError: If a box is not finite: numbers of a broken model overflow in the decoder.
    """
    if not np.isfinite(xyxy).all():
        raise ModelError(f"{session.path}: answers boxes that are not finite; the model is broken")
    return Boxes(xyxy, scores.clip(0, 1))
