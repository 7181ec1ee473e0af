"""CrowdPose's global association: a graph of people and joints, and one matching in it.

The candidates of all people that lie close together are one joint node. A person has an edge to
each node that one of the own candidates belongs to. For every kind of joint the nodes go to the
people one to one, with the largest total response.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpe.estimate.candidates import Candidates
from rmpe.estimate.score import box_scores, pose_scores
from rmpe.poses import Poses
from rmpe.tracking.assignment import match_edges

# A proposal that wins less than this share of the response of its own best candidates found
# nobody: others have its joints.
STARVED = 0.25

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class JointNodes:
    """The M candidates with a response, grouped into V joint nodes.

    Attributes:
        person: ``(M,)``, whose heatmap a candidate comes from.
        joint: ``(M,)``, its kind of joint.
        response: ``(M,)``, above 0.
        node: ``(M,)``, the node it belongs to.
        points: ``(V, 2)`` image pixels, response-weighted mean of a node's candidates.
    """

    person: Ints
    joint: Ints
    response: Floats
    node: Ints
    points: Floats


def associate_by_graph(poses: Poses, candidates: Candidates) -> Poses:
    """Share the joints of one image out among its people.

    A joint that others win keeps its best own place, with a score of 0: people who overlap hide
    each other's joints, and the place is still the best guess. Starved proposals are dropped
    (`STARVED`).

    Args:
        poses: N people with the best candidate of every joint.
        candidates: Theirs, in image pixels.

    Returns:
        The remaining people in their order, with new pose scores.

    Source: Li et al., CrowdPose (CVPR 2019), section 3.3.
    Differs: the paper does not say what becomes of a joint that is lost, nor when a proposal is
    dropped; both rules are ours.
    """
    people, joints = poses.keypoint_scores.shape
    nodes = joint_nodes(candidates, poses.boxes.astype(np.float64), poses.skeleton.sigmas)
    # Nodes are of one kind of joint, so one matching over all rows solves every kind by itself.
    rows = nodes.person * joints + nodes.joint
    won = match_edges(rows, nodes.node, nodes.response)
    places = poses.keypoints.reshape(-1, 2).copy()
    responses = poses.keypoint_scores.reshape(-1).copy()
    responses[rows] = 0
    places[rows[won]] = nodes.points[nodes.node[won]]
    responses[rows[won]] = nodes.response[won]
    keypoints = places.reshape(people, joints, 2)
    scores = responses.reshape(people, joints)
    kept = scores.sum(axis=1) >= STARVED * poses.keypoint_scores.sum(axis=1)
    boxes = box_scores(poses.scores, poses.keypoint_scores)
    return poses.replace(
        keypoints=keypoints, keypoint_scores=scores, scores=pose_scores(boxes, scores)
    )[kept]


def joint_nodes(candidates: Candidates, boxes: Floats, sigmas: tuple[float, ...]) -> JointNodes:
    """Group the candidates of all people of an image.

    The strongest candidate without a node makes one, which all candidates without a node join that
    are of the same kind of joint and close to it. Two are close if their distance is at most the
    joint's OKS constant times the size (the square root of the box's area) of the smaller person.

    Args:
        candidates: Of N people and K joints, image pixels.
        boxes: ``(N, 4)`` xyxy.
        sigmas: OKS constants of the K joints.

    Source: Li et al. (2019), section 3.3: |p1 - p2| <= min(u1, u2) delta.
    Differs: closeness is not transitive and the paper names no order; ours is greedy. u is the size
    of the Gaussian, which is fixed in the crop and so in proportion to the person's size.
    """
    person, joint, place = np.nonzero(candidates.scores > 0)
    points = candidates.points[person, joint, place]
    response = candidates.scores[person, joint, place].astype(np.float64)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    reach = np.sqrt(sides.prod(axis=1))[person] * np.array(sigmas, np.float64)[joint]
    ranks = _ranks(points, response)
    leader = _leaders(*_close_pairs(points, joint, reach, ranks), ranks)
    leading, node = np.unique(leader, return_inverse=True)
    count = len(leading)
    total = np.bincount(node, response, count)
    middle = [np.bincount(node, response * axis, count) / total for axis in points.T]
    return JointNodes(person, joint, response, node, np.stack(middle, axis=1))


def _ranks(points: Floats, response: Floats) -> Ints:
    """0 for the strongest candidate; equal ones by their place, so no order of people counts."""
    order = np.argsort(-response)
    if np.any(np.diff(response[order]) == 0):
        order = np.lexsort([points[:, 1], points[:, 0], -response])
    ranks = np.empty(len(response), np.int64)
    ranks[order] = np.arange(len(response))
    return ranks


def _close_pairs(points: Floats, joint: Ints, reach: Floats, ranks: Ints) -> tuple[Ints, Ints]:
    """The stronger and the weaker candidate of every close pair of one kind of joint.

    A sweep along x: every candidate is compared with its next neighbours on that axis, as far as it
    reaches.
    """
    order = np.lexsort([points[:, 0], joint])
    x, y = points[order].T
    kind = joint[order]
    far = reach[order]
    first = np.arange(len(order))
    pairs = []
    for step in range(1, len(order)):
        first = first[first < len(order) - step]
        second = first + step
        near = (kind[first] == kind[second]) & (x[second] - x[first] <= far[first])
        first = first[near]
        if not len(first):
            break
        second = first + step
        squared = (x[second] - x[first]) ** 2 + (y[second] - y[first]) ** 2
        close = squared <= np.minimum(far[first], far[second]) ** 2
        pairs.append(np.stack([order[first[close]], order[second[close]]]))
    one, other = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), np.int64)
    swapped = ranks[one] > ranks[other]
    return np.where(swapped, other, one), np.where(swapped, one, other)


def _leaders(stronger: Ints, weaker: Ints, ranks: Ints) -> Ints:
    """Greedy groups ``(M,)``: for each candidate the strongest leader close to it, or itself.

    A candidate leads if no stronger one that leads is close to it. The result is that of one leader
    after another, the strongest first, but every round settles all candidates whose strongest
    neighbour is settled.
    """
    leader = np.arange(len(ranks))
    settled = np.zeros(len(ranks), bool)
    strongest = np.arange(len(ranks))
    order = np.argsort(-ranks[stronger])
    stronger = stronger[order]
    weaker = weaker[order]
    while len(stronger):
        followers = np.unique(weaker)
        settled[:] = True
        settled[followers] = False
        strongest[weaker] = stronger  # of several the last, the strongest
        joins = followers[settled[strongest[followers]]]
        leader[joins] = strongest[joins]
        # Who follows somebody leads nobody, and has no other leader.
        left = (leader[stronger] == stronger) & (leader[weaker] == weaker)
        stronger = stronger[left]
        weaker = weaker[left]
    return leader
