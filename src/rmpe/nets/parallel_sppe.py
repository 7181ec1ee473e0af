"""The training network of the paper: STN, SPPE and SDTN in a row, and the frozen parallel SPPE
beside them.

Source: RMPE section 3.1, Figures 3 and 4.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from rmpe.nets.sstn import Size, sdtn, stn


@dataclass(frozen=True)
class SstnOutput:
    """What one pass of `SstnSppe` gives.

    Attributes:
        theta: ``(B, 2, 3)`` centred_to_disturbed, normalised.
        centred_images: ``(B, 3, H, W)`` the STN's output; the parallel SPPE looks at these.
        centred_heatmaps: One ``(B, K, h, w)`` a stack, in the frame of the STN's output.
        heatmaps: The same after the SDTN, in the frame of the proposal's crop: the main loss
            compares these.
    """

    theta: Tensor
    centred_images: Tensor
    centred_heatmaps: list[Tensor]
    heatmaps: list[Tensor]


class SstnSppe(nn.Module):
    """STN -> SPPE -> SDTN: the main branch, and all that is left of the network after training.

    Args:
        sppe: Pose estimator, images ``(B, 3, H, W)`` to a list of heatmaps.
        localisation: Images to theta ``(B, 2, 3)``.

    Source: section 3.1, Figure 3.
    """

    sppe: nn.Module
    localisation: nn.Module

    def __init__(self, sppe: nn.Module, localisation: nn.Module) -> None:
        super().__init__()
        self.sppe = sppe
        self.localisation = localisation

    def forward(
        self, images: Tensor, source: Callable[[Tensor, Size], Tensor] | None = None
    ) -> SstnOutput:
        """One pass over proposals' crops ``(B, 3, H, W)``.

        Args:
            images: Normalised crops; the STN looks at these.
            source: Theta and a size (height, width) to what the pose estimator looks at, sampled
                from where the crops came from (the composed way); without it the crops themselves
                are sampled, as in the paper.
        """
        height, width = images.shape[-2:]
        theta = self.localisation(images)
        centred_images = (
            source(theta, (height, width)) if source else stn(images, theta, (height, width))
        )
        centred_heatmaps = self.sppe(centred_images)
        return SstnOutput(
            theta,
            centred_images,
            centred_heatmaps,
            [sdtn(maps, theta) for maps in centred_heatmaps],
        )


class ParallelSppe(nn.Module):
    """A frozen copy of a trained pose estimator that judges the STN's output; there is no SDTN
    behind it.

    Its target is the true pose in the centred, undisturbed crop. No weight and no batch-norm
    statistic of it ever changes, `train` or not, so its error can only move the STN. It has no
    place in an exported model.

    Args:
        sppe: A trained pose estimator; copied, so the main branch may go on learning.

    Source: section 3.1, "Parallel SPPE".
    """

    def __init__(self, sppe: nn.Module) -> None:
        super().__init__()
        self.sppe = copy.deepcopy(sppe).requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "ParallelSppe":  # noqa: ARG002 - frozen whatever is asked
        """Stay in evaluation mode: batch-norm statistics are frozen too."""
        return super().train(False)

    def forward(self, centred_images: Tensor) -> list[Tensor]:
        """Heatmaps ``(B, K, h, w)`` a stack of the STN's output ``(B, 3, H, W)``; gradients reach the images."""
        heatmaps: list[Tensor] = self.sppe(centred_images)
        return heatmaps
