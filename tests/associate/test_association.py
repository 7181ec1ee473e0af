"""Association of joints with people: by the paper's graph, and as the release computes it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmpe.associate import ASSOCIATORS, associator
from rmpe.associate.graph import associate_by_graph, joint_nodes
from rmpe.associate.released import associate_as_released, associate_released
from rmpe.errors import UsageError
from rmpe.estimate.candidates import Candidates
from rmpe.estimate.score import pose_scores
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton, load_skeleton

COCO = load_skeleton("coco17")


def cases(path):
    data = np.load(path)
    for case in range(len(data["n"])):
        head = f"c{case:03d}_"
        yield {name.removeprefix(head): data[name] for name in data.files if name.startswith(head)}


def test_release_equals_its_own_outputs(parity):
    count = 0
    for case in cases(parity / "crowdpose_association.npz"):
        result = associate_released(
            case["boxes"], case["box_scores"], case["candidates"], COCO.sigmas
        )
        for name in ("group_id", "group_count", "kept"):
            np.testing.assert_array_equal(getattr(result, name), case[name], name)
        for name in ("human_score", "selected", "group_center"):
            np.testing.assert_allclose(getattr(result, name), case[name], rtol=0, atol=1e-6)
        np.testing.assert_allclose(result.keypoints, case["out_keypoints"], rtol=0, atol=1e-3)
        np.testing.assert_allclose(result.keypoint_scores, case["out_kp_score"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(
            result.proposal_scores, case["out_proposal_score"], rtol=0, atol=1e-5
        )
        count += 1
    assert count == 15


THREE = Skeleton("three", ("a", "b", "c"), (), (0.05, 0.05, 0.05), ((0, 0, 0),) * 3)


def made(boxes, joints):
    """Poses and candidates from ``joints[person][joint]``, lists of (x, y, response)."""
    points = np.full((len(boxes), 3, 3, 2), np.nan)
    scores = np.zeros((len(boxes), 3, 3), np.float32)
    for person, kinds in enumerate(joints):
        for joint, places in enumerate(kinds):
            for place, (x, y, response) in enumerate(places):
                points[person, joint, place] = x, y
                scores[person, joint, place] = response
    candidates = Candidates(points, scores, np.maximum(np.isfinite(points).all(axis=3).sum(2), 1))
    best = scores[:, :, 0]
    poses = Poses(
        points[:, :, 0].reshape(-1, 3, 2),
        best,
        pose_scores(np.full(len(boxes), 0.64, np.float32), best),
        np.array(boxes, np.float32).reshape(-1, 4),
        THREE,
    )
    return poses, candidates


FAR = [(0, 0, 100, 100), (500, 0, 600, 100)]
NEAR = [(0, 0, 100, 100), (20, 0, 120, 100)]


@pytest.mark.parametrize("name", ASSOCIATORS)
def test_nobody_and_nothing(name):
    nobody = made([], [])
    assert len(associator(name)(*nobody)) == 0
    unseen = made([(0, 0, 9, 9)], [[[(1, 1, 0.0)], [(2, 2, 0.0)], [(3, 3, 0.0)]]])
    result = associator(name)(*unseen)
    assert len(result) == (0 if name == "released" else 1)  # its filter wants a response of 0.1
    assert not result.scores.any()


@pytest.mark.parametrize("name", ASSOCIATORS)
def test_people_far_apart_keep_their_best(name):
    joints = [
        [[(10, 10, 0.9), (40, 40, 0.3)], [(50, 50, 0.8)], [(90, 90, 0.7)]],
        [[(510, 10, 0.6)], [(550, 50, 0.9)], [(590, 90, 0.9)]],
    ]
    poses, candidates = made(FAR, joints)
    result = associator(name)(poses, candidates)
    np.testing.assert_allclose(result.keypoints, poses.keypoints, atol=1e-4)
    np.testing.assert_allclose(result.keypoint_scores, poses.keypoint_scores)
    np.testing.assert_allclose(result.scores, poses.scores, rtol=1e-5)


def test_a_joint_goes_to_the_stronger_and_the_other_takes_the_second():
    joints = [
        [[(30, 30, 0.9)], [(10, 50, 0.9)], [(10, 90, 0.9)]],
        [[(32, 30, 0.6), (70, 30, 0.5)], [(70, 50, 0.9)], [(70, 90, 0.9)]],
    ]
    poses, candidates = made(NEAR, joints)
    result = associate_by_graph(poses, candidates)
    middle = 30 + 2 * 0.6 / 1.5
    np.testing.assert_allclose(result.keypoints[:, 0], [[middle, 30], [70, 30]], atol=1e-4)
    np.testing.assert_allclose(result.keypoint_scores[:, 0], [0.9, 0.5])
    released = associate_as_released(poses, candidates)
    np.testing.assert_allclose(released.keypoints[:, 0], result.keypoints[:, 0], atol=1e-4)


def test_the_total_counts_not_the_single_joint():
    """The first is surer of the shared node, but has another one that is nearly as good."""
    joints = [
        [[(30, 30, 0.9), (70, 30, 0.8)], [(10, 50, 0.9)], [(10, 90, 0.9)]],
        [[(30, 30, 0.7)], [(70, 50, 0.9)], [(70, 90, 0.9)]],
    ]
    result = associate_by_graph(*made(NEAR, joints))
    np.testing.assert_allclose(result.keypoints[:, 0], [[70, 30], [30, 30]], atol=1e-4)
    np.testing.assert_allclose(result.keypoint_scores[:, 0], [0.8, 0.7])


def test_a_lost_joint_keeps_its_place_without_a_score():
    joints = [
        [[(30, 30, 0.9)], [(10, 50, 0.9)], [(10, 90, 0.9)]],
        [[(30, 30, 0.7)], [(70, 50, 0.9)], [(70, 90, 0.9)]],
    ]
    poses, candidates = made(NEAR, joints)
    result = associate_by_graph(poses, candidates)
    np.testing.assert_array_equal(result.keypoints[1, 0], [30, 30])
    assert result.keypoint_scores[1, 0] == 0
    np.testing.assert_allclose(
        result.scores, pose_scores(np.full(2, 0.64, np.float32), result.keypoint_scores), rtol=1e-5
    )


def test_a_starved_proposal_is_dropped():
    strong = [[(30, 30, 0.9)], [(10, 50, 0.9)], [(10, 90, 0.9)]]
    weak = [[(x, y, 0.5) for x, y, _ in kinds] for kinds in strong]
    result = associate_by_graph(*made([NEAR[0], (1, 0, 101, 100)], [strong, weak]))
    np.testing.assert_array_equal(result.boxes, [NEAR[0]])


@pytest.mark.parametrize(
    ("distance", "count"), [(0.0, 1), (4.9, 1), (5.1, 2)]
)  # sigma 0.05 of the smaller person, of size 100
def test_close_candidates_are_one_node(distance, count):
    boxes = np.array([(0, 0, 100, 100), (0, 0, 400, 400)], np.float64)
    joints = [[[(30, 30, 0.9)], [], []], [[(30 + distance, 30, 0.6)], [], []]]
    nodes = joint_nodes(made(boxes, joints)[1], boxes, THREE.sigmas)
    assert len(nodes.points) == count


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_nodes_are_those_of_a_plain_loop(seed, people):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 60, (people, 3, 3, 2))
    scores = rng.uniform(0.1, 1, (people, 3, 3)).astype(np.float32)
    boxes = np.concatenate([np.zeros((people, 2)), rng.uniform(50, 300, (people, 2))], axis=1)
    nodes = joint_nodes(Candidates(points, scores, np.full((people, 3), 3)), boxes, THREE.sigmas)
    reach = 0.05 * np.sqrt(boxes[:, 2:].prod(axis=1))
    free = set(range(len(nodes.node)))
    flat = points[nodes.person, nodes.joint].reshape(-1, 3, 2)
    where = np.array([flat[index, index % 3] for index in range(len(flat))])
    for head in np.argsort(-nodes.response):
        if head not in free:
            continue
        group = {
            one
            for one in free
            if nodes.joint[one] == nodes.joint[head]
            and np.hypot(*(where[one] - where[head]))
            <= min(reach[nodes.person[one]], reach[nodes.person[head]])
        }
        assert set(np.flatnonzero(nodes.node == nodes.node[head])) == group
        members = sorted(group)
        np.testing.assert_allclose(
            nodes.points[nodes.node[head]],
            np.average(where[members], axis=0, weights=nodes.response[members]),
        )
        free -= group
    assert not free


def test_unknown_association():
    with pytest.raises(UsageError, match="known: none, paper, released"):
        associator("crowdpose")
