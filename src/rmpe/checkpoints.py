"""What a checkpoint says about its net, read from the head of its file without PyTorch.

A checkpoint is a safetensors file: eight bytes with the length of a JSON header, the header, the
weights. The header's ``__metadata__`` holds the configuration that rebuilds the net.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rmpe import fields
from rmpe.errors import DataError, ModelError
from rmpe.files import is_endless, parse_json

METADATA_KEY: Final = "rmpe"
# Bytes of a header; the safetensors format allows no more.
LONGEST_HEADER = 100_000_000
# Pixels of a side of a net's input.
LARGEST_SIDE = 8192
# No net of ours has a number as large in its arguments.
LARGEST_ARGUMENT = 4096
# What goes into a card in words.
WORDS = ("name", "license", "source", "notes")


@dataclass(frozen=True)
class CheckpointHeader:
    """The head of a checkpoint.

    Attributes:
        config: Configuration of the net, checked; see `rmpe.nets.checkpoint`.
        shapes: Name -> shape of every tensor of weights.
    """

    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]


def read_header(path: Path) -> CheckpointHeader:
    """Read the head of a checkpoint.

    Raises:
        ModelError: If the file cannot be read, is not a checkpoint of rmpe, or its configuration is
            not what it should be.
    """
    try:
        if is_endless(path):
            raise ModelError(f"{path}: not a regular file (a pipe or a device)")
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(LONGEST_HEADER, path.stat().st_size):
                raise ModelError(f"{path}: no checkpoint of rmpe: not a safetensors file")
            head = file.read(length)
    except OSError as error:
        raise ModelError(
            f"{path}: cannot read the checkpoint: {error.strerror or error}"
        ) from error
    try:
        content = fields.table(parse_json(head, f"{path}: header"), f"{path}: header")
        metadata = fields.table(content.pop("__metadata__", {}), f"{path}: metadata")
        if METADATA_KEY not in metadata:
            raise DataError(f"{path}: no checkpoint of rmpe: its metadata has no {METADATA_KEY!r}")
        text = fields.text(metadata[METADATA_KEY], f"{path}: metadata {METADATA_KEY!r}")
        shapes = {
            name: _shape(entry, f"{path}: {fields.cut(name)}") for name, entry in content.items()
        }
        config = check_config(parse_json(text, f"{path}: configuration"), str(path))
    except DataError as error:
        raise ModelError(str(error)) from error
    return CheckpointHeader(config, shapes)


def check_config(value: Any, source: str) -> dict[str, Any]:
    """The configuration of a checkpoint, its values checked.

    Args:
        value: Parsed JSON.
        source: What to call the checkpoint in messages.

    Raises:
        DataError: If a value is not what it should be.
    """
    config = fields.table(value, f"{source}: configuration")
    _check_model(config.get("model"), f"{source}: model")
    if "skeleton" in config:
        fields.name(config["skeleton"], f"{source}: skeleton")
    if "size" in config:
        size = fields.items(config["size"], f"{source}: size")
        if len(size) != 2 or not all(
            0 < fields.whole(side, f"{source}: size") <= LARGEST_SIDE for side in size
        ):
            raise DataError(f"{source}: size must be a height and a width of 1 to {LARGEST_SIDE}")
    for key in ("growth", "score_threshold", "nms"):
        if key in config:
            fields.number(config[key], f"{source}: {key}")
    for key in WORDS:
        if key in config:
            fields.text(config[key], f"{source}: {key}")
    if "steps" in config:
        fields.whole(config["steps"], f"{source}: steps")
    if "training" in config:
        training = fields.table(config["training"], f"{source}: training")
        if "steps" in training:
            fields.whole(training["steps"], f"{source}: training steps")
    return config


def _check_model(value: Any, place: str) -> None:
    """A net's name and arguments: plain values, and tables that are nets again."""
    model = fields.table(value, place)
    fields.text(model.get("name"), f"{place}: 'name'")
    for key, argument in model.items():
        _check_argument(argument, f"{place}: {fields.cut(key)!r}")


def _check_argument(value: Any, place: str) -> None:
    if isinstance(value, dict):
        _check_model(value, place)
    elif isinstance(value, list):
        for one in value:
            _check_argument(one, place)
    elif (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and not 0 <= value <= LARGEST_ARGUMENT
    ):
        raise DataError(f"{place} is {fields.shown(value)}, beyond any net's arguments")


def _shape(value: Any, place: str) -> tuple[int, ...]:
    entry = fields.table(value, place)
    sides = fields.items(entry.get("shape"), f"{place}: shape")
    return tuple(fields.whole(side, f"{place}: shape") for side in sides)
