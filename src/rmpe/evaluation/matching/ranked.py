"""Average precision from match lists that are ranked by score, with a weight per image.

An image of weight 2 counts twice, and one of weight 0 is left out. The AP of a bootstrap sample or
of a subset of the images therefore needs one cumulative sum and no new matching.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# COCO interpolates precision at these 101 recalls.
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True, eq=False)
class Ranked:
    """Detections by descending score, with their match results.

    Attributes:
        scores: ``(D,)``, descending.
        image: ``(D,)``, index of the image (or other resampled unit) of each detection.
        hits: ``(T, D)``, whether the detection matches a person, for each of T thresholds.
        counted: ``(T, D)``, false where the protocol ignores the detection.
        truths: ``(I,)``, number of annotated people (or joints) in each image.
    """

    scores: Floats
    image: NDArray[np.int64]
    hits: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    truths: NDArray[np.int64]

    @classmethod
    def sort(
        cls,
        scores: ArrayLike,
        image: ArrayLike,
        hits: ArrayLike,
        counted: ArrayLike,
        truths: ArrayLike,
    ) -> "Ranked":
        """Rank unsorted detections; the sort is stable, as in COCO."""
        values = np.asarray(scores, np.float64)
        order = np.argsort(-values, kind="stable")
        return cls(
            values[order],
            np.asarray(image, np.int64)[order],
            np.asarray(hits, bool)[:, order],
            np.asarray(counted, bool)[:, order],
            np.asarray(truths, np.int64),
        )

    def curve(self, weights: ArrayLike | None = None) -> tuple[Floats, Floats]:
        """Recall and precision ``(T, D)`` after each detection; ``weights`` ``(I,)`` per image."""
        image_weight = (
            np.ones(len(self.truths)) if weights is None else np.asarray(weights, np.float64)
        )
        weight = image_weight[self.image] * self.counted
        found = np.cumsum(weight * self.hits, axis=1)
        total = np.cumsum(weight, axis=1)
        recall = found / max(float(self.truths @ image_weight), np.spacing(1))
        return recall, found / (total + np.spacing(1))

    def interpolated_precision(self, weights: ArrayLike | None = None) -> Floats:
        """COCO's interpolated precision ``(T, 101)`` at `RECALLS`.

        It is the highest precision at that recall or beyond, or 0 if the recall is not reached.
        """
        recall, precision = self.curve(weights)
        result = np.zeros((len(recall), len(RECALLS)))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        for row, (recalls, best) in enumerate(zip(recall, envelope, strict=True)):
            index = np.searchsorted(recalls, RECALLS, side="left")
            reached = index < len(recalls)
            result[row, reached] = best[index[reached]]
        return result

    def coco_ap(self, weights: ArrayLike | None = None) -> float:
        """COCO's AP, the mean over thresholds and 101 recalls; -1 without annotated people."""
        image_weight = (
            np.ones(len(self.truths)) if weights is None else np.asarray(weights, np.float64)
        )
        return (
            float(self.interpolated_precision(weights).mean())
            if self.truths @ image_weight > 0
            else -1.0
        )

    def area_under_curve(self, weights: ArrayLike | None = None) -> Floats:
        """AP ``(T,)`` of PASCAL VOC 2010: the area under the precision envelope."""
        recall, precision = self.curve(weights)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        return np.sum(np.diff(recall, axis=1, prepend=0) * envelope, axis=1)
