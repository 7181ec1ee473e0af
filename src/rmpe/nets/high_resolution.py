"""`HighResolutionSppe`, a pose estimator that keeps a fine resolution beside coarser ones.

Source: the layout is that of Sun et al., "Deep high-resolution representation learning for human
pose estimation", CVPR 2019: parallel resolutions that exchange what they find.
Differs: depthwise filters; one block at the finest resolution, where it costs most, and two at the
others. An exchange brings all coarser features to a resolution, but of the finer ones only the
next. A stage ends before its ReLU and begins with it: its answers are linear in its last layer.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from rmpe.nets.efficientnet_lite import BN_EPSILON, Conv, Layers

STEM = 32
MIDDLE = 48
# Int8 depthwise filters of ONNX Runtime take channels sixteen at a time: 40 take twice as long as
# 48, so a block searches with 48.
LANES = 16


def conv_bn(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """A bias-free convolution with symmetric padding and its batch norm, for `Layers`."""
    padding = kernel // 2
    convolution = Conv(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs, eps=BN_EPSILON)]


def separable(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """A depthwise 3x3 and a 1x1 convolution."""
    return [*conv_bn(inputs, inputs, 3, stride, groups=inputs), *conv_bn(inputs, outputs)]


def double(features: Tensor, like: Tensor) -> Tensor:
    """Features at twice the resolution, cut to the sides of ``like``, which may be odd."""
    height, width = like.shape[-2:]
    return F.interpolate(features, scale_factor=2.0, mode="nearest")[..., :height, :width]


class Stem(nn.Module):
    """Images ``(B, 3, H, W)`` to features at strides 4 and 8."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.early = Layers(
            *conv_bn(3, STEM, 3, 2),
            nn.ReLU(),
            *conv_bn(STEM, 2 * STEM),
            nn.ReLU(),
            *separable(2 * STEM, MIDDLE, 2),
            nn.ReLU(),
        )
        self.fine = Layers(*separable(MIDDLE, widths[0]))
        self.coarse = Layers(*separable(MIDDLE, widths[1], 2))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features, finest first."""
        features = self.early(images)
        return [self.fine(features), self.coarse(features)]


class Block(nn.Module):
    """1x1, depthwise and 1x1 convolution beside a 1x1 convolution that keeps what is to be kept.

    Between the first two are as many channels as come in, or up to `LANES` more.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        keep = Conv(width, width, 1, bias=False)
        nn.init.dirac_(keep.weight)
        self.keep = Layers(keep, nn.BatchNorm2d(width, eps=BN_EPSILON))
        wide = -(-width // LANES) * LANES
        self.find = Layers(*conv_bn(width, wide), nn.ReLU(), *separable(wide, width))

    def forward(self, features: Tensor) -> Tensor:
        """The same shape."""
        return F.relu(self.keep(features) + self.find(features))


class Stage(nn.Module):
    """Blocks at each resolution, then the exchange; a new coarsest one if ``after`` is longer.

    Features are given before their ReLU.

    Args:
        before: Channels of each resolution that comes in, finest first.
        after: Channels of each that leaves; at most one more.
        blocks: Number of blocks at each.
    """

    def __init__(self, before: Sequence[int], after: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        grows = len(after) > len(before)
        self.new = Layers(*separable(before[-1], after[-1], 2), nn.ReLU()) if grows else None
        self.blocks = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(count)))
            for width, count in zip(after, blocks, strict=True)
        )
        self.own = nn.ModuleList(Layers(*conv_bn(width, width)) for width in after)
        self.up = nn.ModuleList(
            nn.ModuleList(Layers(*conv_bn(low, high)) for low in after[place + 1 :])
            for place, high in enumerate(after)
        )
        self.down = nn.ModuleList(Layers(*separable(high, low, 2)) for high, low in pairwise(after))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Features of each resolution, finest first."""
        features = [F.relu(one) for one in features]
        if self.new is not None:
            features.append(self.new(features[-1]))
        found = [block(one) for block, one in zip(self.blocks, features, strict=True)]
        return [self._exchanged(place, found) for place in range(len(found))]

    def _exchanged(self, place: int, found: list[Tensor]) -> Tensor:
        mixed: Tensor = self.own[place](found[place])
        ups = cast(nn.ModuleList, self.up[place])
        # The coarsest first, each sum doubled with the next: only the last is large.
        coarser: Tensor | None = None
        for up, one in reversed(list(zip(ups, found[place + 1 :], strict=True))):
            raised = up(one)
            coarser = raised if coarser is None else raised + double(coarser, raised)
        if coarser is not None:
            mixed = mixed + double(coarser, mixed)
        return mixed + self.down[place - 1](found[place - 1]) if place else mixed


class Head(nn.Module):
    """Heatmaps at stride 4 from all resolutions, coarse to fine."""

    def __init__(self, widths: Sequence[int], joints: int) -> None:
        super().__init__()
        narrow = [widths[0], *widths[:-1]]
        self.lateral = nn.ModuleList(
            Layers(*separable(wide, width)) for wide, width in zip(widths, narrow, strict=True)
        )
        self.up = nn.ModuleList(Layers(*conv_bn(low, high)) for high, low in pairwise(narrow))
        self.smooth = Layers(*separable(narrow[0], narrow[0]), nn.ReLU())
        self.predict = nn.Conv2d(narrow[0], joints, 1)
        nn.init.normal_(self.predict.weight, std=1e-3)

    def forward(self, features: list[Tensor]) -> Tensor:
        """``(B, joints, H/4, W/4)``."""
        *finer, coarsest = (
            lateral(F.relu(one)) for lateral, one in zip(self.lateral, features, strict=True)
        )
        joined = F.relu(coarsest)
        for level, up in zip(reversed(finer), reversed(self.up), strict=True):
            joined = F.relu(level + double(up(joined), level))
        heatmaps: Tensor = self.predict(self.smooth(joined))
        return heatmaps


class HighResolutionSppe(nn.Module):
    """Maps images ``(B, 3, H, W)`` to a list of one heatmap tensor ``(B, joints, H/4, W/4)``.

    Args:
        joints: Number of heatmaps.
        stages: Number of resolutions after each stage; the stem gives two.
        widths: Channels at strides 4, 8, 16 and 32.
        blocks: Blocks at each, between two exchanges.
    """

    # The stem's convolutions: features that all later ones build on, so they stay float in int8.
    float_first = 8

    def __init__(
        self,
        joints: int,
        stages: Sequence[int] = (2, 2, 3, 3, 3, 3, 4, 4),
        widths: Sequence[int] = (40, 80, 160, 320),
        blocks: Sequence[int] = (1, 2, 2, 2),
    ) -> None:
        super().__init__()
        self.stem = Stem(widths)
        self.stages = nn.ModuleList(
            Stage(widths[:before], widths[:after], blocks[:after])
            for before, after in pairwise([2, *stages])
        )
        self.head = Head(widths[: stages[-1]], joints)
        self.early_channels = widths[1]

    @property
    def early(self) -> nn.Module:
        """The first layers, with shared weights: images to ``early_channels``, stride 8."""
        return nn.Sequential(self.stem.early, self.stem.coarse)

    def last_biases(self) -> list[list[Tensor]]:
        """The biases that the answers of the stem and of each stage end with, finest first."""
        ends = [[self.stem.fine, self.stem.coarse]]
        ends += [cast(list[Layers], list(cast(Stage, stage).own)) for stage in self.stages]
        return [[cast(Tensor, layers[-1].bias) for layers in end] for end in ends]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Heatmaps."""
        features = self.stem(images)
        for stage in self.stages:
            features = stage(features)
        return [self.head(features)]
