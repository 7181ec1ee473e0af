"""Optimiser, learning rate and moving average of the weights."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rmpe.errors import DataError

# A learning rate, or factor of one, beyond it is a slip of the pen.
LARGEST_RATE = 1e4


@dataclass(frozen=True)
class OptimConfig:
    """Options of the optimiser.

    Attributes:
        optimizer: ``adamw``; ``rmsprop`` as in the paper; ``sgd`` with momentum 0.9 as in SSD.
        lr: Peak learning rate.
        lr_scale: Factors of the learning rate by prefix of the parameter name; the longest prefix
            applies.
        weight_decay: Decoupled decay of weights with more than one dimension (not of biases and
            norms).
        schedule: ``cosine`` decays to zero; ``step`` multiplies the rate by ``drop`` at each of
            ``drops``.
        drops: Fractions of the run at which the rate drops.
        drop: Factor of each drop.
        warmup: Steps of linear warm-up.
        clip: Largest gradient norm; 0 = no limit.
        ema: Decay of the moving average of the weights, which is saved; 0 saves the weights.
    """

    optimizer: Literal["adamw", "rmsprop", "sgd"] = "adamw"
    lr: float = 1e-3
    lr_scale: dict[str, float] = field(default_factory=dict)
    weight_decay: float = 0.01
    schedule: Literal["cosine", "step"] = "cosine"
    drops: tuple[float, ...] = ()
    drop: float = 0.1
    warmup: int = 100
    clip: float = 5.0
    ema: float = 0.998

    def __post_init__(self) -> None:
        if not 0 < self.lr <= LARGEST_RATE:
            raise ValueError(f"lr = {self.lr} must be above 0 and at most {LARGEST_RATE:g}")
        for name in ("weight_decay", "drop", "warmup", "clip"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} = {getattr(self, name)} must not be negative")
        for prefix, factor in self.lr_scale.items():
            if not (isinstance(factor, int | float) and 0 <= factor <= LARGEST_RATE):
                raise ValueError(f"lr_scale: {prefix!r} must be a factor of the rate, 0 or more")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema = {self.ema} must lie in [0, 1)")
        if any(not 0 < share < 1 for share in self.drops):
            raise ValueError(f"drops = {list(self.drops)} must lie between 0 and 1")


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """The learning rate of step ``step`` (from 0) of ``steps``."""
    warm = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    done = step / steps
    if config.schedule == "cosine":
        return config.lr * warm * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return config.lr * warm * config.drop ** sum(done >= share for share in config.drops)


def make_optimizer(net: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """The optimiser of all trainable parameters; each group stores its ``scale`` of the rate."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            prefixes = [prefix for prefix in config.lr_scale if name.startswith(prefix)]
            scale = config.lr_scale[max(prefixes, key=len)] if prefixes else 1.0
            groups.setdefault((scale, parameter.ndim > 1), []).append(parameter)
    options: list[dict[str, Any]] = [
        {
            "params": parameters,
            "scale": scale,
            "weight_decay": config.weight_decay if matrix else 0.0,
        }
        for (scale, matrix), parameters in groups.items()
    ]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(options, lr=config.lr, fused=True)  # a quarter of the time
    if config.optimizer == "sgd":
        return torch.optim.SGD(options, lr=config.lr, momentum=0.9)
    return torch.optim.RMSprop(options, lr=config.lr, alpha=0.99)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group to ``rate`` times its scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


class MovingAverage:
    """Exponential moving average of a net's floating-point state; other state is copied.

    The decay grows to ``decay`` over the first steps, so the initial weights soon lose influence.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.state = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Move the average one step towards the net's weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        new = net.state_dict()
        smooth = [name for name, tensor in self.state.items() if tensor.is_floating_point()]
        torch._foreach_lerp_(
            [self.state[name] for name in smooth], [new[name] for name in smooth], 1 - decay
        )
        for name in self.state.keys() - set(smooth):
            self.state[name].copy_(new[name])

    @contextmanager
    def applied(self, net: nn.Module) -> Iterator[nn.Module]:
        """A context in which the net has the averaged weights (if averaging is enabled)."""
        if not self.decay:
            yield net
            return
        weights = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
        net.load_state_dict(self.state)
        try:
            yield net
        finally:
            net.load_state_dict(weights)

    def state_dict(self) -> dict[str, Any]:
        """The state for resuming."""
        return {"updates": self.updates, "state": self.state}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restore a state from `state_dict`."""
        self.updates = saved["updates"]
        for name, tensor in saved["state"].items():
            self.state[name].copy_(tensor)


def frozen_modules(net: nn.Module, prefixes: Sequence[str]) -> list[nn.Module]:
    """Freeze the parameters of the modules named by ``prefixes`` and return the modules.

    The caller keeps them in evaluation mode.

    Raises:
        DataError: If a prefix names no module.
    """
    modules = dict(net.named_modules())
    for prefix in prefixes:
        if prefix not in modules:
            names = ", ".join(dict(net.named_children()))
            raise DataError(f"freeze: the net has no module {prefix!r}; its modules are {names}")
        modules[prefix].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise DataError(f"freeze: {', '.join(map(repr, prefixes))} leaves nothing that learns")
    return [modules[prefix] for prefix in prefixes]


def norms(net: nn.Module) -> list[nn.Module]:
    """All batch norms of a net."""
    return [
        module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]


def weight_sum(weights: Tensor) -> Tensor:
    """Sum of weights over the whole batch, in all processes; at least 1.

    The divisor of every loss: the gradient then depends on the batch, not on its division.
    """
    total = weights.sum()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(total)
    return total.clamp(min=1)


def batch_share(rows: Tensor) -> Tensor:
    """How much the mean over this process's rows ``(B, ...)`` counts in that of the whole batch."""
    each = torch.ones(len(rows), device=rows.device)
    return len(rows) / weight_sum(each)
