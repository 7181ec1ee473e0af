"""Validation of a detector during training: box AP on annotated photos."""

import numpy as np
import torch
from torch import nn

from rmpe.annotations.image_names import ImageFolder
from rmpe.boxes import Boxes, box_nms
from rmpe.datasets.packed import read_rgb
from rmpe.detect.decoded import CANDIDATES
from rmpe.detect.letterbox import letterbox
from rmpe.evaluation.files.submissions import Record, read_people_on
from rmpe.evaluation.protocols.coco import evaluate_coco
from rmpe.nets import PIXEL_MEAN, PIXEL_SD
from rmpe.training.run import ValidateConfig

BATCH = 16
LEAST = 0.01


class BoxValidation:
    """Letterboxed photos, prepared once.

    Args:
        config: The photos.
        size: (height, width) of the net's input.
        nms: IoU threshold of box NMS.

    Raises:
        RmpeError: If annotations or photos cannot be read.
    """

    def __init__(self, config: ValidateConfig, size: tuple[int, int], nms: float) -> None:
        self.people = read_people_on(config.annotations, config.only)
        self.nms = nms
        self.canvases = np.empty((len(self.people.images), *size, 3), np.uint8)
        self.scales = np.empty(len(self.canvases), np.float32)
        folder = ImageFolder(config.images)
        for index, image in enumerate(self.people.images):
            name = image["file_name"]
            photo = read_rgb(folder.find(name) or config.images / name)
            self.canvases[index], self.scales[index] = letterbox(photo, size)

    @torch.inference_mode()
    def __call__(self, net: nn.Module, device: str) -> dict[str, float]:
        """COCO's box figures of a net, which stays in evaluation mode."""
        net.eval()
        results: list[Record] = []
        for start in range(0, len(self.canvases), BATCH):
            images = (
                torch.from_numpy(self.canvases[start : start + BATCH])
                .to(device)
                .permute(0, 3, 1, 2)
                .float()
            )
            found = net.detect((images - PIXEL_MEAN) / PIXEL_SD)  # type: ignore[operator] # both detectors have it
            scores = found.logits.float().sigmoid().cpu().numpy()
            boxes = found.boxes.float().cpu().numpy()
            for offset, (one, xyxy) in enumerate(zip(scores, boxes, strict=True)):
                best = np.argsort(-one, kind="stable")[:CANDIDATES]
                best = best[one[best] >= LEAST]
                results += self._records(start + offset, Boxes(xyxy[best], one[best]))
        figures = evaluate_coco(self.people, results, "bbox").figures
        return {name: float(figures[name]) for name in ("AP", "AP50", "AR_max100")}

    def _records(self, index: int, boxes: Boxes) -> list[Record]:
        kept = boxes[box_nms(boxes, self.nms)]
        xywh = kept.xywh / self.scales[index]
        record = {
            "image_id": self.people.images[index]["id"],
            "category_id": self.people.category_id,
        }
        return [
            record | {"bbox": b, "score": s}
            for b, s in zip(xywh.tolist(), kept.scores.tolist(), strict=True)
        ]
