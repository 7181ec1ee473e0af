import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmpe.boxes import AGREE, Boxes, box_nms, greedy_nms, iou, vote
from rmpe.propose.regions import grow_proposals, propose

box = st.tuples(
    st.integers(-50, 200), st.integers(-50, 200), st.integers(1, 90), st.integers(1, 90)
).map(lambda v: [v[0], v[1], v[0] + v[2], v[1] + v[3]])


def test_no_boxes_are_boxes():
    empty = Boxes.empty()
    assert len(empty) == 0
    assert len(empty.clip((10, 10)).grow(2)) == 0
    assert iou(empty.xyxy, empty.xyxy).shape == (0, 0)
    assert box_nms(empty, 0.5).tolist() == []
    assert len(propose(empty, (10, 10), 5)) == 0


@pytest.mark.parametrize(
    ("xyxy", "scores", "message"),
    [
        ([[0, 0, 1]], None, r"\(N, 4\)"),
        ([[0, 0, 1, 1]], [0.5, 0.5], r"shape \(1,\)"),
        ([[0, 0, 1, np.nan]], None, "finite"),
        ([[0, 0, 1, 1]], [1.5], r"\[0, 1\]"),
        ([[0, 0, 1, 1]], [np.nan], r"\[0, 1\]"),
    ],
)
def test_wrong_boxes_are_refused(xyxy, scores, message):
    with pytest.raises(ValueError, match=message):
        Boxes(xyxy, scores)


def test_slicing_gives_boxes():
    boxes = Boxes([[0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]], [0.1, 0.2, 0.3])
    assert len(boxes[1]) == 1
    assert boxes[-1].scores.tolist() == pytest.approx([0.3])
    assert [len(box) for box in boxes] == [1, 1, 1]
    assert boxes[boxes.scores > 0.15].areas.tolist() == [4, 9]
    assert boxes[[2, 0]].areas.tolist() == [9, 1]


def test_iou_against_hand_counted_values():
    a = np.array([[0, 0, 10, 10]])
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 4], [3, 3, 3, 8]])
    np.testing.assert_allclose(iou(a, b)[0], [1, 50 / 150, 0, 4 / 100, 0])


def plain_nms(boxes, threshold):
    """The textbook loop, one pair at a time."""
    order = sorted(range(len(boxes)), key=lambda i: (-boxes.scores[i], i))
    kept = []
    while order:
        best = order.pop(0)
        kept.append(best)
        order = [i for i in order if iou(boxes.xyxy[[best]], boxes.xyxy[[i]])[0, 0] <= threshold]
    return kept


@given(st.lists(box, max_size=25), st.floats(0.1, 0.9), st.randoms(use_true_random=False))
def test_nms_equals_the_plain_loop(rows, threshold, random):
    boxes = Boxes(np.reshape(np.array(rows, np.float32), (-1, 4)), [random.random() for _ in rows])
    assert box_nms(boxes, threshold).tolist() == plain_nms(boxes, threshold)


def plain_vote(boxes, kept, voters):
    """One kept box at a time."""
    voted = []
    for index in kept:
        overlaps = iou(boxes.xyxy[[index]], boxes.xyxy)[0]
        team = [
            i
            for i in range(len(boxes))
            if i == index or (overlaps[i] >= AGREE and boxes.scores[i] <= boxes.scores[index])
        ]
        best = sorted(boxes.scores[team].tolist(), reverse=True)[:voters]
        voted.append((sum(best) / voters, index))
    return sorted(voted, key=lambda one: -one[0])


@given(
    st.lists(box, max_size=25),
    st.integers(1, 5),
    st.floats(0.3, 0.9),
    st.randoms(use_true_random=False),
)
def test_vote_equals_the_plain_loop(rows, voters, threshold, random):
    rows = rows + rows[: len(rows) // 2]  # some that agree wholly
    boxes = Boxes(np.reshape(np.array(rows, np.float32), (-1, 4)), [random.random() for _ in rows])
    kept = box_nms(boxes, threshold)
    found = vote(boxes, kept, voters)
    expected = plain_vote(boxes, kept, voters)
    np.testing.assert_allclose(found.scores, [score for score, _ in expected], rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(found.xyxy, boxes.xyxy[[int(index) for _, index in expected]])


def test_a_person_whom_three_boxes_find_counts_for_more_than_a_surer_chance_response():
    near = [[0, 0, 10, 20], [0, 0, 10, 22], [0, 0, 10, 18]]
    boxes = Boxes([*near, [50, 0, 60, 20]], [0.6, 0.6, 0.3, 0.7])
    found = vote(boxes, box_nms(boxes, 0.6), 3)
    np.testing.assert_allclose(found.scores, [0.5, 0.7 / 3], rtol=1e-6)
    np.testing.assert_array_equal(found.xyxy, boxes.xyxy[[0, 3]])


def test_greedy_nms_uses_the_row_of_the_kept_one():
    similarity = np.array([[1.0, 0.9], [0.0, 1.0]])
    assert greedy_nms(similarity, np.array([0.9, 0.1]), 0.5).tolist() == [0]
    assert greedy_nms(similarity, np.array([0.1, 0.9]), 0.5).tolist() == [1, 0]


@given(st.lists(box, max_size=20), st.integers(1, 8))
def test_proposals_lie_inside_and_come_best_first(rows, limit):
    scores = np.linspace(0.1, 0.9, len(rows))
    found = propose(
        Boxes(np.reshape(np.array(rows, np.float32), (-1, 4)), scores), (100, 120), limit
    )
    assert len(found) <= limit
    assert np.all(found.xyxy[:, :2] >= 0)
    assert np.all(found.xyxy[:, 2:] <= [120, 100])
    assert np.all(found.sides >= 1)
    assert np.all(np.diff(found.scores) <= 0)


def test_growing_keeps_centres():
    np.testing.assert_allclose(
        grow_proposals(np.array([[10, 10, 20, 30]], np.float32), 1.3), [[8.5, 7, 21.5, 33]]
    )
