"""Losses of detectors: quality-aware scores, boxes, and distillation from a teacher."""

from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rmpe.nets.detectors.boxes import inside, paired_giou
from rmpe.nets.detectors.person_detector import Detections, cells
from rmpe.nets.detectors.ssd512 import SsdOutput
from rmpe.training.detector.assignment import assign
from rmpe.training.detector.ssd_loss import ssd_loss
from rmpe.training.optim import weight_sum

BOX_WEIGHT: Final = 2.0
# Teacher cells below this score do not contribute to the box loss.
TEACHER_BOX: Final = 0.1


class DetectionTargets(NamedTuple):
    """Padded boxes of a batch of inputs.

    Attributes:
        people: ``(B, M, 4)`` xyxy input pixels.
        real: ``(B, M)`` bool, rows that are people.
        ignored: ``(B, M)`` bool, rows that are ignored regions.
    """

    people: Tensor
    real: Tensor
    ignored: Tensor


def detection_loss(
    found: Detections, size: tuple[int, int], targets: DetectionTargets
) -> dict[str, Tensor]:
    """Score and box losses against annotated people.

    Args:
        found: The net's output.
        size: (height, width) of the inputs.
        targets: The boxes of the inputs.

    Returns:
        ``score``: cross entropy with the assigned quality; unassigned cells in ignored regions are
            left out.
        ``box``: 1 - GIoU of the assigned cells, weighted by their quality. Both sums are divided by
            the sum of qualities of the whole batch, over all processes.

    Source: TOOD (Feng et al., ICCV 2021), section 3.3; GIoU: Rezatofighi et al., CVPR 2019.
    """
    centers, strides = cells(size, found.boxes.device)
    assignment = assign(
        found.boxes, found.logits.sigmoid(), centers, strides, targets.people, targets.real
    )
    positive = assignment.quality > 0
    region = torch.where(targets.ignored[..., None], targets.people, 0.0)
    silent = inside(centers, region).any(dim=1) & ~positive
    total = weight_sum(assignment.quality)
    entropy = F.binary_cross_entropy_with_logits(found.logits, assignment.quality, reduction="none")
    goal = targets.people.gather(1, assignment.person[..., None].expand(-1, -1, 4))
    fit = 1 - paired_giou(found.boxes[positive], goal[positive])
    return {
        "score": entropy.masked_fill(silent, 0.0).sum() / total,
        "box": BOX_WEIGHT * (fit * assignment.quality[positive]).sum() / total,
    }


def distillation_loss(
    found: Detections, teacher_boxes: Tensor, teacher_scores: Tensor
) -> dict[str, Tensor]:
    """Score and box losses against a teacher's predictions for the same inputs and cells.

    Args:
        found: The net's output.
        teacher_boxes: ``(B, A, 4)`` xyxy input pixels.
        teacher_scores: ``(B, A)`` in [0, 1].
    """
    total = weight_sum(teacher_scores)
    entropy = F.binary_cross_entropy_with_logits(found.logits, teacher_scores, reduction="sum")
    seen = teacher_scores > TEACHER_BOX
    fit = 1 - paired_giou(found.boxes[seen], teacher_boxes[seen])
    return {
        "teacher_score": entropy / total,
        "teacher_box": BOX_WEIGHT * (fit * teacher_scores[seen]).sum() / total,
    }


def ssd_objective(
    output: SsdOutput, defaults: Tensor, size: tuple[int, int], targets: DetectionTargets
) -> dict[str, Tensor]:
    """`ssd_loss` for padded targets in input pixels."""
    scale = defaults.new_tensor([*size[::-1], *size[::-1]])
    shares = targets.people / scale
    people = [boxes[real] for boxes, real in zip(shares, targets.real, strict=True)]
    ignored = [boxes[region] for boxes, region in zip(shares, targets.ignored, strict=True)]
    return ssd_loss(output, defaults, people, ignored)
