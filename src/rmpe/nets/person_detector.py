"""A small anchor-free person detector: EfficientNet-Lite backbone, feature pyramid, decoupled heads.

Every cell of three grids (strides 8, 16, 32) says how surely a person's box belongs to it and where that box lies. A
cell may answer for any box near it, so people who overlap are answered for by different cells.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDES = (8, 16, 32)
# EfficientNet-Lite0's blocks: kernel, stride, expansion, channels in, channels out.
BLOCKS = (
    (3, 1, 1, 32, 16),
    (3, 2, 6, 16, 24),
    (3, 1, 6, 24, 24),
    (5, 2, 6, 24, 40),
    (5, 1, 6, 40, 40),
    (3, 2, 6, 40, 80),
    (3, 1, 6, 80, 80),
    (3, 1, 6, 80, 80),
    (5, 1, 6, 80, 112),
    (5, 1, 6, 112, 112),
    (5, 1, 6, 112, 112),
    (5, 2, 6, 112, 192),
    (5, 1, 6, 192, 192),
    (5, 1, 6, 192, 192),
    (5, 1, 6, 192, 192),
    (3, 1, 6, 192, 320),
)


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's padding for even inputs: at stride 2 the odd pixel goes right and below."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(c_in, c_out, kernel, stride, 0 if stride == 2 else kernel // 2, groups=groups)
        self.before = (kernel - 1) // 2 if stride == 1 else (kernel - 2) // 2
        self.after = kernel - stride - self.before

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == (2, 2):
            x = F.pad(x, (self.before, self.after, self.before, self.after))
        return super().forward(x)


class InvertedResidual(nn.Module):
    def __init__(self, kernel: int, stride: int, expansion: int, c_in: int, c_out: int) -> None:
        super().__init__()
        wide = c_in * expansion
        self.expand = nn.Conv2d(c_in, wide, 1) if expansion > 1 else None
        self.depthwise = SameConv(wide, wide, kernel, stride, groups=wide)
        self.project = nn.Conv2d(wide, c_out, 1)
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


def conv(c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True)
    )


def separable(c_in: int, c_out: int, stride: int = 1, kernel: int = 5) -> nn.Sequential:
    return nn.Sequential(conv(c_in, c_in, kernel, stride, groups=c_in), conv(c_in, c_out))


class Backbone(nn.Module):
    def __init__(self, keep: Sequence[int]) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2)
        self.keep = keep
        self.blocks = nn.ModuleList(InvertedResidual(*BLOCKS[i]) for i in keep)

    def forward(self, x):
        x = F.relu6(self.stem(x))
        out = []
        for i, (index, block) in enumerate(zip(self.keep, self.blocks)):
            x = block(x)
            nxt = self.keep[i + 1] if i + 1 < len(self.keep) else None
            if index >= 3 and (nxt is None or BLOCKS[nxt][1] == 2):
                out.append(x)
        return out


class Det(nn.Module):
    def __init__(self, keep, width=64, branches=2, depth=2, kernel=5):
        super().__init__()
        self.backbone = Backbone(keep)
        with torch.no_grad():
            cs = [f.shape[1] for f in self.backbone(torch.zeros(1, 3, 64, 64))]
        self.lateral = nn.ModuleList(conv(c, width) for c in cs)
        self.down = nn.ModuleList(separable(width, width, kernel=kernel) for _ in cs[1:])
        self.up = nn.ModuleList(separable(width, width, 2, kernel) for _ in cs[1:])
        self.after = nn.ModuleList(separable(width, width, 1, kernel) for _ in cs[1:])
        self.heads = nn.ModuleList(nn.ModuleList(nn.Sequential(*(separable(width, width, kernel=kernel) for _ in range(depth))) for _ in range(branches)) for _ in cs)
        self.score = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in cs)
        self.box = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in cs)

    def forward(self, x):
        fs = [l(f) for l, f in zip(self.lateral, self.backbone(x))]
        for i in range(len(fs) - 1, 0, -1):
            fs[i - 1] = self.down[i - 1](fs[i - 1] + F.interpolate(fs[i], scale_factor=2.0))
        for i in range(1, len(fs)):
            fs[i] = self.after[i - 1](fs[i] + self.up[i - 1](fs[i - 1]))
        outs = []
        for f, h, s, b in zip(fs, self.heads, self.score, self.box):
            outs.append(torch.cat([b(h[-1](f)), s(h[0](f))], 1).flatten(2))
        return torch.cat(outs, 2).transpose(1, 2)
