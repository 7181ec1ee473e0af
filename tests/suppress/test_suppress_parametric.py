"""Parametric pose NMS: the formula compared with plain loops, and invariants for any poses."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmpe.errors import DataError, UsageError
from rmpe.poses import Poses
from rmpe.skeletons import load_skeleton
from rmpe.suppress import (
    SUPPRESSORS,
    PoseNmsParameters,
    parametric_nms,
    pose_similarity,
    suppressor,
)
from rmpe.suppress.clusters import leaders, merge_joints, ranking

COCO = load_skeleton("coco17")
SETTINGS = [
    PoseNmsParameters(),
    PoseNmsParameters(sigma1=0.5, sigma2=0.0005, lam=0.25, eta=0.3),
    PoseNmsParameters(sigma1=0.01, sigma2=0.05, lam=4, eta=0.9, merge=0.0),
    PoseNmsParameters(lam=0, eta=0.4),
]


def crowd(seed, people=3, copies=4, jitter=0.03, missing=0.1):
    """People of 40 to 200 pixels with several poses each, some joints missing."""
    rng = np.random.default_rng(seed)
    count = people * copies
    side = np.repeat(rng.uniform(40, 200, people), copies)[:, None]
    corner = np.repeat(rng.uniform(0, 300, (people, 2)), copies, axis=0)
    points = np.repeat(rng.uniform(0, 1, (people, len(COCO), 2)), copies, axis=0)
    points = corner[:, None] + side[..., None] * (points + rng.normal(0, jitter, points.shape))
    scores = rng.uniform(0.05, 1, points.shape[:2])
    gone = rng.uniform(size=scores.shape) < missing
    points[gone], scores[gone] = np.nan, 0
    boxes = np.concatenate([corner, corner + side * rng.uniform(0.8, 1.2, (count, 2))], axis=1)
    return Poses(
        points, scores, rng.choice([0.2, 0.5, 0.9], count), boxes, COCO
    )  # many equal scores


def plain_similarity(poses, i, j, parameters):
    """Eq. 8 to 10, joint by joint."""
    width, height = poses.boxes[i, 2:] - poses.boxes[i, :2]
    size, total, counted = max(width, height, 1), 0.0, 0
    for joint in range(len(poses.skeleton)):
        ci, cj = poses.keypoint_scores[i, joint], poses.keypoint_scores[j, joint]
        if ci == 0 or cj == 0:
            continue
        counted += 1
        dx, dy = poses.keypoints[i, joint] - poses.keypoints[j, joint]
        if abs(dx) <= width / 20 and abs(dy) <= height / 20:
            total += math.tanh(ci / parameters.sigma1) * math.tanh(cj / parameters.sigma1)
        total += parameters.lam * math.exp(-(dx**2 + dy**2) / size**2 / parameters.sigma2)
    return total / counted if counted else 0.0


def plain_nms(poses, parameters):
    """Greedy elimination and merging, pose by pose."""
    rest = list(ranking(poses))
    kept = []
    while rest:
        best = rest.pop(0)
        removed = [
            other
            for other in rest
            if plain_similarity(poses, best, other, parameters) > parameters.eta
        ]
        rest = [other for other in rest if other not in removed]
        reach = parameters.merge * max(*(poses.boxes[best, 2:] - poses.boxes[best, :2]), 1)
        points = poses.keypoints[best].astype(np.float64)
        for joint in range(len(poses.skeleton)):
            near = [
                other
                for other in [best, *removed]
                if np.hypot(*(poses.keypoints[other, joint] - poses.keypoints[best, joint]))
                <= reach
            ]
            if near:
                weights = poses.keypoint_scores[near, joint].astype(np.float64) ** 2
                points[joint] = weights @ poses.keypoints[near, joint] / weights.sum()
        kept.append((best, points))
    return kept


@pytest.mark.parametrize("parameters", SETTINGS, ids=str)
@pytest.mark.parametrize("seed", range(2))
def test_similarity_is_the_formula(parameters, seed):
    poses = crowd(seed)
    expected = [
        [plain_similarity(poses, i, j, parameters) for j in range(len(poses))]
        for i in range(len(poses))
    ]
    np.testing.assert_allclose(
        pose_similarity(poses, poses, parameters), expected, atol=2e-6 * (1 + parameters.lam)
    )


@pytest.mark.parametrize("parameters", SETTINGS, ids=str)
@pytest.mark.parametrize("seed", range(2))
def test_nms_is_greedy_elimination_and_merging(parameters, seed):
    poses = crowd(seed)
    found, expected = parametric_nms(poses, parameters), plain_nms(poses, parameters)
    assert len(found) == len(expected) < len(poses)
    for index, (best, points) in enumerate(expected):
        np.testing.assert_allclose(found.keypoints[index], points, rtol=0, atol=1e-3)
        np.testing.assert_array_equal(found.keypoint_scores[index], poses.keypoint_scores[best])
        assert found.scores[index] == poses.scores[best]


def test_many_pairs_take_the_short_cuts_and_give_the_same():
    """More pairs than one batch: `FirstLook` and batching do not change the result."""
    rng = np.random.default_rng(5)
    for jitter in (0.01, 0.05, 0.3):
        poses = crowd(7, people=1, copies=130, jitter=jitter)
        poses = Poses(
            poses.keypoints, poses.keypoint_scores, rng.uniform(size=130), poses.boxes, COCO
        )
        for parameters in SETTINGS[:3]:
            ranked = poses[ranking(poses)]
            redundant = np.triu(pose_similarity(ranked, ranked, parameters) > parameters.eta, 1)
            leader = leaders(*np.nonzero(redundant), len(ranked))
            expected = ranked.scores[leader == np.arange(len(ranked))]
            np.testing.assert_array_equal(parametric_nms(poses, parameters).scores, expected)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(set(SUPPRESSORS) - {"none"})))
def test_order_of_the_input_does_not_matter_and_it_stays_as_it_is(seed, name):
    poses = crowd(seed, people=3, copies=3)
    arrays = [
        getattr(poses, field).copy()
        for field in ("keypoints", "keypoint_scores", "scores", "boxes")
    ]
    shuffled = poses[np.random.default_rng(seed).permutation(len(poses))]
    first, second = SUPPRESSORS[name](poses), SUPPRESSORS[name](shuffled)
    for field in ("keypoints", "keypoint_scores", "scores", "boxes", "track_ids"):
        np.testing.assert_array_equal(getattr(first, field), getattr(second, field))
    for before, field in zip(
        arrays, ("keypoints", "keypoint_scores", "scores", "boxes"), strict=True
    ):
        np.testing.assert_array_equal(getattr(poses, field), before)
    assert np.all(np.diff(first.scores) <= 0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.sampled_from([0.25, 4.0]))
def test_scale_of_the_image_does_not_matter(seed, factor):
    poses = crowd(seed)
    larger = Poses(
        factor * poses.keypoints, poses.keypoint_scores, poses.scores, factor * poses.boxes, COCO
    )
    np.testing.assert_allclose(
        pose_similarity(poses, poses), pose_similarity(larger, larger), atol=1e-5
    )


@pytest.mark.parametrize("name", SUPPRESSORS)
def test_nobody_and_one_person(name):
    assert len(SUPPRESSORS[name](Poses.empty(COCO))) == 0
    one = crowd(0, people=1, copies=1, missing=0.0)
    found = SUPPRESSORS[name](one)
    np.testing.assert_allclose(found.keypoints, one.keypoints, atol=1e-4)


@pytest.mark.parametrize("name", sorted(set(SUPPRESSORS) - {"none", "soft-oks"}))
def test_identical_poses_become_one(name):
    one = crowd(1, people=1, copies=1, missing=0.0)
    found = SUPPRESSORS[name](Poses.merge([one] * 5))
    assert len(found) == 1
    np.testing.assert_allclose(found.keypoints, one.keypoints, atol=1e-3)


def test_a_pose_without_joints_is_like_nothing():
    poses = crowd(2, people=1, copies=3, missing=0.0)
    points, scores = poses.keypoints.copy(), poses.keypoint_scores.copy()
    points[0], scores[0] = np.nan, 0
    blank = Poses(points, scores, poses.scores, poses.boxes, COCO)
    similarity = pose_similarity(blank, blank)
    assert max(similarity[0].max(), similarity[:, 0].max()) < 1e-30 < similarity[1, 2]
    assert len(parametric_nms(blank, PoseNmsParameters(eta=0.8))) == 2


def test_similarity_of_two_different_sets():
    poses = crowd(3)
    np.testing.assert_array_equal(
        pose_similarity(poses[:5], poses[5:]), pose_similarity(poses, poses)[:5, 5:]
    )
    assert pose_similarity(poses, Poses.empty(COCO)).shape == (len(poses), 0)
    assert pose_similarity(Poses.empty(COCO), poses).shape == (0, len(poses))


def test_merging_by_hand():
    points = np.array(
        [[[0, 0], [10, 10]], [[3, 0], [10, 90]], [[50, 50], [np.nan, np.nan]]], np.float32
    )
    weights = np.array([[1, 1], [2, 5], [1, 0]], np.float32)
    merged = merge_joints(points, weights, np.array([0, 0, 2]), np.full(3, 5, np.float32))
    np.testing.assert_allclose(merged, [[[2, 0], [10, 10]], [[50, 50], [np.nan, np.nan]]])


def test_leaders_by_hand():
    rows, columns = np.array([0, 1, 2, 2]), np.array([2, 3, 3, 4])
    np.testing.assert_array_equal(leaders(rows, columns, 5), [0, 1, 0, 1, 4])
    np.testing.assert_array_equal(leaders(rows[:0], columns[:0], 3), [0, 1, 2])


@pytest.mark.parametrize(
    "wrong",
    [
        {"sigma1": 0},
        {"sigma2": -1},
        {"lam": -0.1},
        {"eta": -1},
        {"merge": -1},
        {"sigma1": float("nan")},
    ],
)
def test_parameters_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PoseNmsParameters(**wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sigma3 = 1.0", "sigma3"),
        ("eta = 'high'", "eta"),
        ("sigma1 = 0.0", "sigma1 must be above 0"),
        ("eta = ", "not TOML"),
    ],
)
def test_broken_files_are_named(tmp_path, text, message):
    path = tmp_path / "nms.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError, match=message) as error:
        suppressor(str(path))
    assert "nms.toml" in str(error.value)


def test_suppressor_by_name_and_file(tmp_path):
    path = tmp_path / "nms.toml"
    path.write_text("eta = 100.0\n", "utf-8")
    poses = crowd(4)
    assert len(suppressor(str(path))(poses)) == len(poses) > len(suppressor("parametric")(poses))
    with pytest.raises(UsageError, match="known: parametric"):
        suppressor("best")
