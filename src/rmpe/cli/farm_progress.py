"""How far ``rmpe farm run`` is: a bar on a terminal, else a line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from rmpe.farm.work import Outcome

# Seconds between two lines of progress where there is no terminal.
LINE_EVERY = 30.0


@dataclass
class Progressed:
    """How far a run is.

    Attributes:
        total: Photos to do.
        photos: Photos done.
        people: People found.
        failed: Photos that failed.
        given_up: Shards that were given up, each with the reason.
        started: When it began, on `time.monotonic`.
    """

    total: int
    photos: int = 0
    people: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        self.given_up: dict[int, str] = {}
        self.started = time.monotonic()

    def add(self, outcome: Outcome, photos: int) -> None:
        """Count one more shard, which has so many photos."""
        if outcome.error:
            self.given_up[outcome.shard] = outcome.error
            self.total -= photos
            return
        self.photos += outcome.photos
        self.people += outcome.people
        self.failed += outcome.failed

    def line(self) -> str:
        """Rate, people, failures and the time left."""
        rate = self.photos / max(time.monotonic() - self.started, 1e-9)
        shards = f", {len(self.given_up):,} shards failed" if self.given_up else ""
        failed = f", {self.failed:,} failed" if self.failed else ""
        left = time_left(self.total - self.photos, rate)
        return f"{rate:.1f} photos/s, {self.people:,} people{failed}{shards}, {left} left"


def time_left(photos: int, rate: float) -> str:
    """The time that photos take at a rate a second, as people write it."""
    return str(timedelta(seconds=round(photos / rate))) if rate else "?"


@contextmanager
def shown(progress: Progressed, earlier: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """How to show progress: a bar on a terminal, else a line now and then.

    Args:
        progress: What is shown.
        earlier: Photos that an earlier call has done.
        quiet: Show nothing.
    """
    show = Console(stderr=True)
    if show.is_terminal and not quiet:
        with Progress(
            TextColumn("photos"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=show,
        ) as bar:
            task = bar.add_task("", total=progress.total + earlier, completed=earlier, note="")
            yield lambda: bar.update(
                task, completed=progress.photos + earlier, note=progress.line()
            )
        return
    last = progress.started

    def line() -> None:
        nonlocal last
        if not quiet and time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            of = f"{progress.photos + earlier:,} of {progress.total + earlier:,} photos"
            click.echo(f"{of}, {progress.line()}", err=True)

    yield line
