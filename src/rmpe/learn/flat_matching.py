"""COCO keypoint matching in numpy for all photos at once, fast enough for a parameter search.

The people of all photos are stored in one array together with their photo's index. The libraries
behind `rmpe.evaluation.protocols.coco` give the same mAP and more figures; they are for single
measurements.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import to_xyxy
from rmpe.evaluation.matching.ranked import Ranked
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton

THRESHOLDS = np.linspace(0.5, 0.95, 10)
MAX_DETECTIONS = 20


@dataclass(frozen=True, eq=False)
class Truths:
    """Annotated people of many photos, sorted by photo; within a photo, ignored people come last.

    Attributes:
        keypoints: ``(G, K, 2)`` pixels.
        visible: ``(G, K)``, true where a joint is annotated.
        boxes: ``(G, 4)`` xyxy.
        areas: ``(G,)`` square pixels.
        ignored: ``(G,)``, crowds and people without annotated joints.
        crowd: ``(G,)``, regions that may contain many people.
        images: ``(G,)``, index of the photo, ascending.
        photos: Number of photos.
    """

    keypoints: NDArray[np.float64]
    visible: NDArray[np.bool_]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    ignored: NDArray[np.bool_]
    crowd: NDArray[np.bool_]
    images: NDArray[np.int64]
    photos: int

    def match(self, poses: Poses, images: NDArray[np.int64]) -> tuple[Ranked, ...]:
        """One match list; see `match_poses`."""
        return (match_poses(self, poses, images),)

    def ap(self, matched: tuple[Ranked, ...], weights: NDArray[Any] | None = None) -> float:
        """COCO's AP."""
        return matched[0].coco_ap(weights)

    @classmethod
    def from_coco(
        cls, annotations: list[dict[str, Any]], image_ids: list[int], skeleton: Skeleton
    ) -> "Truths":
        """The people of COCO ``annotations``; a photo's index is its position in ``image_ids``."""
        number = {image_id: index for index, image_id in enumerate(image_ids)}
        people = [
            person | {"ignored": person["iscrowd"] or not person["num_keypoints"]}
            for person in annotations
        ]
        people.sort(key=lambda person: (number[person["image_id"]], bool(person["ignored"])))
        flat = np.array([person["keypoints"] for person in people], np.float64).reshape(
            -1, len(skeleton), 3
        )
        return cls(
            keypoints=flat[..., :2],
            visible=flat[..., 2] > 0,
            boxes=to_xyxy([person["bbox"] for person in people]),
            areas=np.array([person["area"] for person in people], np.float64),
            ignored=np.array([person["ignored"] for person in people], bool),
            crowd=np.array([person["iscrowd"] for person in people], bool),
            images=np.array([number[person["image_id"]] for person in people], np.int64),
            photos=len(image_ids),
        )


def match_poses(truths: Truths, poses: Poses, images: NDArray[np.int64]) -> Ranked:
    """Match poses to annotated people at COCO's 10 OKS thresholds, at most 20 poses per photo.

    Args:
        truths: The annotated people.
        poses: Poses of all photos, sorted by photo and best first within each.
        images: ``(N,)``, index of the photo of each pose, ascending.

    Source: the COCO keypoint evaluation protocol (area range "all").
    """
    rank = np.arange(len(images)) - np.searchsorted(images, images)
    counted = rank < MAX_DETECTIONS
    poses = poses[counted]
    images = images[counted]
    rank = rank[counted]
    place = np.arange(len(truths.images)) - np.searchsorted(truths.images, truths.images)
    slots = int(place.max(initial=0)) + 1
    similarity = _similarities(truths, place, poses, images, slots)
    ignore = np.zeros((truths.photos, slots), bool)
    ignore[truths.images, place] = truths.ignored
    reusable = np.zeros_like(ignore)
    reusable[truths.images, place] = truths.crowd

    free = np.ones((len(THRESHOLDS), truths.photos, slots), bool)
    hits = np.zeros((len(THRESHOLDS), len(poses)), bool)
    passed_over = np.zeros_like(hits)
    # The best pose of every photo is matched first, then every second best, and so on.
    for step in range(int(rank.max(initial=-1)) + 1):
        now = np.flatnonzero(rank == step)
        photo = images[now]
        possible = free[:, photo] & (similarity[now] >= THRESHOLDS[:, None, None])
        # As in COCO's code, people who count precede ignored ones, and ties go to the later person.
        preference = np.where(possible, similarity[now] + 2 * ~ignore[photo], -1)
        best = slots - 1 - preference[..., ::-1].argmax(axis=2)
        level, index = np.nonzero(np.take_along_axis(possible, best[..., None], axis=2)[..., 0])
        chosen = best[level, index]
        where = photo[index]
        free[level, where, chosen] = reusable[where, chosen]
        hits[level, now[index]] = ~ignore[where, chosen]
        passed_over[level, now[index]] = ignore[where, chosen]
    people = np.bincount(truths.images[~truths.ignored], minlength=truths.photos)
    return Ranked.sort(poses.scores, images, hits, ~passed_over, people)


def _similarities(
    truths: Truths, place: NDArray[np.int64], poses: Poses, images: NDArray[np.int64], slots: int
) -> NDArray[np.float64]:
    """OKS of each pose with each person of its photo, ``(N, slots)``; -1 in empty slots."""
    people = np.bincount(truths.images, minlength=truths.photos)
    ends = np.cumsum(people)
    detection = np.repeat(np.arange(len(poses)), people[images])
    within = np.arange(len(detection)) - np.repeat(
        np.cumsum(people[images]) - people[images], people[images]
    )
    truth = (ends - people)[images][detection] + within
    similarity = np.full((len(poses), slots), -1.0)
    similarity[detection, place[truth]] = _oks(truths, truth, poses, detection)
    return similarity


def _oks(
    truths: Truths, truth: NDArray[np.int64], poses: Poses, detection: NDArray[np.int64]
) -> NDArray[np.float64]:
    """OKS of the pairs ``truth[p]``, ``detection[p]``: ``(P,)``.

    As in COCO's files, missing joints are at (0, 0). As in COCO's code, for a person without
    annotated joints distances are measured from the box, extended by its own size on every side.
    """
    points = np.nan_to_num(poses.keypoints.astype(np.float64))[detection]
    counted = truths.visible[truth]
    offset = points - truths.keypoints[truth]
    blank = ~counted.any(axis=1)
    low = truths.boxes[truth[blank], None, :2]
    high = truths.boxes[truth[blank], None, 2:]
    offset[blank] = np.maximum(2 * low - high - points[blank], 0) + np.maximum(
        points[blank] - 2 * high + low, 0
    )
    counted[blank] = True
    variances = (
        np.square(2 * np.array(poses.skeleton.sigmas))
        * (truths.areas[truth] + np.spacing(1))[:, None]
    )
    near = np.exp(np.einsum("pkc,pkc->pk", offset, offset) / (-2 * variances))
    result: NDArray[np.float64] = (near * counted).sum(axis=1) / counted.sum(axis=1)
    return result
