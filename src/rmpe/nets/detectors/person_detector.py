"""A small anchor-free person detector: EfficientNet-Lite backbone, feature pyramid, decoupled
heads.

Every cell of three grids (strides 8, 16, 32) says how surely a person's box belongs to it and where
that box lies. No cell is tied to one person's middle, so people who overlap are answered for by
different cells.

Source: backbone EfficientNet-Lite0 (Tan and Le, ICML 2019); pyramid with a way back up (Liu et al.,
"Path aggregation network", CVPR 2018); boxes and heads like YOLOX (Ge et al., 2021) with one score
instead of two.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from rmpe.nets.efficientnet_lite import Conv, EfficientNetLite0

STRIDES: Final = (8, 16, 32)
# Where training starts: a score of 1 in 100, and a standing person of about 3 x 6 strides.
PRIOR: Final = 0.01
START_SIDES: Final = (3.0, 6.0)
# Of the backbone's blocks these are left out: each is a skip plus a correction, so what follows
# still fits.
LEFT_OUT: Final = (7, 10)
# exp() of a box side stays finite in float16.
LARGEST_SIDE: Final = 8.0


class Detections(NamedTuple):
    """What the net says; ``A`` cells, finest stride first, rows of the grid one after another.

    Attributes:
        boxes: ``(B, A, 4)`` xyxy input pixels.
        logits: ``(B, A)``, scores before the sigmoid.
    """

    boxes: Tensor
    logits: Tensor


class PersonDetector(nn.Module):
    """Images ``(B, 3, H, W)``, normalised, sides multiples of 32, to one box and score a cell.

    Args:
        width: Channels of pyramid and heads.
        depth: Layers of each head.
        pretrained: Start the backbone from ImageNet.
    """

    def __init__(self, width: int = 64, depth: int = 2, pretrained: bool = False) -> None:
        super().__init__()
        self.backbone = FoldedBackbone(LEFT_OUT, pretrained)
        self.lateral = nn.ModuleList(conv(channels, width) for channels in self.backbone.channels)
        self.down = nn.ModuleList(separable(width) for _ in STRIDES[1:])
        self.up = nn.ModuleList(separable(width, stride=2) for _ in STRIDES[1:])
        self.merge = nn.ModuleList(separable(width) for _ in STRIDES[1:])
        self.score_heads = nn.ModuleList(
            head(width, depth, torch.tensor([-math.log(1 / PRIOR - 1)])) for _ in STRIDES
        )
        start = torch.tensor([0.0, 0.0, *map(math.log, START_SIDES)])
        self.box_heads = nn.ModuleList(head(width, depth, start) for _ in STRIDES)

    def forward(self, images: Tensor) -> Detections:
        """Boxes and logits of all cells."""
        features = [
            lateral(level)
            for lateral, level in zip(self.lateral, self.backbone(images), strict=True)
        ]
        for fine in (1, 0):
            coarse = F.interpolate(features[fine + 1], scale_factor=2.0, mode="nearest")
            features[fine] = self.down[fine](features[fine] + coarse)
        for coarse_level in (1, 2):
            finer = self.up[coarse_level - 1](features[coarse_level - 1])
            features[coarse_level] = self.merge[coarse_level - 1](features[coarse_level] + finer)
        scores = [
            head(level).flatten(2) for head, level in zip(self.score_heads, features, strict=True)
        ]
        raw = torch.cat(
            [head(level).flatten(2) for head, level in zip(self.box_heads, features, strict=True)],
            dim=2,
        )
        centers, strides = cells(images.shape[-2:], images.device)
        return Detections(
            decode(raw.transpose(1, 2), centers, strides), torch.cat(scores, dim=2)[:, 0]
        )

    def detect(self, images: Tensor) -> Detections:
        """What `Ssd512` calls so: the answer as boxes and logits."""
        found: Detections = self(images)
        return found


class FoldedBackbone(nn.Module):
    """EfficientNet-Lite0 down to stride 32, batch norms folded into the convolutions: features at
    strides 8, 16, 32.

    With few images a step, ImageNet's statistics are better than the batch's; folded they cost
    nothing.

    Args:
        left_out: Indices of the residual blocks to leave out.
        pretrained: Start from ImageNet.
    """

    def __init__(self, left_out: Sequence[int], pretrained: bool) -> None:
        super().__init__()
        whole = EfficientNetLite0(13, pretrained).eval()
        ends = whole.ends[1:]
        stages = [
            range(ends[0] + 1),
            range(ends[0] + 1, ends[1] + 1),
            range(ends[1] + 1, ends[2] + 1),
        ]
        blocks = [
            [whole.blocks[index] for index in stage if index not in left_out] for stage in stages
        ]
        self.stages = nn.ModuleList(
            nn.Sequential(*stage) for stage in ([whole.stem, *blocks[0]], blocks[1], blocks[2])
        )
        self.channels = whole.channels[1:]
        for module in [*self.modules()]:
            if isinstance(module, nn.Sequential):
                fold_batch_norms(module)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of ``(B, 3, H, W)`` normalised images, finest first."""
        features = []
        for stage in self.stages:
            images = stage(images)
            features.append(images)
        return features


def fold_batch_norms(layers: nn.Sequential) -> None:
    """Fold every batch norm that follows a convolution into it, in place."""
    for index, (layer, following) in enumerate(pairwise(layers)):
        if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
            layers[index] = fuse_conv_bn_eval(layer, following)
            layers[index + 1] = nn.Identity()


def conv(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        Conv(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def separable(width: int, kernel: int = 5, stride: int = 1) -> nn.Sequential:
    """A convolution by depth, then one by pixel."""
    return nn.Sequential(conv(width, width, kernel, stride, groups=width), conv(width, width))


def head(width: int, depth: int, start: Tensor) -> nn.Sequential:
    """``depth`` separable convolutions and a linear prediction of ``len(start)`` values, first about ``start``."""
    predict = nn.Conv2d(width, len(start), 1)
    nn.init.normal_(predict.weight, std=0.01)
    predict.bias = nn.Parameter(start.clone())
    return nn.Sequential(*(separable(width) for _ in range(depth)), predict)


def cells(size: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Middles ``(A, 2)`` (x, y) in input pixels and strides ``(A, 1)`` of all cells of an input of ``size`` (h, w)."""
    centers = []
    strides = []
    for stride in STRIDES:
        y = torch.arange(size[0] // stride, device=device, dtype=torch.float32)
        x = torch.arange(size[1] // stride, device=device, dtype=torch.float32)
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)
        centers.append((grid + 0.5) * stride)
        strides.append(torch.full_like(grid[:, :1], stride))
    return torch.cat(centers), torch.cat(strides)


def decode(raw: Tensor, centers: Tensor, strides: Tensor) -> Tensor:
    """Raw outputs ``(B, A, 4)`` (offset of the middle, logarithm of the sides, in strides) to xyxy input pixels."""
    middle = centers + raw[..., :2] * strides
    half = raw[..., 2:].clamp(max=LARGEST_SIDE).exp() * strides / 2
    return torch.cat([middle - half, middle + half], dim=-1)
