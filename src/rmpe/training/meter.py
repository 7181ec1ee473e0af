"""Progress of a run: a line of text now and then, the same as JSON, and TensorBoard if wanted."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Meter:
    """Means of the losses since the last line, rate and time left.

    Args:
        run: Folder for ``log.jsonl`` and TensorBoard's events.
        steps: Steps of the whole run.
        batch: People a step.
        every: Seconds between lines.
        tensorboard: Whether to write events.
        log: Takes one line.
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
        """Count a step; speak when it is time, and at the last."""
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
            f"step {step}/{self.steps}  {_text(means)}  {rate:.1f} people/s  {left / 60:.1f} min left"
        )
        self._write(step, means | {"people_per_second": rate})
        self.last = time.monotonic()
        self.sums = {}
        self.count = 0

    def measure(self, step: int, figures: dict[str, float]) -> None:
        """Tell the figures of a validation; its time does not count for the rate."""
        if figures:
            self.log(f"step {step}/{self.steps}  validation  {_text(figures)}")
            self._write(step, {f"validation_{name}": value for name, value in figures.items()})
        self.last = time.monotonic()
        self.sums = {}
        self.count = 0

    def close(self) -> None:
        """Finish TensorBoard's file."""
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
