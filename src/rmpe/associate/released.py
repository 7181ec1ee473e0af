"""The association of CrowdPose's released code, which computes less than its paper describes.

Only the best candidate of each joint is grouped, so a person has one edge for each kind of joint,
and the matching comes down to this: a group goes to the member with the largest product of the
person's score and response.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpe.estimate.candidates import Candidates
from rmpe.estimate.score import box_scores, pose_scores
from rmpe.poses import Poses

# A joint whose best response is below GROUPED is left alone; one below MOVES joins its group
# without moving it.
GROUPED = 0.05
MOVES = 0.3
# The response of a joint that is lost to another person and has no second candidate.
LOST = 1e-5
# A person is kept with a response of at least SEEN and a large enough extent.
SEEN = 0.1
GROWTH = 2.25
MIN_AREA = 1600.0
# The released code moves all joints by this at the end, in pixels.
SHIFT = -0.3

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReleasedAssociation:
    """The result for N people and K joints; G is the largest number of groups of a joint.

    Attributes:
        human_score: ``(N,)``, mean best response.
        group_id: ``(N, K)``, group of the best candidate; -1 = none.
        group_count: ``(K,)``.
        group_center: ``(K, G, 2)`` image pixels; NaN where there is no group.
        selected: ``(N, K, 3)``, x, y and response after the assignment.
        kept: ``(M,)``, the people who pass the filter.
        keypoints: ``(M, K, 2)`` with the code's shift.
        keypoint_scores: ``(M, K)``.
        proposal_scores: ``(M,)``: mean and largest response and the box's score, added.
    """

    human_score: Floats
    group_id: Ints
    group_count: Ints
    group_center: Floats
    selected: Floats
    kept: Ints
    keypoints: Floats
    keypoint_scores: Floats
    proposal_scores: Floats


def associate_released(
    boxes: Floats,
    box_scores: Floats,
    candidates: Floats,
    sigmas: tuple[float, ...],
    min_area: float = MIN_AREA,
) -> ReleasedAssociation:
    """The released rule.

    Args:
        boxes: ``(N, 4)`` xyxy image pixels.
        box_scores: ``(N,)``.
        candidates: ``(N, K, C, 3)``, x, y and response, the best first; NaN where there is none.
            C is at least 2.
        sigmas: OKS constants of the K joints.
        min_area: People are dropped when 2.25 times the area that their joints span is below this,
            in square pixels.

    Source: Li et al., CrowdPose (CVPR 2019), the released code.
    """
    people, joints = candidates.shape[:2]
    best = candidates[:, :, 0]
    human = best[..., 2].mean(axis=1)
    group_id = np.full((people, joints), -1)
    selected = best.copy()
    centers = []
    for joint in range(joints):
        group_id[:, joint], center = _groups(boxes, human, best[:, joint], sigmas[joint])
        centers.append(center)
        _assign(human, group_id[:, joint], center, candidates[:, joint], selected[:, joint])
    count = np.array([len(center) for center in centers], np.int64)
    center = np.full((joints, int(count.max(initial=0)), 2), np.nan)
    for joint, found in enumerate(centers):
        center[joint, : len(found)] = found
    points = selected[..., :2]
    scores = selected[..., 2]
    extent = np.ptp(points, axis=1) if joints else np.zeros((people, 2))
    highest = scores.max(axis=1, initial=0)
    kept = np.flatnonzero((highest >= SEEN) & (GROWTH * extent.prod(axis=1) >= min_area))
    return ReleasedAssociation(
        human,
        group_id,
        count,
        center,
        selected,
        kept,
        points[kept] + SHIFT,
        scores[kept],
        (scores.mean(axis=1) + highest + box_scores)[kept],
    )


def associate_as_released(poses: Poses, candidates: Candidates) -> Poses:
    """`associate_released` as a step of the pipeline, without the shift of the released code.

    The pose scores are computed anew from the box's part and the joints, as for every pose here;
    small people are kept, because the limit of 1600 square pixels depends on the size of the image.
    """
    table = np.concatenate([candidates.points, candidates.scores[..., None]], axis=3)
    table = np.where(np.isfinite(table).all(axis=3, keepdims=True), table, np.nan)
    before = box_scores(poses.scores, poses.keypoint_scores)
    result = associate_released(
        poses.boxes.astype(np.float64),
        before.astype(np.float64),
        _at_least_two(table),
        poses.skeleton.sigmas,
        min_area=0,
    )
    scores = result.selected[..., 2].astype(np.float32)
    return poses.replace(
        keypoints=result.selected[..., :2],
        keypoint_scores=scores,
        scores=pose_scores(before, scores),
    )[result.kept]


def _groups(boxes: Floats, human: Floats, best: Floats, sigma: float) -> tuple[Ints, Floats]:
    """Group one kind of joint, people in input order.

    Returns:
        The group of each person ``(N,)``, -1 = none, and the groups' final centres ``(G, 2)``.
    """
    group_id = np.full(len(best), -1)
    sides = boxes[:, 2:] - boxes[:, :2]
    # For each group: sums of response * place and of human score * box sides, and of the weights.
    places = np.zeros((len(best), 3))
    sizes = np.zeros((len(best), 3))
    count = 0
    for person in np.flatnonzero(best[:, 2] >= GROUPED):
        x, y, response = best[person]
        center = places[:count, :2] / places[:count, 2:]
        area = np.prod(sizes[:count, :2] / sizes[:count, 2:], axis=1)
        distance = np.hypot(*(center - [x, y]).T)
        near = np.flatnonzero(distance / np.sqrt(area) <= sigma)
        group = int(near[0]) if len(near) else count
        group_id[person] = group
        if group == count or response >= MOVES:
            places[group] += response * np.array([x, y, 1])
            sizes[group] += human[person] * np.append(sides[person], 1)
        count = max(count, group + 1)
    return group_id, places[:count, :2] / places[:count, 2:]


def _assign(
    human: Floats, group_id: Ints, center: Floats, candidates: Floats, selected: Floats
) -> None:
    """Give each group of one kind of joint to one person; ``selected`` is updated in place."""
    worth = human * candidates[:, 0, 2]
    for group in range(len(center)):
        members = np.flatnonzero(group_id == group)
        winner = members[np.argmax(worth[members])]
        selected[winner, :2] = center[group]
        for loser in members[members != winner]:
            if np.isfinite(candidates[loser, 1, 2]):
                selected[loser] = candidates[loser, 1]
            else:
                selected[loser, 2] = LOST


def _at_least_two(candidates: Floats) -> Floats:
    """Candidates padded with NaN to two of each joint."""
    missing = max(0, 2 - candidates.shape[2])
    return np.pad(candidates, [(0, 0), (0, 0), (0, missing), (0, 0)], constant_values=np.nan)
