"""`LiteSppe`, a pose estimator for CPUs: EfficientNet-Lite0 with a light top-down heatmap head.

Source: the head is a narrow feature pyramid (Lin et al., "Feature Pyramid Networks", CVPR 2017).
RMPE works with any SPPE; the paper uses a stacked hourglass (`rmpe.nets.hourglass`).
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from rmpe.nets.efficientnet_lite import EfficientNetLite0, Layers, conv_bn


class LiteSppe(nn.Module):
    """Maps images ``(B, 3, H, W)`` to a list of one heatmap tensor ``(B, joints, H/4, W/4)``.

    It consists of convolutions, batch norms, ReLU and nearest upsampling, which export and quantise
    well.

    Args:
        joints: Number of heatmaps.
        blocks: Depth of the backbone, 12 to 16, see `EfficientNetLite0`; 15 omits the widest block.
        head: Channels of the head at strides 32, 16, 8 and 4.
        pretrained: Start from ImageNet.
    """

    def __init__(
        self,
        joints: int,
        blocks: int = 15,
        head: Sequence[int] = (128, 96, 64, 48),
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = EfficientNetLite0(blocks, pretrained)
        self.early_channels = self.backbone.channels[1]
        self.lateral = nn.ModuleList(
            Layers(*conv_bn(inputs, width, 1))
            for inputs, width in zip(self.backbone.channels, reversed(head), strict=True)
        )
        # Narrow before upsampling, at a quarter of the cost.
        self.narrow = nn.ModuleList(
            Layers(*conv_bn(wide, narrow, 1)) for wide, narrow in pairwise(head)
        )
        self.smooth = nn.ModuleList(
            Layers(*conv_bn(width, width, 3), nn.ReLU(inplace=True)) for width in head[1:]
        )
        self.predict = nn.Conv2d(head[-1], joints, 1)
        nn.init.normal_(self.predict.weight, std=1e-3)

    @property
    def early(self) -> nn.Module:
        """The first blocks, with shared weights: images to ``early_channels``, stride 8."""
        return self.backbone.early()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Heatmaps, from the coarsest features up."""
        *finer, features = (
            lateral(level)
            for lateral, level in zip(self.lateral, self.backbone(images), strict=True)
        )
        for level, narrow, smooth in zip(reversed(finer), self.narrow, self.smooth, strict=True):
            height, width = level.shape[-2:]
            up = F.interpolate(narrow(F.relu(features)), scale_factor=2.0, mode="nearest")
            # Crop the upsampled features: an odd side was rounded up when it was halved.
            features = smooth(F.relu(level + up[..., :height, :width]))
        return [self.predict(features)]
