"""Checkpoints: ``.safetensors`` files of weights with the net's configuration in the metadata.

The configuration is a JSON dictionary. ``model`` holds the name of a constructor in `NETS` and its
arguments; an argument that is itself such a dictionary is built first::

    {"model": {"name": "lite", "joints": 17}, "skeleton": "coco17", "size": [256, 192], ...}
"""

import json
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from rmpe.atomic import atomic
from rmpe.checkpoints import METADATA_KEY, read_header
from rmpe.errors import ModelError
from rmpe.fields import cut
from rmpe.nets.detectors.person_detector import PersonDetector
from rmpe.nets.detectors.ssd512 import Ssd512
from rmpe.nets.high_resolution import HighResolutionSppe
from rmpe.nets.hourglass import StackedHourglass
from rmpe.nets.lite import LiteSppe
from rmpe.nets.localisation import (
    BackboneLocalisation,
    EarlyLocalisation,
    ResNet18Localisation,
    TinyLocalisation,
)
from rmpe.nets.parallel_sppe import SstnSppe

NETS: Final[dict[str, type[nn.Module]]] = {
    "hourglass": StackedHourglass,
    "lite": LiteSppe,
    "high_resolution": HighResolutionSppe,
    "resnet18_localisation": ResNet18Localisation,
    "early_localisation": EarlyLocalisation,
    "backbone_localisation": BackboneLocalisation,
    "tiny_localisation": TinyLocalisation,
    "sstn_sppe": SstnSppe,
    "person_detector": PersonDetector,
    "ssd512": Ssd512,
}
# What constructors raise for arguments of the wrong type or out of range.
WRONG_ARGUMENTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def build_net(config: dict[str, Any]) -> nn.Module:
    """Build a net with new weights from its constructor's name and arguments.

    Args:
        config: ``{"name": a key of NETS, argument: value, ...}``; values that are such dictionaries
            are built first.

    Raises:
        ModelError: If the name is unknown or the arguments are invalid.
    """
    arguments = {
        key: build_net(value) if isinstance(value, dict) and "name" in value else value
        for key, value in config.items()
        if key != "name"
    }
    name = config.get("name")
    if not isinstance(name, str) or name not in NETS:
        raise ModelError(f"unknown net {name!r}; known: {', '.join(NETS)}")
    try:
        return NETS[name](**arguments)
    except WRONG_ARGUMENTS as error:
        raise ModelError(f"net {name!r}: its arguments do not fit: {error}") from error


def probe(net: nn.Module, size: tuple[int, int], name: str) -> None:
    """Run a net once on an empty input, to find arguments that do not fit before a run begins.

    Args:
        net: The net; left in the mode it was in.
        size: (height, width) of the input.
        name: What to call it.

    Raises:
        ModelError: If it cannot take such an input.
    """
    was_training = net.training
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(1, 3, *size))
    except WRONG_ARGUMENTS as error:
        said = cut(str(error).strip().partition("\n")[0])
        raise ModelError(
            f"net {name!r} cannot take {size[0]} x {size[1]} pixels: {said}"
        ) from error
    finally:
        net.train(was_training)


def save_checkpoint(path: Path, net: nn.Module, config: dict[str, Any]) -> None:
    """Write weights and configuration atomically.

    Args:
        path: The ``.safetensors`` file to write.
        net: A net of the kind that ``build_net(config["model"])`` builds.
        config: The configuration; see the module's docstring.
    """
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()
    }
    with atomic(path) as file:
        file.write(save(weights, metadata={METADATA_KEY: json.dumps(config)}))


def load_checkpoint(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Load a net in evaluation mode and its configuration.

    Raises:
        ModelError: If the file cannot be read, is not an rmpe checkpoint, or its weights do not
            match its net.
    """
    header = read_header(path)
    config = header.config
    model = _without_pretraining(config["model"])
    _check_shapes(path, model, header.shapes)
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot read the checkpoint: {error}") from error
    net = build_net(model)
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(f"{path}: {_misfit(config, str(error).splitlines()[-1])}") from error
    return net.eval(), config


def _check_shapes(path: Path, model: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
    """That the weights are those of the net, before any memory is taken for it.

    Raises:
        ModelError: If not.
    """
    with torch.device("meta"):
        wanted = {
            name: tuple(tensor.shape) for name, tensor in build_net(model).state_dict().items()
        }
    if wanted == shapes:
        return
    name = next(name for name in {**wanted, **shapes} if wanted.get(name) != shapes.get(name))
    said = f"{name} is {shapes.get(name, 'missing')}, the net has {wanted.get(name, 'none')}"
    raise ModelError(f"{path}: {_misfit({'model': model}, said)}")


def _misfit(config: dict[str, Any], why: str) -> str:
    return f"weights do not fit {cut(str(config['model']))}: {why.strip()}"


def _without_pretraining(config: dict[str, Any]) -> dict[str, Any]:
    """The same configuration without ``pretrained``.

    The checkpoint overwrites all weights, and the package with the ImageNet weights may be missing.
    """
    return {
        key: _without_pretraining(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key != "pretrained"
    }
