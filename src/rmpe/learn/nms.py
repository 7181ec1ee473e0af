"""Learn the parameters of pose NMS from data: RMPE, section 3.2.

The mAP of the poses that are left is maximised over two parameters at a time with the other two
fixed, in turns, until nothing moves. Everything that does not depend on the parameters is computed
once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import to_xyxy
from rmpe.errors import DataError
from rmpe.evaluation.files.submissions import People, check_results
from rmpe.evaluation.matching.ranked import Ranked
from rmpe.files import read_json
from rmpe.learn.flat_matching import Truths, match
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton
from rmpe.suppress.clusters import leaders, ranking
from rmpe.suppress.parametric import JointPairs, PoseNmsParameters, merged, near_pairs

Floats = NDArray[np.float64]
Weights = NDArray[np.float64] | NDArray[np.bool_]


@dataclass(frozen=True)
class Plane:
    """Two parameters that are searched together.

    Attributes:
        names: The parameter of the rows, and that of the columns.
        axes: The values that are tried.
        place: Parameters with these two replaced.
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
# eta is a share of 1 + lam, the similarity of a sure pose with itself: so its scale does not change
# with lam.
ETA = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)
PLANES = (
    Plane(("sigma1", "sigma2"), (SIGMA1, SIGMA2), _with_sigmas),
    Plane(("lam", "eta / (1 + lam)"), (LAM, ETA), _with_threshold),
)
# More tolerant than any point of the planes: pairs that these do not call redundant are not looked
# at. K_Sim can be a little larger than H_Sim, but not by a quarter where sigma2 is so large.
TOLERANT = PoseNmsParameters(sigma2=max(SIGMA2), lam=1e6, eta=0.75 * min(ETA) * 1e6)


@dataclass(frozen=True, eq=False)
class Learned:
    """What was learned, and what it is worth.

    Attributes:
        parameters: Learned on all photos.
        surfaces: mAP over each of `PLANES` around them.
        start_ap: mAP with the parameters the search started from.
        ap: mAP with the learned ones on the photos they were learned on: flattering.
        held_out_ap: mAP when every photo is treated with parameters learned without its fold:
            honest.
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
    """Poses before NMS from COCO results with ``bbox``, one entry for each of ``people.image_ids``.

    Raises:
        DataError: If it is not such a file, a joint's score is not in [0, 1], or an image is not in
            ``people``.
    """
    data = read_json(path)
    for field in ("keypoints", "bbox"):
        check_results(data, people, field, str(path))
    by_image: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in people.image_ids}
    for record in data:
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
    """Poses of many photos before NMS, with all that NMS and its measurement need but for the parameters."""

    def __init__(self, per_photo: Sequence[Poses], truths: Truths) -> None:
        """Compare the poses within each photo; ``per_photo`` has one entry for each of the photos of ``truths``."""
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
        self._known: dict[PoseNmsParameters, Ranked] = {}

    def measure(self, parameters: PoseNmsParameters) -> Ranked:
        """Suppress with ``parameters`` in all photos and match what is left; remembered."""
        if parameters not in self._known:
            redundant = self._pairs.similarity(parameters) > parameters.eta
            leader = leaders(self.rows[redundant], self.columns[redundant], len(self.poses))
            kept = leader == np.arange(len(leader))
            self._known[parameters] = match(
                self.truths, merged(self.poses, leader, parameters), self.images[kept]
            )
        return self._known[parameters]


def learn_nms(
    per_photo: Sequence[Poses],
    truths: Truths,
    start: PoseNmsParameters | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Learned:
    """Learn pose NMS parameters from candidates and annotations.

    Args:
        per_photo: Poses before NMS, one entry a photo.
        truths: Annotated people of the same photos.
        start: Where the search starts; its ``merge`` is kept.
        folds: Parts the photos are drawn into for cross-validation.
        seed: Of the draw.

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
        candidates.measure(start).coco_ap(),
        candidates.measure(best).coco_ap(),
        _joined([candidates.measure(parameters) for parameters in learned], fold).coco_ap(),
        learned,
        fold,
    )


def climb(candidates: Candidates, start: PoseNmsParameters, weights: Weights) -> PoseNmsParameters:
    """Parameters of highest mAP on photos weighted by ``weights`` ``(I,)``: two at a time until
    nothing moves.

    Differs: the mAP of a point is averaged with its neighbours' on the plane. Near the top the
        surface is flat but for noise of a few photos; the middle of the plateau does better on
        other photos than its highest point.
    """
    parameters = start
    seen = set[PoseNmsParameters]()
    while parameters not in seen:
        seen.add(parameters)
        for plane in PLANES:
            values = smoothed(surface(candidates, parameters, plane, weights))
            row, column = np.unravel_index(values.argmax(), values.shape)
            parameters = plane.place(parameters, plane.axes[0][row], plane.axes[1][column])
    return parameters


def surface(
    candidates: Candidates, parameters: PoseNmsParameters, plane: Plane, weights: Weights
) -> Floats:
    """The mAP over ``plane`` with the other parameters as they are: rows x columns."""
    points = [plane.place(parameters, row, column) for row, column in product(*plane.axes)]
    values = [candidates.measure(point).coco_ap(weights) for point in points]
    return np.array(values).reshape(len(plane.axes[0]), len(plane.axes[1]))


def smoothed(values: Floats) -> Floats:
    """Mean of each point and its up to 8 neighbours; the edge repeats itself."""
    padded = np.pad(values, 1, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    result: Floats = windows.mean(axis=(2, 3))
    return result


def _joined(parts: Sequence[Ranked], fold: NDArray[np.int64]) -> Ranked:
    """Each photo's matches from the part of its own fold."""
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
