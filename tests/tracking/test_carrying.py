"""How ways to carry boxes are compared: who is judged, and how often the detector runs."""

import numpy as np
import pytest

pytest.importorskip("hotcoco")
from stick_people import COCO, people, pose

from benchmarks.video.carrying import (
    FLOW,
    STN,
    USUAL,
    Beginning,
    Counted,
    difference,
    evaluate,
    kept,
    wanted,
)
from rmpe.boxes import Boxes
from rmpe.poses import Poses

NOBODY = Poses.empty(COCO)


@pytest.mark.parametrize(
    ("intervals", "rows"),
    [
        ([], []),
        (["1"], [(FLOW, "1"), (STN, "1")]),
        (["5"], [(USUAL, "5"), (FLOW, "5"), (STN, "5")]),
        (["10", "auto"], [(FLOW, "10"), (STN, "10"), (FLOW, "auto"), (STN, "auto")]),
    ],
)
def test_ways_that_are_measured(intervals, rows):
    assert list(wanted(intervals)) == rows


class Named:
    """Says who was asked."""

    def __init__(self, name):
        self.name = name

    def detector(self, image):
        return Boxes.empty()

    def estimate(self, image, boxes):
        return self.name


def test_detections_are_counted():
    estimator = Counted(Named("behind the STN"))
    assert estimator.estimate(None, estimator.detector(None)) == "behind the STN"
    assert estimator.estimate(None, Boxes.empty()) == "behind the STN"
    assert estimator.estimate(None, estimator.detector(None)) == "behind the STN"
    assert estimator.calls == 2


@pytest.mark.parametrize(("frames", "length"), [(0, 0), (2, 2), (9, 5), (None, 5)])
def test_the_beginning_of_a_video(frames, length):
    class Five:
        stop = None

        def __iter__(self):
            return iter(range(5))

    assert len(list(Beginning(Five(), frames))) == length


def test_what_was_found_is_kept(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return len(calls)

    assert [kept(None, compute, "a"), kept(None, compute, "a")] == [1, 2]
    folder = tmp_path / "new"
    assert [kept(folder, compute, "a", 5), kept(folder, compute, "a", 5)] == [3, 3]
    assert kept(folder, compute, "a", 10) == 4


def judged(found, sure=None):
    """Two frames, each with one person at the left and one at the right."""
    both = people(pose((100, 120)), pose((220, 120)))
    return evaluate([both, both], found, sure)


LEFT, RIGHT = pose((100, 120)), pose((220, 120))
BOTH = people(LEFT, RIGHT)


@pytest.mark.parametrize(
    ("found", "sure", "ap"),
    [
        ([NOBODY, NOBODY], None, 0),
        ([BOTH, BOTH], None, 1),
        ([BOTH, NOBODY], None, 0.505),  # half of the people: 51 of 101 recalls
        ([LEFT, LEFT], [[True, False]] * 2, 1),
        ([BOTH, BOTH], [[True, False]] * 2, 1),  # who is unsure is no mistake
        ([RIGHT, RIGHT], [[True, False]] * 2, 0),
    ],
)
def test_agreement_with_a_reference(found, sure, ap):
    assert judged(found, sure).figures["AP"] == pytest.approx(ap, abs=0.001)


def test_a_difference_is_paired_and_in_points():
    all_found = judged([BOTH, BOTH])
    assert difference(all_found, all_found, 1) == "+0.0 [+0.0, +0.0]"
    assert difference(all_found, judged([NOBODY, NOBODY]), 1) == "+100.0 [+100.0, +100.0]"
    # One block for both frames: nothing to draw from.
    half = judged([BOTH, NOBODY])
    assert difference(all_found, half, 2) == "+49.5 [+49.5, +49.5]"
    assert difference(all_found, half, 1).startswith("+49.5 [+0.0, ")
    assert np.isclose(half.figures["AP"], 0.505, atol=0.001)
