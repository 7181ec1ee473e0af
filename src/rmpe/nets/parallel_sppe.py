"""The training network of the paper: STN, SPPE and SDTN, with a frozen parallel SPPE.

Source: RMPE, section 3.1, Figures 3 and 4.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from rmpe.nets.sstn import Size, sdtn, stn


@dataclass(frozen=True)
class SstnOutput:
    """The output of `SstnSppe`.

    Attributes:
        theta: ``(B, 2, 3)`` centred_to_disturbed, normalised.
        centred_images: ``(B, 3, H, W)``, the STN's output and the parallel SPPE's input.
        centred_heatmaps: One ``(B, K, h, w)`` per stack, in the frame of the STN's output.
        heatmaps: The heatmaps after the SDTN, in the frame of the proposal's crop; the input of the
            main loss.
    """

    theta: Tensor
    centred_images: Tensor
    centred_heatmaps: list[Tensor]
    heatmaps: list[Tensor]


class SstnSppe(nn.Module):
    """STN -> SPPE -> SDTN: the main branch, the only part of the network used after training.

    Args:
        sppe: Pose estimator; maps images ``(B, 3, H, W)`` to a list of heatmaps.
        localisation: Maps images to theta ``(B, 2, 3)``.

    Source: RMPE, section 3.1, Figure 3.
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
        """Run the main branch on crops of proposals.

        Args:
            images: ``(B, 3, H, W)``, normalised crops, the input of the localisation net.
            source: Samples the SPPE's input, given theta and (height, width), directly from the
                image that the crops come from; without it the crops are resampled, as in the paper.
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
    """A frozen copy of a trained pose estimator on the STN's output, without an SDTN.

    Its target is the true pose in the centred crop. Its weights and batch-norm statistics never
    change, even after `train`, so its loss only trains the STN. It is not part of an exported
    model.

    Args:
        sppe: A trained pose estimator; it is copied, so the main branch can continue to learn.

    Source: RMPE, section 3.1, "Parallel SPPE".
    """

    def __init__(self, sppe: nn.Module) -> None:
        super().__init__()
        self.sppe = copy.deepcopy(sppe).requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "ParallelSppe":  # noqa: ARG002 - always frozen
        """Stay in evaluation mode, whatever ``mode`` is: batch-norm statistics are frozen too."""
        return super().train(False)

    def forward(self, centred_images: Tensor) -> list[Tensor]:
        """Heatmaps ``(B, K, h, w)`` per stack of the STN's output; gradients reach the images."""
        heatmaps: list[Tensor] = self.sppe(centred_images)
        return heatmaps
