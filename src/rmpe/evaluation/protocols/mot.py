"""MOT Challenge: CLEAR MOT and IDF1 of people's boxes, matched at an IoU of one half.

Source: Milan et al., "MOT16: A Benchmark for Multi-Object Tracking", 2016: only pedestrians count,
    and a detection on a distractor is neither right nor wrong.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import iou
from rmpe.evaluation.files.mot import MotRows
from rmpe.evaluation.matching.clear_mot import hungarian
from rmpe.evaluation.matching.identity import THRESHOLD, PeopleCounts, Step, count_steps

PEDESTRIAN = 1
# Who is on a vehicle, sits still, is a mannequin or a reflection.
DISTRACTORS = (2, 7, 8, 12)


def evaluate_mot(
    sequences: dict[str, tuple[MotRows, MotRows]],
) -> tuple[dict[str, Any], list[PeopleCounts]]:
    """MOT figures in percent and their counts, over all sequences and for each.

    Args:
        sequences: Annotated and predicted rows of each sequence.

    Returns:
        The figures, and the counts of each sequence.
    """
    counts = [count_steps(steps(truth, found)) for truth, found in sequences.values()]
    figures = sum(counts, PeopleCounts()).figures()
    by_name = {name: one.figures() for name, one in zip(sequences, counts, strict=True)}
    names = ("MOTA", "IDF1", "switches")
    return figures | {
        "per_sequence": {
            "sequence": list(by_name),
            **{name: [one[name] for one in by_name.values()] for name in names},
        }
    }, counts


def steps(truth: MotRows, found: MotRows) -> list[Step]:
    """The frames of a sequence, without detections of distractors."""
    wanted = (truth.flags != 0) & np.isin(truth.classes, (PEDESTRIAN, -1))
    distracting = np.isin(truth.classes, DISTRACTORS)
    steps = []
    for frame in np.union1d(truth.frames, found.frames):
        people = (truth.frames == frame) & (wanted | distracting)
        tracks = found.frames == frame
        similarity = iou(truth.xyxy[people], found.xyxy[tracks]).astype(np.float64)
        keep = ~_on_distractors(similarity, distracting[people])
        here = wanted[people]
        steps.append(
            Step(similarity[here][:, keep], truth.ids[people][here], found.ids[tracks][keep])
        )
    return steps


def _on_distractors(
    similarity: NDArray[np.float64], distracting: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Detections ``(P,)`` that the best assignment gives to distractors."""
    on = np.zeros(similarity.shape[1], bool)
    if distracting.any():
        allowed = similarity >= THRESHOLD
        rows, columns = hungarian(-np.where(allowed, 1 + similarity, 0))
        on[columns[distracting[rows] & allowed[rows, columns]]] = True
    return on
