"""What a training run is: its options, and the task that brings net, data and losses."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from rmpe.training.optim import OptimConfig
from rmpe.training.worker import Worker

LARGEST_BATCH = 65536
MOST_THREADS = 1024

Log = Callable[[str], None]
Validate = Callable[[nn.Module, str], dict[str, float]]
Parts = dict[str, Tensor]  # weighted losses by name


@dataclass(frozen=True)
class ValidateConfig:
    """The photos on which a run is measured; never those on which the result will be reported.

    Attributes:
        annotations: COCO keypoints JSON; needs the evaluation libraries (extra ``eval``).
        images: Folder of the photos.
        only: Text file with names of the photos to use; all if not given.
        every: Seconds between measurements; the last one is at the end of the run.
    """

    annotations: Path
    images: Path
    only: Path | None = None
    every: float = 900.0


class Task(Protocol):
    """The net, data and losses of a run.

    Attributes:
        net: The net that is trained.
        learner: What is run to train it: `net`, or a module around it.
        items: Number of items (people or photos) per epoch.
        validation: Measures a net on a device; set in the first process of a run with validation.
    """

    net: nn.Module
    learner: nn.Module
    items: int
    validation: Validate | None

    def batch(
        self, items: NDArray[np.int64], generator: np.random.Generator, done: float, share: slice
    ) -> Any:
        """An augmented batch (a dataclass).

        Args:
            items: Indices of all items of the batch.
            generator: Source of randomness, the same in all processes.
            done: Completed share of the run, in [0, 1).
            share: The shard of the batch that belongs to this process.
        """
        ...

    def losses(self, net: nn.Module, batch: Any) -> Parts:
        """The losses of ``net``, which is `net` or, with several processes, its replica."""
        ...

    def pictures(self, batch: Any) -> list[NDArray[np.uint8]]:
        """The items of a batch with their labels drawn, RGB uint8 of one size."""
        ...

    def describe(self) -> dict[str, Any]:
        """The configuration for the checkpoint; see `rmpe.nets.checkpoint`."""
        ...


@dataclass(frozen=True, kw_only=True)
class RunConfig(ABC):
    """The options that all training runs share.

    Attributes:
        run: Folder for the log, the resumable state, and the result ``model.safetensors``.
        steps: Number of weight updates.
        batch: People or photos per update, over all processes.
        freeze: Modules whose weights and batch-norm statistics are frozen.
        freeze_norms: Freeze the statistics of all batch norms (their weights still learn).
        optim: The optimiser.
        validate: Photos on which the run is measured during training.
        device: ``cpu``, ``cuda``, or ``auto``.
        precision: ``bfloat16`` runs the nets in mixed precision; it helps on CPUs with AMX or
            AVX512-BF16.
        threads: CPU threads per process; 0 = PyTorch's default.
        workers: Processes of lower priority that make batches ahead; 0 = the training process makes
            them. The result is the same. Needs ``device = "cpu"`` and processes that can fork
            (Linux).
        seed: Seed of weights, order and augmentation.
        log_every: Seconds between log lines.
        save_every: Seconds between saved states.
        tensorboard: Also write TensorBoard events into ``run``.
    """

    run: Path
    steps: int
    batch: int = 64
    freeze: tuple[str, ...] = ()
    freeze_norms: bool = False
    optim: OptimConfig = field(default_factory=OptimConfig)
    validate: ValidateConfig | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: int = 0
    workers: int = 0
    seed: int = 0
    log_every: float = 20.0
    save_every: float = 180.0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1:
            raise ValueError(f"steps = {self.steps} and batch = {self.batch} must be at least 1")
        if self.workers and self.device != "cpu":
            raise ValueError('workers need device = "cpu": a GPU makes its batches itself')
        if self.batch > LARGEST_BATCH:
            raise ValueError(f"batch = {self.batch} is more than {LARGEST_BATCH}")
        if not 0 <= self.threads <= MOST_THREADS:
            raise ValueError(f"threads = {self.threads} must lie between 0 and {MOST_THREADS}")
        for name in ("seed", "log_every", "save_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} = {getattr(self, name)} must not be negative")

    @abstractmethod
    def open(self, worker: Worker, log: Log) -> Task:
        """Open data and nets on the worker's device."""
