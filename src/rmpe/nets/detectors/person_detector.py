"""A small anchor-free person detector.

EfficientNet-Lite backbone, feature pyramid, decoupled heads. Each cell of three grids (strides 8,
16, 32) predicts a score and a box. Cells are not tied to the centre of a person, so overlapping
people are predicted by different cells.

Source: backbone EfficientNet-Lite0 (Tan and Le, ICML 2019); pyramid with a bottom-up path (Liu et
al., "Path aggregation network", CVPR 2018); boxes and heads as in YOLOX (Ge et al., 2021) with one
score instead of two.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from rmpe.nets.efficientnet_lite import Conv, EfficientNetLite0

STRIDES: Final = (8, 16, 32)
# Initial predictions: a score of 0.01, and a standing person of about 3 x 6 strides.
PRIOR: Final = 0.01
START_SIDES: Final = (3.0, 6.0)
# Blocks of the backbone to omit. Each is a residual block, so the pretrained weights of the next
# blocks still fit.
LEFT_OUT: Final = (7, 10)
# Largest log side, so that exp() stays finite in float16.
LARGEST_SIDE: Final = 8.0


class Detections(NamedTuple):
    """The net's output for ``A`` cells: finest stride first, each grid in row-major order.

    Attributes:
        boxes: ``(B, A, 4)`` xyxy input pixels.
        logits: ``(B, A)``, scores before the sigmoid.
    """

    boxes: Tensor
    logits: Tensor


class PersonDetector(nn.Module):
    """Predicts one box and one score per cell.

    The input is normalised images ``(B, 3, H, W)`` with sides that are multiples of 32.

    Args:
        width: Channels of pyramid and heads.
        depth: Layers of each head.
        pretrained: Start the backbone from ImageNet.
    """

    # Int8 takes longer than float for three channels, and for few large ones by depth.
    float_first = 2

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
        return detections(*self.maps(images))

    def maps(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What `detections` takes: the logits and raw boxes of each level, finest first."""
        return self.predict(*self.searched(self.pyramid(images)))

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Features of ``width`` channels at each stride, finest first."""
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
        return features

    def searched(self, pyramid: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """What the layers of the score heads and of the box heads make of each level."""
        scores, boxes = (
            [
                cast(nn.Sequential, head)[:-1](level)
                for head, level in zip(heads, pyramid, strict=True)
            ]
            for heads in (self.score_heads, self.box_heads)
        )
        return scores, boxes

    def predict(
        self, scores: Sequence[Tensor], boxes: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """What the heads' last layers make of `searched`, for `detections`."""
        logits, raw = (
            [
                cast(nn.Sequential, head)[-1](level)
                for head, level in zip(heads, levels, strict=True)
            ]
            for heads, levels in ((self.score_heads, scores), (self.box_heads, boxes))
        )
        return logits, raw

    def detect(self, images: Tensor) -> Detections:
        """The same as `forward`; the method that all detectors share."""
        found: Detections = self(images)
        return found


class FoldedBackbone(nn.Module):
    """EfficientNet-Lite0 with batch norms folded into the convolutions.

    It returns features at strides 8, 16 and 32. With few images per step, ImageNet's statistics are
    better than those of the batch, and folding makes them free.

    Args:
        left_out: Indices of the residual blocks to omit.
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
    """A depthwise and a pointwise convolution."""
    return nn.Sequential(conv(width, width, kernel, stride, groups=width), conv(width, width))


def head(width: int, depth: int, start: Tensor) -> nn.Sequential:
    """``depth`` separable convolutions and a linear layer whose outputs start near ``start``."""
    predict = nn.Conv2d(width, len(start), 1)
    nn.init.normal_(predict.weight, std=0.01)
    predict.bias = nn.Parameter(start.clone())
    return nn.Sequential(*(separable(width) for _ in range(depth)), predict)


def detections(logits: Sequence[Tensor], raw: Sequence[Tensor]) -> Detections:
    """Boxes and logits of all cells.

    Args:
        logits: ``(B, 1, h, w)`` of each stride, finest first.
        raw: ``(B, 4, h, w)`` of each stride, for `decode`.
    """
    centers, strides = _cells([level.shape[-2:] for level in raw], raw[0].device)
    flat = torch.cat([level.flatten(2) for level in raw], dim=2)
    boxes = decode(flat.transpose(1, 2), centers, strides)
    return Detections(boxes, torch.cat([level.flatten(1) for level in logits], dim=1))


def cells(size: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Centres and strides of all cells.

    Args:
        size: (height, width) of the input.
        device: Device of the results.

    Returns:
        Centres ``(A, 2)`` as (x, y) in input pixels, and strides ``(A, 1)``.
    """
    return _cells([(size[0] // stride, size[1] // stride) for stride in STRIDES], device)


def _cells(grids: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """The same from the (rows, columns) of each grid."""
    centers = []
    strides = []
    for stride, (rows, columns) in zip(STRIDES, grids, strict=True):
        y = torch.arange(rows, device=device, dtype=torch.float32)
        x = torch.arange(columns, device=device, dtype=torch.float32)
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)
        centers.append((grid + 0.5) * stride)
        strides.append(torch.full_like(grid[:, :1], stride))
    return torch.cat(centers), torch.cat(strides)


def decode(raw: Tensor, centers: Tensor, strides: Tensor) -> Tensor:
    """Boxes ``(B, A, 4)`` xyxy in input pixels from raw outputs.

    Args:
        raw: ``(B, A, 4)``, offset of the centre and logarithm of the sides, in strides.
        centers: ``(A, 2)`` from `cells`.
        strides: ``(A, 1)`` from `cells`.
    """
    middle = centers + raw[..., :2] * strides
    half = raw[..., 2:].clamp(max=LARGEST_SIDE).exp() * strides / 2
    return torch.cat([middle - half, middle + half], dim=-1)
