"""Validation during training: AP on annotated photos with true boxes."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rmpe import affine
from rmpe.annotations.image_names import ImageFolder
from rmpe.boxes import Boxes
from rmpe.datasets.packed import read_rgb
from rmpe.estimate.crops import cut
from rmpe.estimate.heatmaps import decode_dark
from rmpe.estimate.score import pose_scores
from rmpe.evaluation.files.submissions import Record, read_people_on
from rmpe.evaluation.protocols.coco import evaluate_coco
from rmpe.nets import PIXEL_MEAN, PIXEL_SD
from rmpe.poses import Poses
from rmpe.propose.regions import grow_proposals
from rmpe.skeletons import Skeleton
from rmpe.training.run import ValidateConfig

BATCH = 32


class Validation:
    """Crops of people in their true boxes, made once.

    Args:
        config: The photos.
        skeleton: The joints of the net.
        size: (height, width) of its crops.
        growth: Factor by which a box grows before it is cropped.

    Raises:
        RmpeError: If annotations or photos cannot be read.
    """

    def __init__(
        self, config: ValidateConfig, skeleton: Skeleton, size: tuple[int, int], growth: float
    ) -> None:
        self.skeleton = skeleton
        self.people = read_people_on(config.annotations, config.only, skeleton)
        labelled = [person for person in self.people.annotations if person.get("num_keypoints")]
        persons = [person for person in labelled if not person["iscrowd"]]
        self.boxes = Boxes.from_xywh([person["bbox"] for person in persons]).xyxy
        self.image_ids = [person["image_id"] for person in persons]
        self.image_to_crop = affine.boxes_to_crops(
            grow_proposals(self.boxes, growth), size, "center"
        )
        self.crops = np.empty((len(persons), *size, 3), np.uint8)
        folder = ImageFolder(config.images)
        for image in self.people.images:
            rows = [row for row, image_id in enumerate(self.image_ids) if image_id == image["id"]]
            if rows:
                name = image["file_name"]
                photo = read_rgb(folder.find(name) or config.images / name)
                self.crops[rows] = cut(photo, self.image_to_crop[rows], size)

    def __call__(self, net: nn.Module, device: str) -> dict[str, float]:
        """COCO's AP figures of a net, which stays in evaluation mode."""
        points, scores = self._poses(net.eval(), device)
        results: list[Record] = []
        for image_id in sorted(set(self.image_ids)):
            rows = np.flatnonzero(np.array(self.image_ids) == image_id)
            total = pose_scores(np.ones(len(rows), np.float32), scores[rows])
            poses = Poses(points[rows], scores[rows], total, self.boxes[rows], self.skeleton)
            results += poses.to_coco(image_id, self.people.category_id)
        figures = evaluate_coco(self.people, results, "keypoints", self.skeleton.sigmas).figures
        return {name: float(figures[name]) for name in ("AP", "AP50", "AP75", "AR")}

    @torch.inference_mode()
    def _poses(
        self, net: nn.Module, device: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        points = []
        scores = []
        for start in range(0, len(self.crops), BATCH):
            images = (
                torch.from_numpy(self.crops[start : start + BATCH])
                .to(device)
                .float()
                .permute(0, 3, 1, 2)
            )
            output = net((images - PIXEL_MEAN) / PIXEL_SD)
            heatmaps = (
                (output if isinstance(output, list) else output.heatmaps)[-1].float().cpu().numpy()
            )
            cells, answers = decode_dark(heatmaps)
            size = self.crops.shape[1:3]
            grid = heatmaps.shape[2:]
            crop = affine.apply(affine.invert(affine.crop_to_heatmap(size, grid, "center")), cells)
            points.append(
                affine.apply(affine.invert(self.image_to_crop[start : start + BATCH]), crop)
            )
            scores.append(np.clip(answers, 0, 1))
        return np.concatenate(points), np.concatenate(scores)
