"""Published VGG-16 and SSD-512 weights in various layouts, for `rmpe.nets.detectors.ssd512`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from rmpe.errors import ModelError
from rmpe.nets import PIXEL_MEAN, PIXEL_SD
from rmpe.nets.detectors.ssd512 import ASPECTS, EXTRAS, FC, MAPS, VGG, Ssd512

# Pixel mean and deviation of published weights; RGB, 0..255 scale.
CAFFE_MEAN: Final = (123.0, 117.0, 104.0)
TORCHVISION_MEAN: Final = (123.675, 116.28, 103.53)
TORCHVISION_SD: Final = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class LoadReport:
    """The outcome of loading published weights.

    Attributes:
        layout: Naming scheme of the file.
        loaded: Parameters of the net that were loaded.
        missing: Parameters of the net that keep their random initialisation.
        unused: Tensors of the file that were not used.
    """

    layout: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            f"{self.layout} weights: {len(self.loaded)} tensors loaded,"
            f" {len(self.missing)} left random"
        ]
        lines += [f"  left random: {name}" for name in self.missing]
        return "\n".join([*lines, *(f"  unused: {name}" for name in self.unused)])


def _layouts() -> dict[str, dict[str, str]]:
    """For each layout, in order of preference, a map from our module names to the file's."""
    vgg = [
        f"stages.{stage}.{2 * layer}"
        for stage, layers in enumerate(VGG)
        for layer in range(len(layers))
    ]
    extras = [f"extras.{stage}.{layer}" for stage in range(len(EXTRAS)) for layer in (0, 2)]
    # Indices of the convolutions among VGG-16's layers.
    places = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    numbered = [*places, 31, 33]
    base = [*vgg, "fc.0", "fc.2"]
    rest = ["norm", *extras]
    heads = [f"{kind}_heads.{level}" for kind in ("box", "class") for level in range(len(MAPS))]
    names = [
        f"conv{stage + 1}_{layer + 1}"
        for stage, layers in enumerate(VGG)
        for layer in range(len(layers))
    ]
    grown = [f"conv{6 + stage}_{layer}" for stage in range(len(EXTRAS)) for layer in (1, 2)]
    sources = ["conv4_3_norm", "fc7", *grown[1::2]]
    caffe_heads = [f"{source}_mbox_{kind}" for kind in ("loc", "conf") for source in sources]

    def published(trunk: str, norm: str, extra: str, boxes: str, classes: str) -> dict[str, str]:
        theirs = (
            [f"{trunk}.{n}" for n in numbered]
            + [norm]
            + [f"{extra}.{n}" for n in range(len(extras))]
        )
        theirs += [f"{kind}.{level}" for kind in (boxes, classes) for level in range(len(MAPS))]
        return dict(zip([*base, *rest, *heads], theirs, strict=True))

    predictor = "box_head.predictor"
    return {
        "Caffe SSD": dict(
            zip(
                [*base, *rest, *heads],
                [*names, "fc6", "fc7", "conv4_3_norm", *grown, *caffe_heads],
                strict=True,
            )
        ),
        "ssd.pytorch": published("vgg", "L2Norm", "extras", "loc", "conf"),
        "lufficc SSD": published(
            "backbone.vgg",
            "backbone.l2_norm",
            "backbone.extras",
            f"{predictor}.reg_headers",
            f"{predictor}.cls_headers",
        ),
        "torchvision VGG-16": dict(
            zip(
                base,
                [*(f"features.{n}" for n in places), "classifier.0", "classifier.3"],
                strict=True,
            )
        ),
        "reduced VGG-16": {our: str(n) for our, n in zip(base, numbered, strict=True)},
    }


def load_published(net: Ssd512, state: Mapping[str, Tensor], person: int = 1) -> LoadReport:
    """Load VGG-16 or SSD-512 weights of any known layout into the full-width net.

    Fully connected fc6 and fc7 are subsampled to convolutions, and multi-class heads are reduced to
    background and person. The first convolution is adapted to our pixel normalisation: Caffe
    weights expect BGR on the 0..255 scale, torchvision's RGB divided by ImageNet's deviation, the
    others RGB on the 0..255 scale.

    Args:
        net: The net to fill, in place.
        state: The tensors of the file.
        person: Index of the person class in the file's heads, with background 0: 1 for COCO, 15 for
            VOC.

    Raises:
        ModelError: If the layout is unknown or a tensor has the wrong shape.

    Source: SSD, section 3.1: fc6 and fc7 are subsampled.
    """
    layout, theirs = max(
        _layouts().items(),
        key=lambda item: sum(f"{name}.weight" in state for name in item[1].values()),
    )
    own = net.state_dict()
    loaded = []
    for module, name in theirs.items():
        for kind in ("weight", "bias"):
            if f"{module}.{kind}" not in own or f"{name}.{kind}" not in state:
                continue
            tensor = _converted(module, state[f"{name}.{kind}"], person)
            target = own[f"{module}.{kind}"]
            if tensor.shape != target.shape:
                raise ModelError(
                    f"{layout}: {name}.{kind} is {tuple(tensor.shape)},"
                    f" {module}.{kind} is {tuple(target.shape)}"
                )
            target.copy_(tensor)
            loaded.append(f"{module}.{kind}")
    if not loaded:
        raise ModelError(
            f"unknown layout of weights (known: {', '.join(_layouts())});"
            f" the first names are {list(state)[:3]}"
        )
    _to_our_pixels(own, layout)
    missing = tuple(name for name in own if name not in loaded)
    used = {f"{name}.{kind}" for name in theirs.values() for kind in ("weight", "bias")}
    return LoadReport(
        layout, tuple(loaded), missing, tuple(name for name in state if name not in used)
    )


def _converted(module: str, tensor: Tensor, person: int) -> Tensor:
    """A published tensor, converted to the shape of our parameter."""
    if module == "fc.0" and tensor.ndim == 2:
        tensor = tensor.reshape(-1, VGG[-1][-1], 7, 7)
    if module == "fc.0" and tensor.ndim == 4 and tensor.shape[-1] == 7:
        return tensor[::4, :, ::3, ::3]
    if module == "fc.2" and tensor.ndim > 1 and tensor.shape[0] == 4 * FC:
        return tensor.reshape(4 * FC, 4 * FC, 1, 1)[::4, ::4]
    if module in ("fc.0", "fc.2") and tensor.shape == (4 * FC,):
        return tensor[::4]
    if module.startswith("class_heads"):
        boxes = 2 + 2 * len(ASPECTS[int(module.rpartition(".")[2])])
        return tensor.reshape(boxes, -1, *tensor.shape[1:])[:, [0, person]].flatten(0, 1)
    return tensor


def _to_our_pixels(own: dict[str, Tensor], layout: str) -> None:
    """Adapt the first convolution to inputs (pixel - PIXEL_MEAN) / PIXEL_SD, RGB, in place."""
    weight = own["stages.0.0.weight"]
    bias = own["stages.0.0.bias"]
    mean = torch.tensor(CAFFE_MEAN)
    deviation = torch.ones(3)
    if layout == "torchvision VGG-16":
        mean = torch.tensor(TORCHVISION_MEAN)
        deviation = torch.tensor(TORCHVISION_SD)
    if layout == "Caffe SSD":
        weight.copy_(weight.flip(1))
    weight /= deviation[:, None, None]
    bias += (weight * (PIXEL_MEAN - mean)[:, None, None]).sum(dim=(1, 2, 3))
    weight *= PIXEL_SD
