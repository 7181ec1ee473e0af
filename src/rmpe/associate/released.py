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
    best = candidates[:, :, 0]
    human = best[..., 2].mean(axis=1)
    group_id, count, center = _groups(boxes, human, best, np.array(sigmas, np.float64))
    selected = _assigned(human[:, None] * best[..., 2], group_id, center, candidates)
    points = selected[..., :2]
    scores = selected[..., 2]
    extent = np.ptp(points, axis=1)
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


def _groups(
    boxes: Floats, human: Floats, best: Floats, sigmas: Floats
) -> tuple[Ints, Ints, Floats]:
    """Group the best candidates ``(N, K, 3)``: people in input order, all kinds of joints at once.

    Returns:
        The group of each person ``(N, K)``, -1 = none; the number of groups ``(K,)``; and their
        final centres ``(K, G, 2)``.
    """
    people, joints = best.shape[:2]
    kinds = np.arange(joints)
    # What a person adds to a group: response * place and human score * box sides, each with its
    # weight.
    ones = np.ones((people, joints, 1))
    place = best[..., 2:] * np.concatenate([best[..., :2], ones], axis=2)
    size = human[:, None] * np.append(boxes[:, 2:] - boxes[:, :2], ones[:, 0], axis=1)
    group_id = np.full((people, joints), -1)
    count = np.zeros(joints, np.int64)
    places = np.zeros((joints, people, 3))
    sizes = np.zeros((joints, people, 3))
    center = np.full((joints, people, 2), np.inf)
    reach = np.zeros((joints, people))
    for person in range(people):
        response = best[person, :, 2]
        open_groups = int(count.max(initial=0))
        away = center[:, :open_groups] - best[person, :, None, :2]
        near = np.hypot(away[..., 0], away[..., 1]) <= reach[:, :open_groups]
        joins = near.any(axis=1)
        group = np.where(joins, near.argmax(axis=1) if open_groups else 0, count)
        grouped = response >= GROUPED
        group_id[person, grouped] = group[grouped]
        moves = grouped & (~joins | (response >= MOVES))
        kind, into = kinds[moves], group[moves]
        places[kind, into] = total = places[kind, into] + place[person, moves]
        center[kind, into] = total[:, :2] / total[:, 2:]
        sizes[kind, into] = total = sizes[kind, into] + size[person]
        reach[kind, into] = sigmas[kind] * np.sqrt(total[:, 0] * total[:, 1]) / total[:, 2]
        count += grouped & ~joins
    center[np.isinf(center)] = np.nan
    return group_id, count, center[:, : int(count.max(initial=0))]


def _assigned(worth: Floats, group_id: Ints, center: Floats, candidates: Floats) -> Floats:
    """Each group given to the member of the greatest ``worth`` ``(N, K)``: ``(N, K, 3)``."""
    selected = candidates[:, :, 0].copy()
    person, joint = np.nonzero(group_id >= 0)
    group = group_id[person, joint]
    order = np.lexsort([person, -worth[person, joint], group, joint])
    person, joint, group = person[order], joint[order], group[order]
    wins = np.ones(len(order), bool)
    wins[1:] = (np.diff(joint) != 0) | (np.diff(group) != 0)
    selected[person[wins], joint[wins], :2] = center[joint[wins], group[wins]]
    person, joint = person[~wins], joint[~wins]
    second = candidates[person, joint, 1]
    there = np.isfinite(second[:, 2])
    selected[person[there], joint[there]] = second[there]
    selected[person[~there], joint[~there], 2] = LOST
    return selected


def _at_least_two(candidates: Floats) -> Floats:
    """Candidates padded with NaN to two of each joint."""
    missing = max(0, 2 - candidates.shape[2])
    return np.pad(candidates, [(0, 0), (0, 0), (0, missing), (0, 0)], constant_values=np.nan)
