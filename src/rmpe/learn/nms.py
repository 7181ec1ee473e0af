"""Learn the parameters of pose NMS from data (RMPE, section 3.2).

The mAP of the remaining poses is maximised over two parameters at a time with the other two fixed,
alternating until convergence. Everything independent of the parameters is computed once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rmpe.annotations.results import check_detections, detected_people, resolve_images
from rmpe.boxes import to_xyxy
from rmpe.errors import DataError
from rmpe.evaluation.files.submissions import People
from rmpe.evaluation.matching.ranked import Ranked
from rmpe.files import read_json
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton
from rmpe.suppress.clusters import leaders, ranking
from rmpe.suppress.parametric import JointPairs, PoseNmsParameters, merged, near_pairs

Floats = NDArray[np.float64]
Weights = NDArray[np.float64] | NDArray[np.bool_]


class Truth(Protocol):
    """Annotated people of many photos and the benchmark's figure for them."""

    def match(self, poses: Poses, images: NDArray[np.int64]) -> tuple[Ranked, ...]:
        """Match lists of poses sorted by photo; ``images`` ``(N,)`` are the photos' indices."""
        ...

    def ap(self, matched: tuple[Ranked, ...], weights: Weights | None = None) -> float:
        """The mAP, 0 to 1; ``weights`` ``(I,)`` is the weight of each photo."""
        ...


@dataclass(frozen=True)
class Plane:
    """A grid over two parameters that are searched together.

    Attributes:
        names: Parameter of the rows and parameter of the columns.
        axes: The grid values of each.
        place: Returns given parameters with these two replaced.
    """

    names: tuple[str, str]
    axes: tuple[tuple[float, ...], tuple[float, ...]]
    place: Callable[[PoseNmsParameters, float, float], PoseNmsParameters]


def _with_sigmas(parameters: PoseNmsParameters, sigma1: float, sigma2: float) -> PoseNmsParameters:
    return replace(parameters, sigma1=sigma1, sigma2=sigma2)


def _with_threshold(parameters: PoseNmsParameters, lam: float, share: float) -> PoseNmsParameters:
    return replace(parameters, lam=lam, eta=round(share * (1 + lam), 6))


SIGMA1 = (0.02, 0.05, 0.1, 0.2, 0.5)
SIGMA2 = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04)
LAM = (0.25, 0.5, 1.0, 2.0, 4.0)
# eta is searched as a fraction of 1 + lam, the similarity of a confident pose with itself, so its
# scale does not depend on lam.
ETA = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)
PLANES = (
    Plane(("sigma1", "sigma2"), (SIGMA1, SIGMA2), _with_sigmas),
    Plane(("lam", "eta / (1 + lam)"), (LAM, ETA), _with_threshold),
)
# Removes more than any grid point: pairs that are not redundant under these parameters are skipped.
# K_Sim can slightly exceed H_Sim, but by less than a quarter at such a large sigma2.
TOLERANT = PoseNmsParameters(sigma2=max(SIGMA2), lam=1e6, eta=0.75 * min(ETA) * 1e6)


@dataclass(frozen=True, eq=False)
class Learned:
    """Learned parameters and their mAP.

    Attributes:
        parameters: Learned on all photos.
        surfaces: mAP over each of `PLANES` around them.
        start_ap: mAP with the initial parameters.
        ap: mAP with the learned parameters on the training photos; optimistic.
        held_out_ap: Cross-validated mAP: each photo uses parameters learned without its fold.
        folds: Parameters learned without each fold.
        fold: ``(I,)``, the fold of each photo.
    """

    parameters: PoseNmsParameters
    surfaces: tuple[Floats, ...]
    start_ap: float
    ap: float
    held_out_ap: float
    folds: tuple[PoseNmsParameters, ...]
    fold: NDArray[np.int64]


def read_candidates(path: Path, people: People, skeleton: Skeleton) -> list[Poses]:
    """Read poses before NMS from COCO results with ``bbox``, one entry per ``people.image_ids``.

    Raises:
        DataError: If the file is not of that kind, a joint score is not in [0, 1], or an image is
            not in ``people``.
    """
    source = str(path)
    lengths = {"keypoints": 3 * len(skeleton), "bbox": 4}
    found = resolve_images(
        check_detections(read_json(path), lengths, source), people.image_entries, source
    )
    persons, _ = detected_people(found, people.category, people.categories, source)
    by_image: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in people.image_ids}
    for record in persons:
        by_image[record["image_id"]].append(record)
    try:
        return [_poses(records, skeleton) for records in by_image.values()]
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _poses(records: list[dict[str, Any]], skeleton: Skeleton) -> Poses:
    if not records:
        return Poses.empty(skeleton)
    points = np.array([record["keypoints"] for record in records], np.float64).reshape(
        len(records), -1, 3
    )
    boxes = to_xyxy([record["bbox"] for record in records])
    return Poses(
        points[..., :2], points[..., 2], [record["score"] for record in records], boxes, skeleton
    )


class Candidates:
    """Poses of many photos before NMS, with everything that does not depend on the parameters."""

    def __init__(self, per_photo: Sequence[Poses], truths: Truth) -> None:
        """Compare the poses within each photo.

        Args:
            per_photo: Poses before NMS, one entry per photo of ``truths``.
            truths: Annotated people of the photos.
        """
        ranked = [poses[ranking(poses)] for poses in per_photo]
        self.truths = truths
        self.poses = Poses.merge(ranked)
        self.images = np.repeat(np.arange(len(ranked)), [len(poses) for poses in ranked])
        starts = np.searchsorted(self.images, np.arange(len(ranked)))
        pairs = [
            np.stack(near_pairs(poses, TOLERANT)) + start
            for poses, start in zip(ranked, starts, strict=True)
        ]
        self.rows, self.columns = np.concatenate(pairs, axis=1)
        self._pairs = JointPairs.compare(self.poses, self.poses, self.rows, self.columns)
        self._known: dict[PoseNmsParameters, tuple[Ranked, ...]] = {}

    def measure(self, parameters: PoseNmsParameters) -> tuple[Ranked, ...]:
        """Run NMS with ``parameters`` on all photos and match the kept poses; cached."""
        if parameters not in self._known:
            redundant = self._pairs.similarity(parameters) > parameters.eta
            leader = leaders(self.rows[redundant], self.columns[redundant], len(self.poses))
            kept = leader == np.arange(len(leader))
            self._known[parameters] = self.truths.match(
                merged(self.poses, leader, parameters), self.images[kept]
            )
        return self._known[parameters]

    def ap(self, parameters: PoseNmsParameters, weights: Weights | None = None) -> float:
        """The mAP with ``parameters``; ``weights`` ``(I,)`` is the weight of each photo."""
        return self.truths.ap(self.measure(parameters), weights)


def learn_nms(
    per_photo: Sequence[Poses],
    truths: Truth,
    start: PoseNmsParameters | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Learned:
    """Learn pose NMS parameters from candidates and annotations.

    Args:
        per_photo: Poses before NMS, one entry per photo.
        truths: Annotated people of the same photos.
        start: Initial parameters; ``merge`` is not searched.
        folds: Number of cross-validation folds.
        seed: Seed of the random folds.

    Source: RMPE, section 3.2, "optimization".
    """
    candidates = Candidates(per_photo, truths)
    start = start or PoseNmsParameters()
    fold = np.random.default_rng(seed).permutation(len(per_photo)) % folds
    learned = tuple(climb(candidates, start, fold != index) for index in range(folds))
    everything = np.ones(len(per_photo))
    best = climb(candidates, start, everything)
    return Learned(
        best,
        tuple(surface(candidates, best, plane, everything) for plane in PLANES),
        candidates.ap(start),
        candidates.ap(best),
        truths.ap(_joined([candidates.measure(parameters) for parameters in learned], fold)),
        learned,
        fold,
    )


def climb(candidates: Candidates, start: PoseNmsParameters, weights: Weights) -> PoseNmsParameters:
    """Maximise the mAP over one plane at a time until a round ends at a point visited before.

    That need not be a standstill: where the planes disagree, the search walks in a circle.

    Args:
        candidates: Poses before NMS.
        start: Initial parameters.
        weights: ``(I,)``, weight of each photo.

    Returns:
        The best of ``start`` and the points at which rounds ended.

    Differs: the mAP of each grid point is averaged with its neighbours. The surface is flat near
        the maximum except for noise from a few photos; the middle of the plateau generalises better
        than its highest point.
    """
    parameters = start
    visited: list[PoseNmsParameters] = []
    while parameters not in visited:
        visited.append(parameters)
        for plane in PLANES:
            values = smoothed(surface(candidates, parameters, plane, weights))
            row, column = np.unravel_index(values.argmax(), values.shape)
            parameters = plane.place(parameters, plane.axes[0][row], plane.axes[1][column])
    return max(visited, key=lambda point: candidates.ap(point, weights))


def surface(
    candidates: Candidates, parameters: PoseNmsParameters, plane: Plane, weights: Weights
) -> Floats:
    """The mAP over ``plane`` with the other parameters fixed: rows x columns."""
    points = [plane.place(parameters, row, column) for row, column in product(*plane.axes)]
    values = [candidates.ap(point, weights) for point in points]
    return np.array(values).reshape(len(plane.axes[0]), len(plane.axes[1]))


def smoothed(values: Floats) -> Floats:
    """Mean over the 3 x 3 neighbourhood of each point; edge values are repeated."""
    padded = np.pad(values, 1, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    result: Floats = windows.mean(axis=(2, 3))
    return result


def _joined(parts: Sequence[tuple[Ranked, ...]], fold: NDArray[np.int64]) -> tuple[Ranked, ...]:
    """The matches of each photo, taken from the part of its fold, list by list."""
    return tuple(_joined_list(lists, fold) for lists in zip(*parts, strict=True))


def _joined_list(parts: Sequence[Ranked], fold: NDArray[np.int64]) -> Ranked:
    own = [fold[part.image] == index for index, part in enumerate(parts)]
    scores, image = (
        np.concatenate([getattr(part, name)[mask] for part, mask in zip(parts, own, strict=True)])
        for name in ("scores", "image")
    )
    hits, counted = (
        np.concatenate(
            [getattr(part, name)[:, mask] for part, mask in zip(parts, own, strict=True)], axis=1
        )
        for name in ("hits", "counted")
    )
    return Ranked.sort(scores, image, hits, counted, parts[0].truths)
