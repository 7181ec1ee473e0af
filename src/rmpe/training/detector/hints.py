"""Hints for the person detector: it learns a teacher's features at every cell.

Scores and boxes say something where there are people; features do at every cell. The detector's
need not be the teacher's channel by channel: what counts is whether a linear map makes the one of
the other.

Source: Romero et al., "FitNets: hints for thin deep nets", ICLR 2015.
Differs: the linear map is the best one for the batch, in closed form, instead of a layer that
    learns. Not in the RMPE paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rmpe.errors import ModelError
from rmpe.nets.detectors.person_detector import (
    STRIDES,
    Detections,
    PersonDetector,
    detections,
)
from rmpe.training.optim import batch_share

# Of the mean square of the features, so that the best map is unique.
RIDGE = 1e-3
# Of the mean variance of the teacher's channels: channels that hardly vary do not count as others.
FLOOR = 0.02
PLACES = ("pyramid", "score heads", "box heads")


@dataclass(frozen=True)
class DetectorHintsConfig:
    """Which of the teacher's features a ``person_detector`` learns; see `HintedDetector`.

    Attributes:
        tensors: Names of tensors inside the teacher: three for the pyramid, three for the layers of
            the score heads and three for those of the box heads, each at strides 8, 16 and 32.
            Empty = no hints.
        weight: Weight of the hints in the loss.
    """

    tensors: tuple[tuple[str, ...], ...] = ()
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError(f"hints.weight = {self.weight} must be above 0")
        if self.tensors and [len(names) for names in self.tensors] != [len(STRIDES)] * len(PLACES):
            raise ValueError(
                f"hints.tensors needs a list for each of {', '.join(PLACES)}, each of"
                f" {len(STRIDES)} names"
            )

    @property
    def names(self) -> list[str]:
        """All names, in order."""
        return [name for names in self.tensors for name in names]


class HintedDetector(nn.Module):
    """A detector with the features that `missed_variance` compares, in the order of the hints."""

    def __init__(self, net: PersonDetector) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Detections, list[Tensor]]:
        """Detections as those of the net, and the features of pyramid, score and box heads."""
        pyramid = self.net.pyramid(images)
        scores, boxes = self.net.searched(pyramid)
        found = detections(*self.net.predict(scores, boxes))
        return found, [*pyramid, *scores, *boxes]


def hint_loss(features: Sequence[Tensor], hints: Sequence[Tensor]) -> Tensor:
    """This process's share of the mean of `missed_variance` over features and the whole batch.

    Raises:
        ModelError: If features are not of one resolution.
    """
    for place, (one, hint) in enumerate(zip(features, hints, strict=True)):
        if one.shape[-2:] != hint.shape[-2:]:
            raise ModelError(
                f"hints.tensors, list {place // len(STRIDES) + 1}: the teacher's are"
                f" {tuple(hint.shape[1:])}, the net's {tuple(one.shape[1:])}"
            )
    missed = [missed_variance(one, hint) for one, hint in zip(features, hints, strict=True)]
    return torch.stack(missed).mean() * batch_share(features[0])


def missed_variance(features: Tensor, hint: Tensor) -> Tensor:
    """Share of the variance of a hint's channels that no linear map of the features gives.

    0 = the features hold all of it, 1 = nothing but the means.

    Args:
        features: ``(B, C, h, w)``.
        hint: ``(B, D, h, w)``.
    """
    own, theirs = (
        one.float().permute(0, 2, 3, 1).reshape(-1, one.shape[1]) for one in (features, hint)
    )
    own = torch.cat([own, torch.ones_like(own[:, :1])], dim=1)
    with torch.autocast(own.device.type, enabled=False):  # too coarse to solve for the map
        with torch.no_grad():  # around the best map, its own changes do not change the error
            squares = own.T @ own
            squares.diagonal().add_(RIDGE * squares.diagonal().mean())
            best = torch.linalg.solve(squares, own.T @ theirs)
        missed = (own @ best - theirs).square().mean(dim=0)
    variance = theirs.var(dim=0)
    return (missed / (variance + FLOOR * variance.mean() + 1e-12)).mean()
