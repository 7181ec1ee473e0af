"""Parametric pose NMS: RMPE, section 3.2.

Redundant detections give redundant poses. Two poses are compared by where their joints lie and how sure they are; the
most confident pose removes all that are too similar to it, and what it removes sharpens its joints.
"""

import tomllib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rmpe.errors import DataError
from rmpe.poses import Poses
from rmpe.suppress.clusters import leaders, merge_joints, ranking


@dataclass(frozen=True)
class PoseNmsParameters:
    """Parameters of the elimination criterion. All lengths are shares of a person's size, so nothing is in pixels.

    Attributes:
        sigma1: Joint confidence at which tanh(c / sigma1) has nearly saturated; > 0.
        sigma2: Spread of the spatial similarity, in squared sizes; > 0.
        lam: Weight of the spatial similarity; >= 0.
        eta: Largest similarity, between 0 and 1 + lam, at which both poses survive.
        merge: Joints of removed poses nearer than this to the kept joint are averaged into it; 0 = none.
    """

    sigma1: float = 0.1
    sigma2: float = 0.005
    lam: float = 1.0
    eta: float = 0.8
    merge: float = 0.05

    def __post_init__(self) -> None:
        for name in ("sigma1", "sigma2"):
            if not getattr(self, name) > 0:
                raise DataError(f"pose NMS: {name} must be above 0, got {getattr(self, name)}")
        for name in ("lam", "eta", "merge"):
            if not getattr(self, name) >= 0:
                raise DataError(f"pose NMS: {name} must not be negative, got {getattr(self, name)}")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "PoseNmsParameters":
        """Parameters from a TOML file, as ``rmpe learn nms`` writes it; those left out keep their defaults.

        Raises:
            DataError: If the file cannot be read, or holds anything but valid parameters.
        """
        try:
            data = tomllib.loads(Path(path).read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise DataError(f"{path}: cannot read pose NMS parameters: {error}") from error
        known = [field.name for field in fields(cls)]
        for key, value in data.items():
            if key not in known:
                nearest = get_close_matches(key, known, 1, cutoff=0) or known
                raise DataError(f"{path}: unknown pose NMS parameter {key!r}, do you mean {nearest[0]!r}?")
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise DataError(f"{path}: {key} must be a number, got {value!r}")
        try:
            return cls(**data)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error


DEFAULT = PoseNmsParameters()


def pose_similarity(references: Poses, others: Poses, parameters: PoseNmsParameters = DEFAULT) -> NDArray[np.float32]:
    """Similarity of every pose of ``references`` with every pose of ``others``: ``(N, M)``, in [0, 1 + lam].

    ``d(Pi, Pj) = K_Sim(Pi, Pj) + lam H_Sim(Pi, Pj)``, both means over the joints that the two poses have in common;
    0 when they have none. The size of a person is the longer side of the reference's box.

    Source: RMPE, section 3.2, Eq. 8 (K_Sim, soft matching), Eq. 9 (H_Sim, spatial), Eq. 10 (d).
    Differs: distances are shares of the reference's size and the sums are means over the joints counted. The paper
        gives no unit: read literally the criterion would depend on image scale and on the number of joints.
    """
    rows, columns = np.divmod(np.arange(len(references) * len(others)), max(len(others), 1))
    similarity = _pair_similarity(references, rows, others, columns, parameters)
    return similarity.reshape(len(references), len(others))


def parametric_nms(poses: Poses, parameters: PoseNmsParameters = DEFAULT) -> Poses:
    """The poses left after greedy elimination by `pose_similarity`, best first, their joints sharpened by the removed.

    The result does not depend on the order of ``poses``, which stay as they are. Scores are those of the kept poses.

    Source: RMPE, section 3.2, Eq. 7 (elimination), and the authors' release (merging).
    Differs: d is a similarity. The paper prints "eliminate when d <= eta" but means the opposite: d > eta eliminates.
    """
    poses = poses[ranking(poses)]
    rows, columns = np.triu_indices(len(poses), 1)
    redundant = np.zeros((len(poses), len(poses)), bool)
    redundant[rows, columns] = _pair_similarity(poses, rows, poses, columns, parameters) > parameters.eta
    leader = leaders(redundant)
    kept = poses[leader == np.arange(len(poses))]
    if len(kept) == len(poses):
        return poses
    points = merge_joints(poses.keypoints, poses.keypoint_scores, leader, parameters.merge * _sizes(poses))
    return Poses(points, kept.keypoint_scores, kept.scores, kept.boxes, kept.skeleton, kept.track_ids)


def _sizes(poses: Poses) -> NDArray[np.float32]:
    """Longer side of each box, ``(N,)``, at least one pixel."""
    return np.maximum((poses.boxes[:, 2:] - poses.boxes[:, :2]).max(axis=1, initial=1), 1)


def _pair_similarity(
    references: Poses,
    rows: NDArray[np.int64],
    others: Poses,
    columns: NDArray[np.int64],
    parameters: PoseNmsParameters,
) -> NDArray[np.float32]:
    """`pose_similarity` of the pairs ``references[rows[p]]``, ``others[columns[p]]``: ``(P,)``."""
    offset = np.nan_to_num(references.keypoints)[rows] - np.nan_to_num(others.keypoints)[columns]
    half = (references.boxes[:, 2:] - references.boxes[:, :2]) / 20
    inside = (np.abs(offset) <= half[rows, None]).all(axis=2)
    common = (references.keypoint_scores[rows] > 0) & (others.keypoint_scores[columns] > 0)
    sure = np.tanh(references.keypoint_scores / parameters.sigma1)[rows]
    sure *= np.tanh(others.keypoint_scores / parameters.sigma1)[columns]
    squared = np.einsum("pkc,pkc->pk", offset, offset) / np.square(_sizes(references))[rows, None]
    joints = sure * inside + parameters.lam * np.exp(-squared / parameters.sigma2) * common
    similarity: NDArray[np.float32] = joints.sum(axis=1) / np.maximum(common.sum(axis=1), 1)
    return similarity
