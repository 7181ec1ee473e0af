"""SSD-512 with the single class person, the detector of the RMPE paper.

Net, default boxes and their offsets, in the order of the SSD paper.
`rmpe.nets.detectors.ssd512_weights` reads published weights; `rmpe.training.detector.ssd_loss` and
`rmpe.training.detector.patches` train it.

Source: RMPE, section 4 (a VGG-based SSD-512); SSD: Liu et al., "SSD: Single Shot MultiBox
    Detector", ECCV 2016, sections 2.1 (net, default boxes), 2.2 (scales, offsets), 3.1 (fc6/fc7,
    L2 norm).
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rmpe.nets.detectors.boxes import corners
from rmpe.nets.detectors.person_detector import Detections

SIZE: Final = 512
MAPS: Final = (64, 32, 16, 8, 4, 2, 1)
# Sides of the square default boxes as fractions of the input, as published for COCO. The last value
# is only the upper scale of the seventh map.
SCALES: Final = (0.04, 0.10, 0.26, 0.42, 0.58, 0.74, 0.90, 1.06)
ASPECTS: Final = ((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,))
VARIANCES: Final = (0.1, 0.1, 0.2, 0.2)
# Channels of the convolutions of VGG-16, by stage.
VGG: Final = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
FC: Final = 1024
# Each extra stage: channels of the 1x1 convolution; channels, kernel, stride and padding of the
# second convolution.
EXTRAS: Final = (
    (256, 512, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 4, 1, 1),
)
NORM_SCALE: Final = 20.0
BACKGROUND = 0
PERSON = 1


class SsdOutput(NamedTuple):
    """The net's output for the ``A`` = 24,564 default boxes.

    Attributes:
        offsets: ``(B, A, 4)``, see `encode`.
        classes: ``(B, A, 2)`` logits of background and person.
    """

    offsets: Tensor
    classes: Tensor


class Ssd512(nn.Module):
    """Maps normalised images ``(B, 3, 512, 512)`` to offsets and classes of all default boxes.

    Args:
        width: Factor of all channel counts; 1 is the published net.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()

        def scaled(channels: int) -> int:
            return max(1, round(channels * width))

        self.stages = nn.ModuleList()
        inputs = 3
        for stage in VGG:
            layers: list[nn.Module] = []
            for outputs in map(scaled, stage):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = outputs
            self.stages.append(nn.Sequential(*layers))
        self.norm = L2Norm(scaled(VGG[3][-1]))
        fc = scaled(FC)
        self.fc = nn.Sequential(
            *(nn.Conv2d(inputs, fc, 3, padding=6, dilation=6), nn.ReLU(inplace=True)),
            *(nn.Conv2d(fc, fc, 1), nn.ReLU(inplace=True)),
        )
        self.extras = nn.ModuleList()
        channels = [scaled(VGG[3][-1]), fc]
        for narrow, outputs, kernel, stride, padding in EXTRAS:
            squeeze = nn.Conv2d(channels[-1], scaled(narrow), 1)
            grow = nn.Conv2d(scaled(narrow), scaled(outputs), kernel, stride, padding)
            self.extras.append(
                nn.Sequential(squeeze, nn.ReLU(inplace=True), grow, nn.ReLU(inplace=True))
            )
            channels.append(scaled(outputs))
        counts = [2 + 2 * len(aspects) for aspects in ASPECTS]
        self.box_heads = nn.ModuleList(
            nn.Conv2d(c, n * 4, 3, padding=1) for c, n in zip(channels, counts, strict=True)
        )
        self.class_heads = nn.ModuleList(
            nn.Conv2d(c, n * 2, 3, padding=1) for c, n in zip(channels, counts, strict=True)
        )
        self.defaults: Tensor
        self.register_buffer("defaults", default_boxes(), persistent=False)
        heads = {*self.box_heads, *self.class_heads}
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # Xavier for the linear heads, as published; in a randomly initialised ReLU trunk it
                # would make the activations vanish.
                (nn.init.xavier_uniform_ if module in heads else nn.init.kaiming_normal_)(
                    module.weight
                )
                module.bias = nn.Parameter(torch.zeros(module.out_channels))

    def forward(self, images: Tensor) -> SsdOutput:
        """Predictions of the seven maps, finest first."""
        features: Tensor = images
        maps: list[Tensor] = []
        for number, stage in enumerate(self.stages):
            features = stage(features if number == 0 else F.max_pool2d(features, 2))
            if number == 3:
                maps.append(self.norm(features))
        maps.append(self.fc(F.max_pool2d(features, 3, stride=1, padding=1)))
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        offsets = [_rows(head(level), 4) for head, level in zip(self.box_heads, maps, strict=True)]
        classes = [
            _rows(head(level), 2) for head, level in zip(self.class_heads, maps, strict=True)
        ]
        return SsdOutput(torch.cat(offsets, dim=1), torch.cat(classes, dim=1))

    def detect(self, images: Tensor) -> Detections:
        """Boxes in input pixels and logits; a two-class softmax is the sigmoid of a difference."""
        output = self(images)
        boxes = decode(output.offsets, self.defaults) * SIZE
        return Detections(boxes, output.classes[..., PERSON] - output.classes[..., BACKGROUND])


class L2Norm(nn.Module):
    """Normalises features to length 1 at each position, then scales each channel.

    Source: SSD, section 3.1, after Liu et al., "ParseNet", 2015.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), NORM_SCALE))

    def forward(self, features: Tensor) -> Tensor:
        """``(B, C, h, w)`` to the same shape."""
        return F.normalize(features, dim=1) * self.weight[:, None, None]


def _rows(prediction: Tensor, values: int) -> Tensor:
    """``(B, boxes * values, h, w)`` to ``(B, h * w * boxes, values)``, as in `default_boxes`."""
    return prediction.permute(0, 2, 3, 1).reshape(prediction.shape[0], -1, values)


def default_boxes() -> Tensor:
    """Centre and sides ``(24564, 4)`` of the default boxes as fractions of the input.

    Each cell has a square of the map's scale, a square at the geometric mean of this scale and the
    next, and two boxes per aspect ratio.

    Source: SSD, section 2.2, "Choosing scales and aspect ratios".
    """
    boxes = []
    for cells, aspects, scale, larger in zip(MAPS, ASPECTS, SCALES, SCALES[1:], strict=False):
        sides = [(scale, scale), ((scale * larger) ** 0.5,) * 2]
        for aspect in aspects:
            long = scale * aspect**0.5
            short = scale / aspect**0.5
            sides += [(long, short), (short, long)]
        middle = (torch.arange(cells) + 0.5) / cells
        y, x = torch.meshgrid(middle, middle, indexing="ij")
        centers = torch.stack([x, y], dim=-1)[:, :, None].expand(-1, -1, len(sides), -1)
        boxes.append(
            torch.cat([centers, torch.tensor(sides).expand(cells, cells, -1, -1)], dim=-1).reshape(
                -1, 4
            )
        )
    return torch.cat(boxes)


def encode(boxes: Tensor, defaults: Tensor) -> Tensor:
    """Offsets ``(..., 4)`` of boxes from default boxes, divided by the variances.

    Args:
        boxes: ``(..., 4)`` xyxy, fractions of the input.
        defaults: ``(..., 4)`` centre and sides.

    Source: SSD, equation 2; the variances are from the authors' code.
    """
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    sides = boxes[..., 2:] - boxes[..., :2]
    moved = (middle - defaults[..., :2]) / defaults[..., 2:]
    return torch.cat([moved, (sides / defaults[..., 2:]).log()], dim=-1) / torch.tensor(
        VARIANCES, device=boxes.device
    )


def decode(offsets: Tensor, defaults: Tensor) -> Tensor:
    """The inverse of `encode`: boxes ``(..., 4)`` xyxy, fractions of the input."""
    scaled = offsets * torch.tensor(VARIANCES, device=offsets.device)
    middle = defaults[..., :2] + scaled[..., :2] * defaults[..., 2:]
    return corners(torch.cat([middle, defaults[..., 2:] * scaled[..., 2:].exp()], dim=-1))
