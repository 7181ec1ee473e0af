"""SSD's objective: matching of default boxes, class and box losses, hard negative mining.

Source: Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, section 2.2.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from rmpe.nets.detectors.boxes import corners, inside, pairwise_iou
from rmpe.nets.detectors.ssd512 import SsdOutput, encode
from rmpe.training.optim import weight_sum

# Smallest IoU of a match beyond each person's best default box.
MATCH: Final = 0.5
# Negatives per matched default box.
NEGATIVES: Final = 3


def match_defaults(people: Tensor, defaults: Tensor) -> Tensor:
    """The target person of each default box.

    Each person is matched with the default box of highest IoU; then each default box with an IoU
    above one half is matched with its best person.

    Args:
        people: ``(M, 4)`` xyxy, fractions of the input.
        defaults: ``(A, 4)`` centre and sides.

    Returns:
        ``(A,)`` int64, index of the person; -1 is background.

    Source: SSD, section 2.2, "Matching strategy".
    """
    if not len(people):
        return torch.full((len(defaults),), -1, device=defaults.device)
    iou = pairwise_iou(people, corners(defaults))
    best, person = iou.max(dim=0)
    person = torch.where(best > MATCH, person, -1)
    free = iou.clone()
    # The best pair comes first, so two people never share their only box.
    for _ in range(len(people)):
        row, column = divmod(int(free.argmax()), len(defaults))
        person[column] = row
        free[row] = -1
        free[:, column] = -1
    return person


def ssd_loss(
    output: SsdOutput, defaults: Tensor, people: Sequence[Tensor], ignored: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Class and box losses, each divided by the number of matched default boxes of the whole batch.

    Args:
        output: The net's output.
        defaults: ``(A, 4)`` centre and sides.
        people: One ``(M, 4)`` per image, xyxy, fractions of the input.
        ignored: One ``(R, 4)`` per image; background boxes with their centre in such a region are
            never negatives.

    Source: SSD, equations 1 and 2, and section 2.2, "Hard negative mining".
    Differs: an image without people contributes as many negatives as one with a single matched box;
        in the paper it contributes nothing.
    """
    person = torch.stack([match_defaults(boxes, defaults) for boxes in people])
    matched = person >= 0
    entropy = F.cross_entropy(output.classes.transpose(1, 2), matched.long(), reduction="none")
    silent = torch.stack([inside(defaults[:, :2], regions).any(dim=0) for regions in ignored])
    silent &= ~matched
    hardness = entropy.detach().masked_fill(matched | silent, 0.0)
    rank = hardness.argsort(dim=1, descending=True).argsort(dim=1)
    quota = NEGATIVES * matched.sum(dim=1, keepdim=True).clamp(min=1)
    counted = matched | ((rank < quota) & ~silent)
    goal = torch.stack(
        [
            encode(boxes[index.clamp(min=0)], defaults)
            if len(boxes)
            else torch.zeros_like(defaults)
            for boxes, index in zip(people, person, strict=True)
        ]
    )
    total = weight_sum(matched)
    return {
        "class": (entropy * counted).sum() / total,
        "box": F.smooth_l1_loss(output.offsets[matched], goal[matched], reduction="sum") / total,
    }
