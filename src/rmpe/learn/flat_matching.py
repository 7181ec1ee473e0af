"""COCO keypoint matching in numpy, all photos side by side: fast enough to be repeated hundreds of
times in a search.

Everything is flat: people of all photos lie in one array, with the number of the photo beside each.
The libraries of `rmpe.evaluation.protocols.coco` give the same figures and all others besides; they
are for results that are measured once.
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
    """Annotated people of many photos, photo by photo, the ones that count before the ones to
    ignore.

    Attributes:
        keypoints: ``(G, K, 2)`` pixels.
        visible: ``(G, K)``, joints that are annotated.
        boxes: ``(G, 4)`` xyxy.
        areas: ``(G,)`` square pixels.
        ignored: ``(G,)``, crowds and people without annotated joints.
        crowd: ``(G,)``, regions that may hold many people.
        images: ``(G,)``, number of the photo, ascending.
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

    @classmethod
    def from_coco(
        cls, annotations: list[dict[str, Any]], image_ids: list[int], skeleton: Skeleton
    ) -> "Truths":
        """Truths of the people in COCO ``annotations``; the photos are numbered by their place in ``image_ids``."""
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


def match(truths: Truths, poses: Poses, images: NDArray[np.int64]) -> Ranked:
    """Match detections to annotated people as COCO does at its 10 thresholds, at most 20 detections
    a photo.

    Args:
        truths: The annotated people.
        poses: Detections of all photos; photo by photo, best first within each.
        images: ``(N,)`` number of the photo of each pose, ascending.

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
    for step in range(
        int(rank.max(initial=-1)) + 1
    ):  # the best of every photo, then the second best, ...
        now = np.flatnonzero(rank == step)
        photo = images[now]
        possible = free[:, photo] & (similarity[now] >= THRESHOLDS[:, None, None])
        # People come before what is to be ignored; of equal similarities the later one wins, as in
        # COCO's code.
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
    """OKS of every detection with every person of its photo, ``(N, slots)``, -1 where there is none in a slot."""
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

    A missing joint lies at (0, 0), as COCO's files write it. Where nothing is annotated, distances
    count from the box grown by its own size on every side, as in COCO's code.
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
