"""Localisation nets of the STN: from a proposal's crop to theta. All start at the identity.

Source: RMPE, section 3.1 (ResNet-18); the other nets are ours, for CPUs.
"""

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rmpe.nets.hourglass import StackedHourglass
from rmpe.nets.lite import LiteSppe
from rmpe.nets.sstn import PARAMETERS, Motion, Size, theta_from_parameters


def conv_bn_relu(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """Convolution, batch norm, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class BasicBlock(nn.Module):
    """The residual block of ResNet-18: two 3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *conv_bn_relu(inputs, outputs, 3, stride),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, features: Tensor) -> Tensor:
        """``(B, inputs, h, w)`` to ``(B, outputs, h / stride, w / stride)``."""
        return F.relu(self.branch(features) + self.skip(features))


class Localisation(nn.Module):
    """Maps images ``(B, 3, *size)`` to theta ``(B, 2, 3)`` in normalised coordinates.

    Theta is the identity before training.

    Args:
        features: Maps images to ``(B, C, h, w)``.
        head: Maps those features to a flat vector.
        size: (height, width) of the images.
        motion: The family of maps, see `theta_from_parameters`.
        shrink: Factor of average pooling applied to the images first.
    """

    def __init__(
        self, features: nn.Module, head: nn.Module, size: Size, motion: Motion, shrink: int = 1
    ) -> None:
        super().__init__()
        self.features = features
        self.head = head
        self.size = (size[0], size[1])
        self.motion = motion
        self.shrink = shrink
        probe = torch.zeros(2, 3, size[0] // shrink, size[1] // shrink)
        was_training = self.training
        self.eval()
        with torch.no_grad():
            width = head(features(probe)).shape[1]
        self.train(was_training)
        self.last = nn.Linear(width, PARAMETERS[motion])
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Theta, centred_to_disturbed."""
        if self.shrink > 1:
            images = F.avg_pool2d(images, self.shrink)
        parameters = self.last(self.head(self.features(images)))
        return theta_from_parameters(parameters, self.motion, self.size[1] / self.size[0])


class ResNet18Localisation(Localisation):
    """The paper's net: ResNet-18 with random weights, global average pooling, one linear layer."""

    def __init__(self, size: Size, motion: Motion = "affine") -> None:
        widths = (64, 128, 256, 512)
        inputs = 64
        layers = [*conv_bn_relu(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
        for width in widths:
            layers += [
                BasicBlock(inputs, width, 1 if width == 64 else 2),
                BasicBlock(width, width, 1),
            ]
            inputs = width
        super().__init__(
            nn.Sequential(*layers),
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            size,
            motion,
        )


class EarlyLocalisation(Localisation):
    """A copy of the early blocks of a pose estimator, then strided convolutions.

    The last features are a small grid of cells, which keeps spatial information.

    Args:
        sppe: Pose estimator to copy from, preferably trained.
        size: (height, width) of the images.
        motion: The family of maps.
        width: Channels after the early blocks.
        shrink: Factor of average pooling applied to the images first.
    """

    def __init__(
        self,
        sppe: LiteSppe | StackedHourglass,
        size: Size,
        motion: Motion = "zoom",
        width: int = 64,
        shrink: int = 1,
    ) -> None:
        layers = [copy.deepcopy(sppe.early), *conv_bn_relu(sppe.early_channels, width, 3, 2)]
        layers += conv_bn_relu(width, width, 3, 2)
        super().__init__(nn.Sequential(*layers), _flat(width), size, motion, shrink)


class BackboneLocalisation(Localisation):
    """A copy of the whole backbone of a pose estimator with a small head; it learns fastest.

    With ``freeze = ["features"]`` only the head is trained, and the backbone costs only a forward
    pass per step.

    Args:
        sppe: Pose estimator whose backbone is copied.
        size: (height, width) of the images.
        motion: The family of maps.
        cells: Channels of the coarsest features after a 1x1 convolution.
        shrink: Factor of average pooling applied to the images first.
    """

    def __init__(
        self, sppe: LiteSppe, size: Size, motion: Motion = "zoom", cells: int = 32, shrink: int = 1
    ) -> None:
        channels = sppe.backbone.channels[-1]
        super().__init__(Coarsest(sppe.backbone), _flat(channels, cells), size, motion, shrink)


class Coarsest(nn.Module):
    """The coarsest features of a copy of a backbone."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(backbone)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` to features ``(B, C, h, w)``."""
        features: Tensor = self.backbone(images)[-1]
        return features


class TinyLocalisation(Localisation):
    """A small residual net on a downscaled crop, for CPUs.

    Args:
        size: (height, width) of the images, which are first downscaled by an integer factor.
        motion: The family of maps.
        widths: Channels after each halving.
        height: Smallest height after downscaling.
    """

    def __init__(
        self,
        size: Size,
        motion: Motion = "zoom",
        widths: Sequence[int] = (24, 32, 64, 96),
        height: int = 128,
    ) -> None:
        layers = conv_bn_relu(3, widths[0], 3, 2)
        for inputs, outputs in pairwise(widths):
            layers.append(BasicBlock(inputs, outputs, 2))
        shrink = max(1, size[0] // height)
        super().__init__(nn.Sequential(*layers), _flat(widths[-1]), size, motion, shrink)


def _flat(channels: int, cells: int = 16, width: int = 128) -> nn.Module:
    """Reduce the channels, then flatten and mix all cells; unlike pooling, this keeps positions."""
    return nn.Sequential(
        *conv_bn_relu(channels, cells, 1), nn.Flatten(), nn.LazyLinear(width), nn.ReLU(inplace=True)
    )
