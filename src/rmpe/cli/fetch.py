"""Fetching models at the terminal: what is asked before, what is shown while it lasts."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from rmpe.catalogue import Catalogue, Entry, shipped_catalogue
from rmpe.cli.terminal import warnings_to
from rmpe.download import Progress as Report
from rmpe.download import host_of
from rmpe.errors import UsageError
from rmpe.install.get import get_model
from rmpe.install.records import Outcome

# Environment variable that names a folder of one's own to fetch from.
MIRROR_VARIABLE = "RMPE_MIRROR"


def fetch(
    entries: Sequence[Entry],
    catalogue: Catalogue,
    *,
    yes: bool,
    again: str,
    mirror: str | None = None,
    file: Path | None = None,
) -> list[Outcome]:
    """Install models of the catalogue, after asking.

    Args:
        entries: The models.
        catalogue: Where they are from.
        yes: Whether the user has agreed already.
        again: The command line that says yes, for where nobody can be asked.
        mirror: Folder of one's own to fetch from.
        file: A file that was carried here by hand; then nothing is downloaded.

    Raises:
        UsageError: If nobody can be asked, or the user says no.
        ModelError: If a model cannot be fetched.
    """
    if file is None:
        consent(entries, catalogue, yes=yes, again=again, mirror=mirror)
    outcomes = []
    for entry in entries:
        with progress_of(entry.name) as report:
            outcomes.append(
                get_model(entry, catalogue=catalogue, mirror=mirror, file=file, progress=report)
            )
        click.echo(f"{entry.name}: {outcomes[-1].state} ({outcomes[-1].detail})")
    return outcomes


def offer(name: str) -> None:
    """Ask whether to fetch a model that a command needs, and do so.

    Args:
        name: What the catalogue calls it.

    Raises:
        UsageError: If the user says no.
        ModelError: If it cannot be fetched.
    """
    shipped = shipped_catalogue()
    again = f"rmpe models get {name} -y"
    mirror = os.environ.get(MIRROR_VARIABLE)
    fetch([shipped.find(name)], shipped, yes=False, again=again, mirror=mirror)


def consent(
    entries: Sequence[Entry],
    catalogue: Catalogue,
    *,
    yes: bool,
    again: str,
    mirror: str | None = None,
) -> None:
    """Say what would be downloaded, from where and under which licence, and ask.

    Raises:
        UsageError: If nobody can be asked, or the user says no.
    """
    for entry in entries:
        hosts = dict.fromkeys(map(host_of, catalogue.addresses(entry, mirror)))
        click.echo(
            f"{entry.name}: {entry.card.kind} model, {entry.size} from {', else '.join(hosts)}, "
            f"{entry.card.license}, {entry.trust}",
            err=True,
        )
        if entry.doubts:
            click.echo(f"  {entry.doubts}", err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"nothing is downloaded without a yes: {again}")
    try:
        agreed = click.confirm("download?", err=True)
    except click.Abort:  # Ctrl-C, or the end of the input
        click.echo(err=True)
        agreed = False
    if not agreed:
        raise UsageError("nothing was downloaded")


@contextmanager
def progress_of(name: str) -> Iterator[Report]:
    """Show how far a download is, on a terminal; warnings appear above."""
    console = Console(stderr=True)
    logging.getLogger("filelock").setLevel(logging.WARNING)
    with (
        warnings_to(console),
        Progress(
            TextColumn(name),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        ) as bar,
    ):
        task = bar.add_task(name, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None)

        yield report
