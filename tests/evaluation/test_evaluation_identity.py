"""CLEAR MOT and IDF1 of whole people, against counts made by hand."""

import numpy as np
import pytest

from rmpe.evaluation.files.frames import Frame
from rmpe.evaluation.matching.identity import PeopleCounts, count_identities

pytest.importorskip("scipy")
SIGMAS = (0.05, 0.05)


def frame(truth, found):
    """``truth`` and ``found``: id -> x of a person of two joints."""

    def points(people):
        return np.array([[(x, 0.0), (x, 50.0)] for x in people.values()]).reshape(-1, 2, 2)

    def ids(people):
        return np.array(list(people), np.int64)

    ones = np.ones(len(truth))
    return Frame(
        points(truth),
        ones,
        2500 * ones,
        ids(truth),
        points(found),
        np.ones((len(found), 2)),
        ids(found),
    )


SAME = [frame({0: 0, 1: 100}, {7: 0, 8: 100})] * 4
TABLE = [
    ("nothing", [], {"MOTA": 100, "IDF1": 0, "switches": 0, "objects": 0}),
    ("nobody found", [frame({0: 0}, {})] * 3, {"MOTA": 0, "IDF1": 0, "misses": 3}),
    ("nobody there", [frame({}, {5: 0})] * 2, {"IDF1": 0, "false_positives": 2}),
    ("all right", SAME, {"MOTA": 100, "IDF1": 100, "tracks": 2, "people": 2}),
    (
        "ids swapped half way",
        [*SAME, *[frame({0: 0, 1: 100}, {8: 0, 7: 100})] * 4],
        {"MOTA": 100 * (1 - 2 / 16), "IDF1": 50, "switches": 2},
    ),
    (
        "a switch is remembered over a miss",
        [frame({0: 0}, {3: 0}), frame({0: 0}, {}), frame({0: 0}, {4: 0})],
        {"switches": 1, "misses": 1, "IDF1": 100 * 2 / 5},
    ),
    ("too far", [frame({0: 0}, {3: 30})], {"misses": 1, "false_positives": 1}),
    (
        "who can keep the id keeps it, though another is nearer",
        [frame({0: 0}, {3: 0}), frame({0: 0}, {3: 3, 4: 0})],
        {"switches": 0, "false_positives": 1},
    ),
]


@pytest.mark.parametrize(
    ("frames", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_counts(frames, expected):
    figures = count_identities(frames, SIGMAS).figures()
    assert {name: figures[name] for name in expected} == pytest.approx(expected)


def test_sequences_add_up():
    total = (
        count_identities(SAME, SIGMAS)
        + count_identities([frame({0: 0}, {})], SIGMAS)
        + PeopleCounts()
    )
    assert (total.objects, total.answers, total.same, total.misses) == (9, 8, 8, 1)
    assert total.figures()["MOTA"] == pytest.approx(100 * 8 / 9)
