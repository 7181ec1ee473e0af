"""Task-aligned assignment of a dense detector's cells to people.

The cells whose scores and boxes are best aligned with a person are trained to predict it; their
target score is the quality of that alignment.

Source: Feng et al., "TOOD: Task-aligned One-stage Object Detection", ICCV 2021, section 3.3.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor

from rmpe.nets.detectors.boxes import EPSILON, inside, pairwise_iou

# Exponents of score and IoU in the alignment, and the number of cells assigned to each person.
SCORE_POWER: Final = 0.5
IOU_POWER: Final = 6.0
CELLS_A_PERSON: Final = 10
# A person smaller than this many strides is treated as that large when searching for cells in it.
SMALLEST: Final = 1.5


class Assignment(NamedTuple):
    """The targets of the cells.

    Attributes:
        person: ``(B, A)`` int64, index of the cell's person; 0 if there is none.
        quality: ``(B, A)``, target score in [0, 1]; 0 is background.
    """

    person: Tensor
    quality: Tensor


@torch.no_grad()
def assign(
    boxes: Tensor, scores: Tensor, centers: Tensor, strides: Tensor, people: Tensor, real: Tensor
) -> Assignment:
    """Assign cells to people.

    Args:
        boxes: ``(B, A, 4)`` predicted boxes, xyxy input pixels.
        scores: ``(B, A)`` predicted scores in [0, 1].
        centers: ``(A, 2)`` centres of the cells.
        strides: ``(A, 1)``.
        people: ``(B, M, 4)`` true boxes, padded.
        real: ``(B, M)`` bool, true for rows of ``people`` that are not padding.

    Returns:
        At most ``CELLS_A_PERSON`` cells per person; a cell selected by several people is assigned
        to the one with the highest IoU.
    """
    overlaps = pairwise_iou(people, boxes)
    allowed = inside(centers, people, strides * SMALLEST) & real[..., None]
    alignment = scores[:, None] ** SCORE_POWER * overlaps**IOU_POWER * allowed
    best, index = alignment.topk(min(CELLS_A_PERSON, alignment.shape[-1]), dim=-1)
    chosen = torch.zeros_like(allowed).scatter_(-1, index, best > EPSILON**2) & allowed
    owner = torch.where(chosen, overlaps, -1.0).argmax(dim=1, keepdim=True)
    chosen &= torch.zeros_like(chosen).scatter_(1, owner, True)
    alignment = alignment * chosen
    overlaps = overlaps * chosen
    # The best cell's target is the person's highest IoU; the others' are scaled by alignment.
    quality = (
        alignment
        / alignment.amax(dim=-1, keepdim=True).clamp(min=EPSILON**2)
        * overlaps.amax(dim=-1, keepdim=True)
    )
    return Assignment(owner[:, 0], quality.amax(dim=1))
