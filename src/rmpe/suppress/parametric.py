"""Parametric pose NMS (RMPE, section 3.2).

Redundant detections give redundant poses. Two poses are compared by the positions and the
confidences of their joints. The most confident pose removes every pose that is too similar to it
and refines its own joints with theirs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpe.poses import Poses
from rmpe.suppress.clusters import eliminate, merge_joints, ranking

# Parameters beyond these overflow in single precision.
LEAST = 1e-6
MOST = 1e6


@dataclass(frozen=True)
class PoseNmsParameters:
    """Parameters of the elimination criterion.

    Lengths are fractions of the person's size (the longer side of the box), not pixels.

    Attributes:
        sigma1: Scale of the joint confidence in tanh(c / sigma1); > 0.
        sigma2: Spread of the spatial similarity, in squared sizes; > 0.
        lam: Weight of the spatial similarity; >= 0.
        eta: Largest similarity, between 0 and 1 + lam, at which both poses survive.
        merge: Joints of removed poses within this distance of the kept joint are averaged into it;
            0 disables merging.
    """

    sigma1: float = 0.1
    sigma2: float = 0.005
    lam: float = 1.0
    eta: float = 1.1
    merge: float = 0.2

    def __post_init__(self) -> None:
        for name in ("sigma1", "sigma2"):
            if not LEAST <= getattr(self, name) <= MOST:
                raise ValueError(
                    f"{name} must be above 0 ({LEAST:g} to {MOST:g}), got {getattr(self, name)}"
                )
        for name in ("lam", "eta", "merge"):
            if not 0 <= getattr(self, name) <= MOST:
                raise ValueError(
                    f"{name} must not be negative (0 to {MOST:g}), got {getattr(self, name)}"
                )


DEFAULT = PoseNmsParameters()
# Eq. 8: soft matching counts within a box around the joint with a tenth of the person's sides.
HALF_SIDE = np.float32(0.05)
# exp(-80) is effectively 0; below -87 the result is subnormal and float32 is ten times slower.
LOWEST = np.float32(-80)
# Pairs compared at a time, and the number of pairs from which the H_Sim bound pays off.
STRETCH = 4096
FEW = 1024


@dataclass(frozen=True, eq=False)
class JointPairs:
    """Joint-by-joint comparison of pairs of poses: the part that does not depend on parameters.

    Attributes:
        rows: ``(P,)``, index of the reference pose of each pair.
        columns: ``(P,)``, index of the pose compared with it.
        scores: Joint scores of the references ``(N, K)`` and of the others ``(M, K)``; 0 where a
            joint is missing.
        squared: ``(P, K)``, squared distance in squared sizes of the reference; infinite where a
            joint is missing.
        inside: ``(P, K)``, true where the other joint lies in the box around the reference's joint
            that is a tenth of the reference's box.
        counted: ``(P,)``, number of joints present in both poses, at least 1.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    scores: tuple[NDArray[np.float32], NDArray[np.float32]]
    squared: NDArray[np.float32]
    inside: NDArray[np.bool_]
    counted: NDArray[np.float32]

    @classmethod
    def compare(
        cls, references: Poses, others: Poses, rows: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> "JointPairs":
        """Compare ``references[rows[p]]`` with ``others[columns[p]]`` for every p."""
        # Missing joints get opposite infinities, so their distance is infinite even if both are
        # missing.
        x, y = _offsets(
            _coordinates(references, np.inf), _coordinates(others, -np.inf), rows, columns
        )
        half = ((references.boxes[:, 2:] - references.boxes[:, :2]) * HALF_SIDE)[rows, :, None]
        inside = (np.abs(x) <= half[:, 0]) & (np.abs(y) <= half[:, 1])
        squared = (x * x + y * y) / np.square(references.sizes)[rows, None]
        has = [(poses.keypoint_scores > 0).astype(np.float32) for poses in (references, others)]
        counted = np.maximum(has[0] @ has[1].T, 1)[rows, columns]
        return cls(
            rows,
            columns,
            (references.keypoint_scores, others.keypoint_scores),
            squared,
            inside,
            counted,
        )

    def similarity(self, parameters: PoseNmsParameters) -> NDArray[np.float32]:
        """The similarity d of every pair, ``(P,)``; see `pose_similarity`."""
        first, second = (np.tanh(scores / np.float32(parameters.sigma1)) for scores in self.scores)
        matched = first.take(self.rows, axis=0)
        matched *= second.take(self.columns, axis=0)
        matched *= self.inside
        near = self.squared * np.float32(-1 / parameters.sigma2)
        np.exp(np.maximum(near, LOWEST, out=near), out=near)
        near *= np.float32(parameters.lam)
        near += matched
        similarity: NDArray[np.float32] = near @ np.ones(near.shape[1], np.float32) / self.counted
        return similarity


class FirstLook:
    """An upper bound on d from H_Sim alone, which rules out most pairs at a third of the cost.

    A joint that counts in K_Sim is near enough to contribute at least ``least`` to H_Sim. Hence
    K_Sim <= H_Sim / least, and d <= H_Sim (lam + 1 / least) for every pair.
    """

    def __init__(self, poses: Poses, parameters: PoseNmsParameters) -> None:
        self._first = _coordinates(poses, np.inf)
        self._second = _coordinates(poses, -np.inf)
        self._scale = -1 / (np.float32(parameters.sigma2) * np.square(poses.sizes))
        has = (poses.keypoint_scores > 0).astype(np.float32)
        least = np.exp(-2 * HALF_SIDE**2 / parameters.sigma2)
        needed = 0.999 * parameters.eta * least / (parameters.lam * least + 1)
        self._needed = np.float32(needed) * (has @ has.T)

    def possible(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Mask ``(P,)`` of the pairs that may be redundant; the others are certainly not."""
        x, y = _offsets(self._first, self._second, rows, columns)
        x *= x
        y *= y
        x += y
        x *= self._scale[rows, None]
        np.exp(np.maximum(x, LOWEST, out=x), out=x)
        possible: NDArray[np.bool_] = (
            x @ np.ones(x.shape[1], np.float32) > self._needed[rows, columns]
        )
        return possible


def pose_similarity(
    references: Poses, others: Poses, parameters: PoseNmsParameters = DEFAULT
) -> NDArray[np.float32]:
    """Similarity d of each reference pose with each other pose: ``(N, M)`` in [0, 1 + lam].

    ``d(Pi, Pj) = K_Sim(Pi, Pj) + lam H_Sim(Pi, Pj)``. Both terms are means over the joints present
    in both poses; d is 0 without any. The size of a person is the longer side of the reference's
    box.

    Source: RMPE, section 3.2, Eq. 8 (K_Sim, soft matching), Eq. 9 (H_Sim, spatial), Eq. 10 (d).
    Differs: distances are fractions of the reference's size, and sums are means over the counted
        joints. The paper gives no unit; taken literally, the criterion would depend on the image
        scale and on the number of joints.
    """
    rows, columns = np.divmod(np.arange(len(references) * len(others)), max(len(others), 1))
    pairs = JointPairs.compare(references, others, rows, columns)
    return pairs.similarity(parameters).reshape(len(references), len(others))


def parametric_nms(poses: Poses, parameters: PoseNmsParameters = DEFAULT) -> Poses:
    """Greedy elimination by `pose_similarity`; removed poses refine the joints of the kept ones.

    The result does not depend on the order of ``poses``, which are not modified.

    Returns:
        The kept poses with their own scores, best first.

    Source: RMPE, section 3.2, Eq. 7 (elimination), and the authors' release (merging).
    Differs: d is a similarity. The paper prints "eliminate when d <= eta" but means the opposite:
        d > eta eliminates.
    """
    poses = poses[ranking(poses)]
    leader = np.arange(len(poses))
    rows, columns = near_pairs(poses, parameters)
    first_look = FirstLook(poses, parameters) if len(rows) >= FEW else None
    # Work in batches: each fits in the CPU cache, and poses removed by one batch are skipped in the
    # next.
    for start in range(0, len(rows), STRETCH):
        some = slice(start, start + STRETCH)
        kept = leader == np.arange(len(poses))
        worth = np.flatnonzero(kept[rows[some]] & kept[columns[some]]) + start
        if first_look:
            worth = worth[first_look.possible(rows[worth], columns[worth])]
        if not len(worth):
            continue
        pairs = JointPairs.compare(poses, poses, rows[worth], columns[worth])
        redundant = pairs.similarity(parameters) > parameters.eta
        eliminate(leader, pairs.rows[redundant], pairs.columns[redundant])
    return merged(poses, leader, parameters)


def merged(poses: Poses, leader: NDArray[np.int64], parameters: PoseNmsParameters) -> Poses:
    """The kept poses, with nearby joints of the poses they removed averaged into theirs.

    Each joint is weighted by its squared score, so one confident joint outweighs several weak ones.

    Args:
        poses: All poses, best first.
        leader: ``(N,)``, for each pose the index of the pose that removed it, or its own.
        parameters: ``merge`` is the merging radius.
    """
    kept = np.flatnonzero(leader == np.arange(len(leader)))
    if len(kept) == len(poses):
        return poses
    weights = np.square(poses.keypoint_scores)
    points = merge_joints(
        poses.keypoints, weights, leader, np.float32(parameters.merge) * poses.sizes
    )
    return poses[kept].replace(keypoints=points)


def near_pairs(
    poses: Poses, parameters: PoseNmsParameters
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (reference, other) of ranked ``poses`` that may be redundant.

    All other pairs have d <= eta: if no joint of the other pose comes within ``reach`` of the
    extent of the reference's joints, then K_Sim is 0 and lam H_Sim <= eta.
    """
    spread = parameters.sigma2 * np.log(max(parameters.lam / max(parameters.eta, 1e-6), 1))
    reach = poses.sizes * np.float32(1.001 * max(np.sqrt(spread), HALF_SIDE))
    lows = _coordinates(poses, np.inf).min(axis=2)
    highs = _coordinates(poses, -np.inf).max(axis=2)
    near = ~np.tri(len(poses), dtype=bool)
    for low, high in zip(lows, highs, strict=True):
        near &= (low - reach)[:, None] <= high
        near &= low <= (high + reach)[:, None]
    rows, columns = np.nonzero(near)
    return rows, columns


def _offsets(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> NDArray[np.float32]:
    """``first[:, rows] - second[:, columns]``, ``(2, P, K)``: x, then y."""
    offsets = np.empty((2, len(rows), first.shape[2]), np.float32)
    for offset, start, end in zip(offsets, first, second, strict=True):
        np.subtract(start.take(rows, axis=0), end.take(columns, axis=0), out=offset)
    return offsets


def _coordinates(poses: Poses, missing: float) -> NDArray[np.float32]:
    """All x, then all y, ``(2, N, K)``; missing joints get the value ``missing``."""
    points = np.moveaxis(poses.keypoints, 2, 0)
    return np.where(poses.keypoint_scores > 0, points, np.float32(missing))
