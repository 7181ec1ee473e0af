"""Checkpoints: ``.safetensors`` files of weights with the net's configuration in the metadata.

The configuration is a JSON dictionary. ``model`` holds the name of a constructor in `NETS` and its
arguments; an argument that is itself such a dictionary is built first::

    {"model": {"name": "lite", "joints": 17}, "skeleton": "coco17", "size": [256, 192], ...}
"""

import json
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from rmpe.errors import ModelError
from rmpe.nets.detectors.person_detector import PersonDetector
from rmpe.nets.detectors.ssd512 import Ssd512
from rmpe.nets.hourglass import StackedHourglass
from rmpe.nets.lite import LiteSppe
from rmpe.nets.localisation import (
    BackboneLocalisation,
    EarlyLocalisation,
    ResNet18Localisation,
    TinyLocalisation,
)
from rmpe.nets.parallel_sppe import SstnSppe
from rmpe.write.atomic import atomic

NETS: Final[dict[str, type[nn.Module]]] = {
    "hourglass": StackedHourglass,
    "lite": LiteSppe,
    "resnet18_localisation": ResNet18Localisation,
    "early_localisation": EarlyLocalisation,
    "backbone_localisation": BackboneLocalisation,
    "tiny_localisation": TinyLocalisation,
    "sstn_sppe": SstnSppe,
    "person_detector": PersonDetector,
    "ssd512": Ssd512,
}
METADATA_KEY: Final = "rmpe"


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
    if name not in NETS:
        raise ModelError(f"unknown net {name!r}; known: {', '.join(NETS)}")
    try:
        return NETS[name](**arguments)
    except TypeError as error:
        raise ModelError(f"net {name!r}: {error}") from error


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
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot read the checkpoint: {error}") from error
    if METADATA_KEY not in metadata:
        raise ModelError(f"{path}: not an rmpe checkpoint: its metadata has no {METADATA_KEY!r}")
    config: dict[str, Any] = json.loads(metadata[METADATA_KEY])
    net = build_net(_without_pretraining(config["model"]))
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(
            f"{path}: weights do not match {config['model']}: {str(error).splitlines()[-1].strip()}"
        ) from error
    return net.eval(), config


def _without_pretraining(config: dict[str, Any]) -> dict[str, Any]:
    """The same configuration without ``pretrained``.

    The checkpoint overwrites all weights, and the package with the ImageNet weights may be missing.
    """
    return {
        key: _without_pretraining(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key != "pretrained"
    }
