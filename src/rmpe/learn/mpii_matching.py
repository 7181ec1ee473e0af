"""MPII's people of many photos, as the truth that pose NMS is learned from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import to_xyxy
from rmpe.errors import DataError
from rmpe.evaluation.files.mpii import (
    JOINTS,
    REPORTED,
    MpiiPerson,
    frame_of,
    read_mpii_people,
)
from rmpe.evaluation.matching.joint_ap import mean_ap, rank_joints
from rmpe.evaluation.matching.ranked import Ranked
from rmpe.files import read_json
from rmpe.poses import Poses
from rmpe.skeletons import load_skeleton


@dataclass(frozen=True, eq=False)
class MpiiTruths:
    """Annotated people by photo; the figure is the paper's mAP, people matched by PCKh.

    Attributes:
        people: The people of each photo, by the photo's name.
    """

    people: dict[str, list[MpiiPerson]]

    @classmethod
    def read(cls, path: Path) -> "MpiiTruths":
        """Read MPII's annotations; see `rmpe.evaluation.files.mpii.read_mpii_people`."""
        by_image: dict[str, list[MpiiPerson]] = {}
        for person in read_mpii_people(path):
            by_image.setdefault(person.image, []).append(person)
        return cls(by_image)

    @property
    def photos(self) -> int:
        """Number of photos."""
        return len(self.people)

    def match(self, poses: Poses, images: NDArray[np.int64]) -> tuple[Ranked, ...]:
        """One match list for each of the 14 joints.

        Args:
            poses: Poses of all photos with MPII's 16 joints.
            images: ``(N,)``, index of the photo of each pose.
        """
        rows = np.concatenate(
            [poses.keypoints, poses.keypoint_scores[..., None]], axis=2, dtype=np.float64
        )[:, REPORTED]
        frames = [
            frame_of(people, rows[images == index])
            for index, people in enumerate(self.people.values())
        ]
        return tuple(rank_joints(frames, len(JOINTS)))

    def ap(self, matched: tuple[Ranked, ...], weights: NDArray[Any] | None = None) -> float:
        """MPII's mAP over the 14 joints, 0 to 1."""
        return mean_ap(list(matched), weights) / 100

    def read_candidates(self, path: Path) -> list[Poses]:
        """Read poses before NMS from COCO results with ``bbox``; ``image_id`` is the photo's name.

        `rmpe evaluate mpii --images FOLDER --nms none --save-results FILE` writes them.

        Raises:
            DataError: If the file is not of that kind, or names another photo.
        """
        records = read_json(path)
        found: dict[str, list[Poses]] = {name: [] for name in self.people}
        skeleton = load_skeleton("mpii16")
        if not isinstance(records, list):
            raise DataError(f"{path}: expected a list of COCO results")
        for index, record in enumerate(records):
            where = f"{path}: result {index}"
            try:
                image = str(record["image_id"])
                rows = np.array(record["keypoints"], np.float64).reshape(1, 16, 3)
                points = np.where(rows[..., 2:] > 0, rows[..., :2], np.nan)
                boxes = to_xyxy([record["bbox"]])
                pose = Poses(points, rows[..., 2], [record["score"]], boxes, skeleton)
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{where}: needs image_id, score, bbox and 16 keypoints: {error!r}"
                ) from error
            if image not in found:
                raise DataError(f"{where}: image {image!r} is not in the annotations")
            found[image].append(pose)
        return [Poses.merge([Poses.empty(skeleton), *poses]) for poses in found.values()]
