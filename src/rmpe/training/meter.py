"""Progress of a run: log lines at intervals, also as JSON and optionally in TensorBoard."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Meter:
    """Reports the mean losses since the last line, the rate and the remaining time.

    Args:
        run: Folder for ``log.jsonl`` and TensorBoard events.
        steps: Steps of the whole run.
        batch: People per step.
        every: Seconds between lines.
        tensorboard: Whether to write TensorBoard events.
        log: Receives lines of progress.
    """

    def __init__(
        self,
        run: Path,
        steps: int,
        batch: int,
        every: float,
        tensorboard: bool,
        log: Callable[[str], None],
    ) -> None:
        self.run = run
        self.steps = steps
        self.batch = batch
        self.every = every
        self.log = log
        self.last = time.monotonic()
        self.sums: dict[str, float] = {}
        self.count = 0
        self.writer: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(run))

    def add(self, step: int, parts: dict[str, float]) -> None:
        """Count a step; report if the interval is over or the step is the last."""
        self.count += 1
        for name, value in parts.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        seconds = time.monotonic() - self.last
        if seconds < self.every and step < self.steps:
            return
        means = {name: value / self.count for name, value in self.sums.items()}
        rate = self.count * self.batch / seconds
        left = (self.steps - step) * seconds / self.count
        self.log(
            f"step {step}/{self.steps}  {_text(means)}  {rate:.1f} people/s"
            f"  {left / 60:.1f} min left"
        )
        self._write(step, means | {"people_per_second": rate})
        self.last = time.monotonic()
        self.sums = {}
        self.count = 0

    def measure(self, step: int, figures: dict[str, float]) -> None:
        """Report the figures of a validation, whose time is excluded from the rate."""
        if figures:
            self.log(f"step {step}/{self.steps}  validation  {_text(figures)}")
            self._write(step, {f"validation_{name}": value for name, value in figures.items()})
        self.last = time.monotonic()
        self.sums = {}
        self.count = 0

    def close(self) -> None:
        """Close the TensorBoard file."""
        if self.writer:
            self.writer.close()

    def _write(self, step: int, values: dict[str, float]) -> None:
        with (self.run / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "time": time.time(), **values}) + "\n")
        if self.writer:
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)


def _text(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())
