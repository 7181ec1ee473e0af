"""Stacked hourglass pose estimator, the paper's SPPE.

Source: Newell, Yang, Deng, "Stacked Hourglass Networks for Human Pose Estimation", ECCV 2016; used
in RMPE, section 4.1.
"""

from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    """Pre-activation bottleneck residual block, ``(B, inputs, h, w)`` to ``(B, outputs, h, w)``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = outputs // 2
        self.branch = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, middle, 1, bias=False),
            nn.BatchNorm2d(middle), nn.ReLU(), nn.Conv2d(middle, middle, 3, padding=1, bias=False),
            nn.BatchNorm2d(middle), nn.ReLU(), nn.Conv2d(middle, outputs, 1),
        )  # fmt: skip
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Same height and width."""
        out: Tensor = self.branch(features) + self.skip(features)
        return out


class Hourglass(nn.Module):
    """One hourglass: ``depth`` halvings and doublings, with a residual skip at each resolution."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.skip = Residual(channels, channels)
        self.down = Residual(channels, channels)
        self.inner = Hourglass(channels, depth - 1) if depth > 1 else Residual(channels, channels)
        self.up = Residual(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Same shape."""
        low = self.up(self.inner(self.down(F.max_pool2d(features, 2))))
        out: Tensor = self.skip(features) + F.interpolate(low, scale_factor=2.0, mode="nearest")
        return out


class StackedHourglass(nn.Module):
    """Hourglasses in a row, each with its own heatmaps (intermediate supervision).

    Maps images ``(B, 3, H, W)`` to a list of ``stacks`` heatmaps ``(B, joints, H/4, W/4)``; the
    last is the prediction. Height and width must be multiples of ``4 * 2**depth`` (64 by default).

    Args:
        joints: Number of heatmaps.
        stacks: Number of hourglasses; the paper uses 4 for the parallel SPPE and 4 or 8 for the
            main one.
        channels: Width of the hourglasses; the stem uses a quarter and a half of it.
        depth: Number of halvings inside an hourglass.
    """

    def __init__(self, joints: int, stacks: int = 4, channels: int = 256, depth: int = 4) -> None:
        super().__init__()
        self.early = nn.Sequential(
            nn.Conv2d(3, channels // 4, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(channels // 4), nn.ReLU(),
            Residual(channels // 4, channels // 2), nn.MaxPool2d(2),
            Residual(channels // 2, channels // 2), Residual(channels // 2, channels),
        )  # fmt: skip
        self.early_channels = channels
        self.hourglasses = nn.ModuleList(Hourglass(channels, depth) for _ in range(stacks))
        self.necks = nn.ModuleList(
            nn.Sequential(
                Residual(channels, channels), nn.Conv2d(channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels), nn.ReLU(),
            )
            for _ in range(stacks)
        )  # fmt: skip
        self.heads = nn.ModuleList(nn.Conv2d(channels, joints, 1) for _ in range(stacks))
        self.merge_features = nn.ModuleList(
            nn.Conv2d(channels, channels, 1) for _ in range(stacks - 1)
        )
        self.merge_heatmaps = nn.ModuleList(
            nn.Conv2d(joints, channels, 1) for _ in range(stacks - 1)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Heatmaps of every stack; the last is the prediction."""
        features = self.early(images)
        heatmaps: list[Tensor] = []
        for index, (hourglass, neck, head) in enumerate(
            zip(self.hourglasses, self.necks, self.heads, strict=True)
        ):
            seen = neck(hourglass(features))
            heatmaps.append(head(seen))
            if index < len(self.merge_features):
                features = (
                    features
                    + self.merge_features[index](seen)
                    + self.merge_heatmaps[index](heatmaps[-1])
                )
        return heatmaps
