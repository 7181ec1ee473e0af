"""The doors of checkpoints: weights with their configuration, and the state a run goes on from."""

import io
import json
import pickle
import random
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from rmpe.nets.checkpoint import build_net

from .driver import Kind
from .structures import damaged, mutated


@cache
def _net(name: str) -> Any:
    arguments: dict[str, Any] = {"name": name}
    if name == "tiny_localisation":
        arguments["size"] = [64, 48]
    if name == "lite":
        arguments["joints"] = 17
    return build_net(arguments), arguments


def _seed(name: str) -> tuple[bytes, dict[str, Any]]:
    net, model = _net(name)
    weights = {key: value.contiguous() for key, value in net.state_dict().items()}
    config = {
        "model": model, "skeleton": "coco17", "size": [64, 48], "growth": 1.3,
        "alignment": "center",
        "steps": 3, "training": {"steps": 3}, "name": "x", "license": "y",
    }  # fmt: skip
    return save(weights, metadata={"rmpe": json.dumps(config)}), config


def _mutate(generator: random.Random, seed: tuple[bytes, dict[str, Any]]) -> bytes:
    data, config = seed
    if generator.random() < 0.3:
        head = 8 + int.from_bytes(data[:8], "little")
        # Damage mostly where it matters: in the header.
        if generator.random() < 0.7:
            return damaged(generator, data[:head]) + data[head:]
        return damaged(generator, data)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if generator.random() < 0.2:
        header = mutated(generator, header)
    else:
        header["__metadata__"] = {"rmpe": json.dumps(mutated(generator, config))}
    written = json.dumps(header).encode()
    return len(written).to_bytes(8, "little") + written + data[8 + length :]


def _load(folder: Path, data: bytes) -> None:
    from rmpe.ablation.runs import finished, header
    from rmpe.errors import RmpeError
    from rmpe.export import model_card
    from rmpe.nets.checkpoint import load_checkpoint

    path = folder / "mutated.safetensors"
    path.write_bytes(data)
    try:
        header(path)
        finished(path)
    except RmpeError:
        pass
    net, config = load_checkpoint(path)
    if "skeleton" in config and "size" in config:
        model_card(config, "detector", "boxes")
    net.eval()


def _state_seed() -> dict[str, Any]:
    net, _ = _net("tiny_localisation")
    state = {key: value for key, value in net.state_dict().items()}
    return {"step": 3, "net": state, "average": state, "optimizer": {"state": {}}, "config": "{}"}


class _Harmful:
    def __reduce__(self) -> Any:
        return (print, ("run by unpickling",))


def _mutate_state(generator: random.Random, state: dict[str, Any]) -> bytes:
    choice = generator.randrange(8)
    whole: dict[int, Any] = {0: [1], 1: None, 2: 5, 3: {}}
    if choice in whole:
        return _saved(whole[choice])
    if choice == 4:
        return pickle.dumps({"step": _Harmful()})
    if choice == 5:
        key = generator.choice(list(state))
        value = generator.choice(
            (None, [], {}, -1, 10**30, "x", float("nan"), {"a": 1}, torch.zeros(2))
        )
        return _saved(state | {key: value})
    return damaged(generator, _saved(state))


def _saved(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def _resume(folder: Path, data: bytes) -> None:
    from rmpe.training.loop import read_state

    path = folder / "state.pt"
    path.write_bytes(data)
    read_state(path, "cpu")


def kinds() -> list[Kind]:
    """All doors of checkpoints."""
    nets = ("lite", "person_detector", "tiny_localisation")
    return [
        *(Kind(name, lambda name=name: [_seed(name)], _mutate, _load) for name in nets),  # type: ignore[misc]
        Kind("state", lambda: [_state_seed()], _mutate_state, _resume),
    ]
