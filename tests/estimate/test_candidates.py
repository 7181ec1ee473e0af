"""Several candidates of a joint."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmpe.estimate.candidates import (
    LEAST,
    MOST,
    RADIUS,
    Candidates,
    find_candidates,
    fuse,
)
from rmpe.estimate.heatmaps import decode_argmax, decode_dark, quarter_steps, summits


def bumps(*places, size=(64, 48), sigma=2.0):
    """One heatmap with a Gaussian of each height at each (x, y, height)."""
    y, x = np.mgrid[: size[0], : size[1]]
    field = np.zeros(size)
    for px, py, height in places:
        field = np.maximum(
            field, height * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2))
        )
    return field[None, None].astype(np.float32)


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], [(0, 0, 0.0)]),
        ([(20.3, 30.4, 0.05)], [(20.3, 30.4, 0.05)]),
        ([(20.3, 30.4, 0.9)], [(20.3, 30.4, 0.9)]),
        ([(10, 10, 0.5), (30.25, 40.5, 1.0)], [(30.25, 40.5, 1.0), (10, 10, 0.5)]),
        ([(10, 10, 0.09), (30, 40, 1.0)], [(30, 40, 1.0)]),
        (
            [(9, 9, 0.3), (9, 40, 0.4), (40, 9, 0.5), (40, 40, 0.6)],
            [(40, 40, 0.6), (40, 9, 0.5), (9, 40, 0.4)],
        ),
    ],
    ids=["none", "weak alone", "one", "two", "weak second", "four"],
)
def test_peaks_of_one_map(places, expected):
    found = find_candidates(bumps(*places), summits)
    assert found.count[0, 0] == len(expected)
    got = np.concatenate([found.points, found.scores[..., None]], axis=3)[0, 0]
    np.testing.assert_allclose(got[: len(expected), :2], np.array(expected)[:, :2], atol=0.05)
    # A Gaussian between cells is sampled below its summit.
    np.testing.assert_allclose(got[: len(expected), 2], np.array(expected)[:, 2], atol=0.04)
    assert np.isnan(got[len(expected) :, :2]).all()
    assert not got[len(expected) :, 2].any()


def test_nobody():
    found = find_candidates(np.zeros((0, 17, 64, 48), np.float32), summits)
    assert found.points.shape == (0, 17, MOST, 2)


def test_a_plateau_is_one_candidate():
    maps = np.zeros((1, 1, 16, 12), np.float32)
    maps[0, 0, 4:6, 3:5] = 0.5
    found = find_candidates(maps, summits)
    assert found.count[0, 0] == 1
    np.testing.assert_allclose(found.points[0, 0, 0], [3.5, 4.5], atol=0.5)


@pytest.mark.parametrize(
    ("decode", "refine"),
    [
        (decode_dark, summits),
        (partial(decode_dark, blur=5), partial(summits, blur=5)),
        (decode_argmax, quarter_steps),
    ],
    ids=["dark", "dark with blur", "argmax"],
)
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_first_is_the_usual_answer_and_all_are_local_maxima(decode, refine, seed):
    rng = np.random.default_rng(seed)
    maps = rng.uniform(-0.5, 1, (2, 3, 9, 7)).astype(np.float32)
    points, scores = decode(maps)
    found = find_candidates(maps, refine)
    np.testing.assert_array_equal(found.points[:, :, 0], points)
    np.testing.assert_array_equal(found.scores[:, :, 0], scores)
    assert np.all(np.diff(found.scores, axis=2) <= 0)
    for person, joint in np.ndindex(2, 3):
        field = maps[person, joint]
        peaks = [
            value
            for (y, x), value in np.ndenumerate(field)
            if value > LEAST
            and value
            == field[max(y - RADIUS, 0) : y + RADIUS + 1, max(x - RADIUS, 0) : x + RADIUS + 1].max()
        ]
        expected = sorted(peaks, reverse=True)[:MOST] or [field.max()]
        count = found.count[person, joint]
        np.testing.assert_array_equal(found.scores[person, joint, :count], expected)


def test_two_looks_at_some_people():
    # Person 0 once; person 1 twice: joint 0 in about the same place, joint 1 elsewhere, joint 2
    # seen by neither.
    points = [
        [[1, 2], [3, 4], [5, 6]],
        [[10, 10], [20, 20], [30, 30]],
        [[14, 10], [90, 20], [31, 30]],
    ]
    scores = np.array([[0.5, 0.6, 0.7], [0.2, 0.3, 0], [0.6, 0.9, 0]], np.float32)
    looks = Candidates.only(np.array(points, float), scores)
    found = fuse(looks, np.array([0, 1, 1]), np.full((2, 3), 4.0))
    assert found.points[0, :, 0].tolist() == points[0]
    np.testing.assert_allclose(found.points[1, :, 0], [[13, 10], [90, 20], [30, 30]])
    np.testing.assert_allclose(found.scores[:, :, 0], [scores[0], [0.4, 0.9, 0]])
    # The order of the looks does not matter, and whose first look comes first neither.
    other = fuse(looks[np.array([2, 1, 0])], np.array([1, 1, 0]), np.full((2, 3), 4.0))
    np.testing.assert_array_equal(other.points[:, :2], found.points[:, :2])


def test_the_surer_look_brings_its_rivals():
    points = np.array([[[[0, 0], [5, 5]]], [[[50, 0], [np.nan, np.nan]]]])
    scores = np.array([[[0.4, 0.3]], [[0.8, 0]]], np.float32)
    looks = Candidates(points, scores, np.array([[2], [1]]))
    found = fuse(looks, np.zeros(2, np.int64), np.ones((1, 1)))
    np.testing.assert_array_equal(found.points, points[1:])
    np.testing.assert_array_equal(found.scores, scores[1:])
    assert found.count.tolist() == [[1]]
