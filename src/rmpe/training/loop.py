"""The training loop for all tasks: plain PyTorch, one or more processes, bit-exact resuming."""

import json
import os
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from rmpe.config import to_mapping
from rmpe.errors import DataError, MissingPackageError, ModelError
from rmpe.fields import cut, table, text, whole
from rmpe.files import BROKEN_ARCHIVE, make_folder
from rmpe.nets.checkpoint import save_checkpoint
from rmpe.training.look import LOG, write_curves, write_samples
from rmpe.training.meter import Meter
from rmpe.training.optim import (
    MovingAverage,
    frozen_modules,
    learning_rate,
    make_optimizer,
    norms,
    set_learning_rate,
)
from rmpe.training.run import Log, Parts, RunConfig
from rmpe.training.worker import Worker

# How much lower the priority of the processes is that make batches ahead: a step should not wait
# for the batch after the next.
NICER = 5
# The file in a run's folder that it goes on from.
STATE = "state.pt"
# What torch.load raises for files that are damaged or hold more than tensors and plain values.
BROKEN_STATE = (
    *BROKEN_ARCHIVE,
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    ValueError,
    pickle.UnpicklingError,
)


class Batches(Dataset[Any]):
    """Step -> its batch, for processes that make batches ahead."""

    def __init__(self, batch: Callable[[int], Any]) -> None:
        self.batch = batch

    def __getitem__(self, step: int) -> Any:
        return self.batch(step)


class Trainer:
    """A run: a task and the state of its training.

    Args:
        config: The run.
        log: Receives lines of progress.

    Raises:
        RmpeError: If data, checkpoint or options are invalid.
    """

    def __init__(self, config: RunConfig, log: Log) -> None:
        self.config = config
        self.worker = Worker.join(config.device)
        self.log: Log = log if self.worker.rank == 0 else lambda line: None  # noqa: ARG005
        if config.threads:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.share = self.worker.share(config.batch)
        self.task = config.open(self.worker, self.log)
        self.net = self.task.net
        self.frozen = frozen_modules(self.net, config.freeze) + (
            norms(self.net) if config.freeze_norms else []
        )
        self.optimizer = make_optimizer(self.net, config.optim)
        self.average = MovingAverage(self.net, config.optim.ema)
        learner = self.task.learner
        self.replica = DistributedDataParallel(learner) if self.worker.count > 1 else learner
        self.step = 0
        self._orders: dict[int, NDArray[np.int64]] = {}
        self._ahead: Iterator[Any] | None = None

    def fit(self) -> Path:
        """Train from the current step to the last.

        Returns:
            The checkpoint file.

        Raises:
            ModelError: If the loss is not finite; the batch is saved next to the state.
        """
        config = self.config
        if self.worker.rank:
            return self._follow()
        self.show_samples()
        meter = Meter(
            config.run, config.steps, config.batch, config.log_every, config.tensorboard, self.log
        )
        saved = validated = time.monotonic()
        while self.step < config.steps:
            parts = self.update()
            meter.add(self.step, parts)
            if time.monotonic() - saved > config.save_every:
                self.save()
                saved = time.monotonic()
            if config.validate and time.monotonic() - validated > config.validate.every:
                figures = self.validate()
                self.show_curves()
                meter.measure(self.step, figures)
                validated = time.monotonic()
        self.save()
        if config.validate:
            meter.measure(self.step, self.validate())
        meter.close()
        self.show_curves()
        return config.run / "model.safetensors"

    def show(self) -> list[Path]:
        """Draw a page of samples and, if the run has begun, its curves, without training."""
        curves = self.show_curves() if (self.config.run / LOG).is_file() else None
        return [self.show_samples(), *([curves] if curves else [])]

    def show_samples(self) -> Path:
        """Write the current step's batch, or its beginning, as a page into the run's folder."""
        make_folder(self.config.run)
        return write_samples(self.task.pictures(self.batch(self.step)), self.config.run)

    def show_curves(self) -> Path | None:
        """Draw the curves of the run so far; without Matplotlib only say so."""
        try:
            return write_curves(self.config.run)
        except MissingPackageError as error:
            self.log(f"no curves: {error}")
            return None

    def _follow(self) -> Path:
        """The loop of all processes but the first: the same steps, no files."""
        while self.step < self.config.steps:
            self.update()
        return self.config.run / "model.safetensors"

    def validate(self) -> dict[str, float]:
        """Figures of the averaged weights; empty without validation or in other processes."""
        if self.task.validation is None:
            return {}
        with self.average.applied(self.net) as net:
            return self.task.validation(net, self.worker.device)

    def update(self) -> dict[str, float]:
        """Run one step and return its losses and learning rate."""
        config = self.config
        self.replica.train()
        for module in self.frozen:
            module.eval()
        batch = self._next() if config.workers else self.batch(self.step)
        rate = learning_rate(config.optim, self.step, config.steps)
        set_learning_rate(self.optimizer, rate)
        parts = self.losses(batch)
        loss = torch.stack(list(parts.values())).sum()
        if not torch.isfinite(loss):
            self._stop_on(batch, parts)
        self.optimizer.zero_grad(set_to_none=True)
        # DDP averages gradients over processes, but the losses are already divided by the batch.
        torch.autograd.backward(loss * self.worker.count)
        if config.optim.clip:
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), config.optim.clip)
        self.optimizer.step()
        self.average.update(self.net)
        self.step += 1
        whole = self.worker.sum(torch.stack(list(parts.values())).detach())
        return dict(zip(parts, whole.tolist(), strict=True)) | {"lr": rate}

    def losses(self, batch: Any) -> Parts:
        """The losses of a batch, in the run's precision."""
        kind = self.worker.device.partition(":")[0]
        with torch.autocast(kind, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            return self.task.losses(self.replica, batch)

    def batch(self, step: int) -> Any:
        """The batch of a step; it depends only on the configuration, so resuming is exact."""
        config = self.config
        count = self.task.items
        places = range(step * config.batch, (step + 1) * config.batch)
        items = np.array([self._order(place // count)[place % count] for place in places])
        generator = np.random.default_rng([config.seed, step])
        return self.task.batch(items, generator, step / config.steps, self.share)

    def _next(self) -> Any:
        """The batch of the current step, made ahead."""
        if self._ahead is None:
            steps = range(self.step, self.config.steps)
            loader: DataLoader[Any] = DataLoader(
                Batches(self.batch),
                batch_size=None,
                sampler=steps,
                num_workers=self.config.workers,
                multiprocessing_context="fork",
                worker_init_fn=lambda _: os.nice(NICER),  # type: ignore[arg-type]
            )
            self._ahead = iter(loader)
        return next(self._ahead)

    def save(self) -> None:
        """Write the resumable state and the checkpoint, each atomically."""
        state = {
            "step": self.step,
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "config": to_json(self.config),
        }
        partial = self.config.run / f"{STATE}.partial"
        torch.save(state, partial)
        partial.replace(self.config.run / STATE)
        with self.average.applied(self.net) as net:
            training = {"training": json.loads(to_json(self.config)), "steps": self.step}
            save_checkpoint(
                self.config.run / "model.safetensors", net, self.task.describe() | training
            )

    def resume(self) -> None:
        """Load the state from the run's folder.

        Raises:
            DataError: If there is no state, or it belongs to another net.
        """
        path = self.config.run / STATE
        state = read_state(path, self.worker.device)
        try:
            self.net.load_state_dict(state["net"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.load_state_dict(state["average"])
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            said = cut(str(error).strip().splitlines()[0] if str(error) else repr(error))
            raise DataError(f"{path}: belongs to another net or optimiser: {said}") from error
        self.step = state["step"]
        if state["config"] != to_json(self.config):
            self.log("resuming with a configuration that differs from the run's original one")

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The order of the items in an epoch."""
        if epoch not in self._orders:
            self._orders = {key: order for key, order in self._orders.items() if key == epoch - 1}
            self._orders[epoch] = np.random.default_rng([self.config.seed, epoch, 1]).permutation(
                self.task.items
            )
        return self._orders[epoch]

    def _stop_on(self, batch: Any, parts: dict[str, Tensor]) -> None:
        path = self.config.run / f"bad_batch_{self.step}.{self.worker.rank}.pt"
        torch.save({"batch": asdict(batch), "net": self.net.state_dict()}, path)
        values = ", ".join(f"{name} {part.item()}" for name, part in parts.items())
        raise ModelError(
            f"the loss of step {self.step} is not finite ({values});"
            f" batch and weights are in {path}"
        )


def read_state(path: Path, device: str) -> dict[str, Any]:
    """The state that a run goes on from.

    Only tensors and plain values are read from it: loading runs no code.

    Raises:
        DataError: If there is none, or it is not what `Trainer.save` writes.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"{path}: nothing to resume; leave --resume out to start") from error
    except BROKEN_STATE as error:
        said = cut(str(error).strip().splitlines()[0] if str(error).strip() else repr(error))
        raise DataError(f"{path}: damaged, or not the state of a run: {said}") from error
    if not isinstance(state, dict) or not {"step", "net", "optimizer", "average", "config"} <= set(
        state
    ):
        raise DataError(f"{path}: not the state of a run")
    step = whole(state["step"], f"{path}: 'step'")
    if step < 0:
        raise DataError(f"{path}: 'step' is {step}")
    for key in ("net", "optimizer", "average"):
        table(state[key], f"{path}: {key!r}")
    text(state["config"], f"{path}: 'config'")
    return state


def to_json(config: RunConfig) -> str:
    """A configuration as JSON, for checkpoints."""
    return json.dumps(to_mapping(config), sort_keys=True)
