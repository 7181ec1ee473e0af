"""Foundations of the video benchmarks: synthetic videos, their truth, ids and hand counts."""

import tomllib

import numpy as np

from benchmarks.video.cutouts import Cutout
from benchmarks.video.pedestrians import HAND_COUNT, compare, id_at
from benchmarks.video.sequences import disturb, sequence


def test_the_nearest_box_around_a_mark_is_the_persons():
    boxes, ids = (
        np.array([[0, 0, 100, 100], [44, 44, 64, 64], [200, 0, 300, 100]]),
        np.array([7, 8, 9]),
    )
    assert id_at(boxes, ids, np.array([50, 52])) == 7
    assert id_at(boxes, ids, np.array([51, 55])) == 8
    assert id_at(boxes[1:], ids[1:], np.array([50, 52])) == 8
    assert id_at(boxes, ids, np.array([150, 50])) is None
    assert id_at(boxes[:0], ids[:0], np.array([1, 1])) is None


def test_switches_and_ids_of_nobody_are_counted():
    def frame(*placed):
        return np.array([[x, 0, x + 10, 20] for x, _ in placed]), np.array(
            [number for _, number in placed]
        )

    frames = {n: frame((0, 1), (50, 2 if n < 12 else 3), (100, 4)) for n in range(24)} | {
        24: frame((0, 3))
    }
    people = [
        {"name": "A", "seen": [[0, 5, 10], [20, 5, 10], [24, 5, 10]]},
        {"name": "B", "seen": [[0, 55, 10], [11, 55, 10], [13, 55, 10], [24, 55, 10]]},
    ]
    rows = {what: (count, which) for what, count, which in compare(people, frames)}
    assert rows["people, counted by eye"][0] == 2
    assert rows["ids"][0] == rows["ids of at least 10 frames"][0] == 4
    assert rows["of these, ids of no counted person"] == (1, "4")
    assert rows["switches"] == (2, "A: 1 to 3 by frame 24; B: 2 to 3 by frame 13")
    assert rows["people who kept one id"][0] == 0
    assert rows["ids that two people had"] == (1, "3: A, B")
    assert rows["marks without an id"][0] == 1


def test_the_hand_count_lies_inside_the_clip():
    people = tomllib.loads(HAND_COUNT.read_text("utf-8"))["person"]
    assert len({person["name"] for person in people}) == len(people) == 9
    for person in people:
        frames, x, y = np.array(person["seen"]).T
        assert np.all(np.diff(frames) > 0)
        assert frames[-1] < 400
        assert np.all((x >= 0) & (x < 768) & (y >= 0) & (y < 576))


def test_people_of_made_videos_are_where_the_truth_says():
    """White people on black: bright pixels lie in the true boxes, and the pillars hide people."""
    points = np.stack([np.linspace(10, 30, 17), np.linspace(10, 90, 17)], axis=1).astype(np.float32)
    white = Cutout(
        np.full((100, 40, 3), 255, np.uint8),
        np.ones((100, 40), np.float32),
        points,
        np.ones(17, bool),
    )
    black = [np.zeros((200, 400, 3), np.uint8)]
    made = list(sequence([white] * 3, black, seed=3, actors=2, fps=5, seconds=2, size=(240, 320)))
    assert len(made) == 10
    assert sum(len(frame.truth) for frame in made) > 5
    for frame in made:
        outside = frame.image.mean(axis=2)
        for (x1, y1, x2, y2), joints in zip(
            frame.truth.boxes.astype(int), frame.truth.keypoints, strict=True
        ):
            seen = joints[np.isfinite(joints).all(axis=1)].round().astype(int)
            assert (frame.image[seen[:, 1], seen[:, 0]].mean(axis=1) > 128).mean() > 0.7
            outside[max(y1 - 3, 0) : y2 + 3, max(x1 - 3, 0) : x2 + 3] = 0
        assert (outside > 100).mean() < 0.05
    again = list(sequence([white] * 3, black, seed=3, actors=2, fps=5, seconds=2, size=(240, 320)))
    assert np.array_equal(made[-1].image, again[-1].image)
    noisy = disturb(made[4].truth, np.random.default_rng(0), (240, 320))
    assert np.isfinite(noisy.keypoints).all() and (noisy.track_ids == -1).all()
