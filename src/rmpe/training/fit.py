"""The training loop: plain PyTorch, one process or several, resumable to the bit."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rmpe.config import to_mapping
from rmpe.datasets.sets import DataConfig, open_data
from rmpe.errors import DataError, ModelError
from rmpe.nets.checkpoint import build_net, load_checkpoint, save_checkpoint
from rmpe.nets.parallel_sppe import ParallelSppe, SstnSppe
from rmpe.training.augment import AugmentConfig, Augmenter, Batch
from rmpe.training.distill import pseudo_labels
from rmpe.training.meter import Meter
from rmpe.training.objectives import Parts, SstnConfig, sppe_objective, sstn_objective, stn_objective
from rmpe.training.optim import (
    MovingAverage,
    OptimConfig,
    frozen_modules,
    learning_rate,
    make_optimizer,
    norms,
    set_learning_rate,
)
from rmpe.training.validate import ValidateConfig, Validation
from rmpe.training.worker import Worker

Log = Callable[[str], None]


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    Attributes:
        run: Folder for the log, the state to resume from, and the result ``model.safetensors``.
        data: Whom to train on.
        steps: Updates of the weights.
        batch: People an update, over all processes.
        stage: 1 = pose estimator alone; 2 = SSTN and pose estimator joined; ``stn`` = a localisation net alone, taught
            by the true transform, which can then stand before any pose model.
        model: Stage 1: name of the net in `rmpe.nets.checkpoint.NETS` and its arguments (``joints`` is filled in).
        start: Checkpoint of a pose estimator to start from; stage 2 needs it, ``stn`` if its early blocks are used.
        freeze: Modules whose weights and batch-norm statistics stay as they are.
        freeze_norms: Keep the statistics of all batch norms (their weights still learn).
        small_size: Crop (height, width) in the first part of the run; cheaper steps first.
        small_share: Share of the steps at ``small_size``.
        sigma: Standard deviation of the target Gaussians, heatmap cells.
        augment: How people are changed.
        optim: How weights move.
        sstn: Stage 2 only.
        validate: Photos to measure the run on as it goes.
        device: ``cpu``, ``cuda``, or ``auto``.
        precision: ``bfloat16`` runs the nets in mixed precision; it gains nothing on CPUs.
        threads: CPU threads of a process; 0 = PyTorch's choice.
        seed: Of weights, order and augmentation.
        log_every: Seconds between log lines.
        save_every: Seconds between saved states.
        tensorboard: Also write TensorBoard events into ``run``.
    """

    run: Path
    data: DataConfig
    steps: int
    batch: int = 64
    stage: Literal[1, 2, "stn"] = 1
    model: dict[str, Any] = field(default_factory=lambda: {"name": "lite", "pretrained": True})
    start: Path | None = None
    freeze: tuple[str, ...] = ()
    freeze_norms: bool = False
    small_size: tuple[int, int] = (128, 96)
    small_share: float = 0.0
    sigma: float = 1.5
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    sstn: SstnConfig = field(default_factory=SstnConfig)
    validate: ValidateConfig | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: int = 0
    seed: int = 0
    log_every: float = 20.0
    save_every: float = 180.0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise ValueError(f"steps = {self.steps} and batch = {self.batch} must be at least 1")
        if not 0 <= self.small_share <= 1:
            raise ValueError(f"small_share = {self.small_share} must lie in [0, 1]")
        if self.stage == 2 and self.start is None:
            raise ValueError("stage 2 needs start = CHECKPOINT of a stage 1 run")


class Trainer:
    """A run: nets, data and state.

    Args:
        config: What to do.
        log: Takes one line of progress.

    Raises:
        RmpeError: If data, checkpoint or options are not usable.
    """

    def __init__(self, config: TrainConfig, log: Log) -> None:
        self.config, self.worker = config, Worker.join(config.device)
        self.log: Log = log if self.worker.rank == 0 else lambda line: None  # noqa: ARG005
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.share = self.worker.share(config.batch)
        self.packed = open_data(config.data, self.log)
        self.augmenter = self._augmenter()
        self.net, self.parallel = self._nets()
        self.frozen = frozen_modules(self.net, config.freeze) + (norms(self.net) if config.freeze_norms else [])
        self.optimizer = make_optimizer(self.net, config.optim)
        self.average = MovingAverage(self.net, config.optim.ema)
        self.replica = DistributedDataParallel(self.net) if self.worker.count > 1 else self.net
        self.validation = self._validation()
        self.step = 0
        self._orders: dict[int, NDArray[np.int64]] = {}

    def fit(self) -> Path:
        """Train from the current step to the last; returns the checkpoint.

        Raises:
            ModelError: If the loss is not finite; the batch is saved beside the state.
        """
        config = self.config
        if self.worker.rank:
            return self._follow()
        config.run.mkdir(parents=True, exist_ok=True)
        meter = Meter(config.run, config.steps, config.batch, config.log_every, config.tensorboard, self.log)
        saved = validated = time.monotonic()
        while self.step < config.steps:
            parts = self.update()
            meter.add(self.step, parts)
            if time.monotonic() - saved > config.save_every:
                self.save()
                saved = time.monotonic()
            if config.validate and time.monotonic() - validated > config.validate.every:
                meter.measure(self.step, self.validate())
                validated = time.monotonic()
        self.save()
        if config.validate:
            meter.measure(self.step, self.validate())
        meter.close()
        return config.run / "model.safetensors"

    def _follow(self) -> Path:
        """What the processes beside the first do: the same steps, no files."""
        while self.step < self.config.steps:
            self.update()
        return self.config.run / "model.safetensors"

    def validate(self) -> dict[str, float]:
        """AP of the averaged weights on the validation photos; nothing without them, or in other processes."""
        if self.validation is None:
            return {}
        with self.average.applied(self.net) as net:
            return self.validation(net, self.worker.device)

    def update(self) -> dict[str, float]:
        """One step; the parts of the loss."""
        config = self.config
        self.replica.train()
        for module in self.frozen:
            module.eval()
        batch = self.batch(self.step)
        rate = learning_rate(config.optim, self.step, config.steps)
        set_learning_rate(self.optimizer, rate)
        kind = self.worker.device.partition(":")[0]
        with torch.autocast(kind, torch.bfloat16, enabled=config.precision == "bfloat16"):
            parts = self._objective(batch)
        loss = torch.stack(list(parts.values())).sum()
        if not torch.isfinite(loss):
            self._stop_on(batch, parts)
        self.optimizer.zero_grad(set_to_none=True)
        # DDP averages gradients over processes; each loss is already a share of the whole batch's.
        torch.autograd.backward(loss * self.worker.count)
        if config.optim.clip:
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), config.optim.clip)
        self.optimizer.step()
        self.average.update(self.net)
        self.step += 1
        return {name: part.item() for name, part in parts.items()} | {"lr": rate}

    def batch(self, step: int) -> Batch:
        """The batch of a step; depends on nothing but the configuration, so a resumed run sees the same."""
        config = self.config
        positions = range(step * config.batch, (step + 1) * config.batch)
        people = np.array([self._order(place // len(self.packed))[place % len(self.packed)] for place in positions])
        size = config.small_size if step < config.small_share * config.steps else config.data.size
        generator = np.random.default_rng([config.seed, step])
        return self.augmenter(people, generator, size, self.share, centred=False)

    def save(self) -> None:
        """Write the state to resume from and the checkpoint, each atomically."""
        state = {
            "step": self.step,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "config": to_json(self.config),
        }
        partial = self.config.run / "state.pt.partial"
        torch.save(state, partial)
        partial.replace(self.config.run / "state.pt")
        with self.average.applied(self.net) as net:
            save_checkpoint(self.config.run / "model.safetensors", net, self.checkpoint_config())

    def resume(self) -> None:
        """Go on from the state in the run's folder.

        Raises:
            DataError: If there is none, or it belongs to another net.
        """
        path = self.config.run / "state.pt"
        try:
            state = torch.load(path, map_location=self.worker.device, weights_only=True)
            self.net.load_state_dict(state["net"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.load_state_dict(state["average"])
        except FileNotFoundError as error:
            raise DataError(f"{path}: nothing to resume; leave --resume out to start") from error
        except (RuntimeError, ValueError, KeyError) as error:
            raise DataError(f"{path}: belongs to another net or optimiser: {error}") from error
        self.step = state["step"]
        if state["config"] != to_json(self.config):
            self.log("resuming with a configuration that differs from the one the run began with")

    def checkpoint_config(self) -> dict[str, Any]:
        """What the checkpoint says about itself; see `rmpe.nets.checkpoint`."""
        data = self.config.data
        return {
            "model": self.model_config,
            "skeleton": data.skeleton,
            "size": list(data.size),
            "growth": data.growth,
            "alignment": "center",
            "training": json.loads(to_json(self.config)),
            "steps": self.step,
        }

    def _augmenter(self) -> Augmenter:
        data = self.config.data
        pseudo = None
        if data.teacher is not None:
            pseudo = pseudo_labels(
                self.packed, data.teacher, lambda done, total: self.log(f"teacher: person {done} of {total}")
            )
        return Augmenter(
            self.packed, self.config.augment, data.growth, pseudo, data.teacher_score, device=self.worker.device
        )

    def _validation(self) -> Validation | None:
        config, data = self.config.validate, self.config.data
        if config is None or self.worker.rank:
            return None
        return Validation(config, self.packed.people.skeleton, data.size, data.growth)

    def _nets(self) -> tuple[nn.Module, ParallelSppe | None]:
        """The net that learns, and the frozen one beside it in stage 2."""
        config, parallel = self.config, None
        self.model_config = {"joints": len(self.packed.people.skeleton), **config.model}
        if config.start is not None:
            net, saved = load_checkpoint(config.start)
            if saved["skeleton"] != config.data.skeleton:
                raise ModelError(f"{config.start}: its skeleton is {saved['skeleton']}, not {config.data.skeleton}")
            self.model_config = saved["model"]
        else:
            net = build_net(self.model_config)
        if config.stage != 1:
            localisation = {"size": list(config.data.size), **config.sstn.localisation}
            if localisation["name"] in ("early_localisation", "backbone_localisation"):
                localisation["sppe"] = net
            transformer = build_net(localisation)
            if "sppe" in localisation:
                localisation["sppe"] = self.model_config
        if config.stage == 2:
            if config.sstn.parallel:
                parallel = ParallelSppe(net)
            net = SstnSppe(net, transformer)
            self.model_config = {"name": "sstn_sppe", "sppe": self.model_config, "localisation": localisation}
        if config.stage == "stn":
            net, self.model_config = transformer, localisation
        for one in (net, parallel):
            if one is not None:
                one.to(self.worker.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return net, parallel

    def _objective(self, batch: Batch) -> Parts:
        if self.config.stage == "stn":
            return stn_objective(self.replica, batch)
        if self.config.stage == 1:
            return sppe_objective(self.replica, batch, self.config.sigma)
        return sstn_objective(self.replica, self.parallel, batch, self.config.sigma, self.config.sstn)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The order of people in an epoch."""
        if epoch not in self._orders:
            self._orders = {key: order for key, order in self._orders.items() if key == epoch - 1}
            self._orders[epoch] = np.random.default_rng([self.config.seed, epoch, 1]).permutation(len(self.packed))
        return self._orders[epoch]

    def _stop_on(self, batch: Batch, parts: dict[str, Tensor]) -> None:
        path = self.config.run / f"bad_batch_{self.step}.{self.worker.rank}.pt"
        torch.save({"batch": vars(batch), "net": self.net.state_dict()}, path)
        values = ", ".join(f"{name} {part.item()}" for name, part in parts.items())
        raise ModelError(f"the loss of step {self.step} is not finite ({values}); batch and weights are in {path}")


def to_json(config: TrainConfig) -> str:
    """A configuration as JSON, for checkpoints."""
    return json.dumps(to_mapping(config), sort_keys=True)
