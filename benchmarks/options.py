"""The command line of a benchmark: an option that several of them have is called the same in all.

``--save`` records the table and refuses a dirty tree at once, not after minutes of measuring.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from benchmarks.record import ROOT, DirtyTreeError, clean_commit

DATA = Path(os.environ.get("RMPE_DATA", ROOT.parent / "shared"))


def _refuse_a_dirty_tree(_context: click.Context, _option: click.Parameter, save: bool) -> bool:
    if save:
        try:
            clean_commit()
        except DirtyTreeError as error:
            raise click.UsageError(str(error)) from error
    return save


SHARED = {
    "data": click.option(
        "--data",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        default=DATA,
        show_default=True,
        help="Data folder; RMPE_DATA names another.",
    ),
    "detector": click.option("--detector", help="File or name; left out: the one that ships."),
    "pose": click.option("--pose", help="File or name; left out: the one that ships."),
    "stn": click.option("--stn", help="File or name; left out: the one that ships."),
    "threads": click.option("--threads", default=2, show_default=True),
    "save": click.option(
        "--save",
        is_flag=True,
        callback=_refuse_a_dirty_tree,
        help="Record the table in docs/results.",
    ),
}


def benchmark(*options: str) -> Callable[[Callable[..., None]], click.Command]:
    """A command with these of the `SHARED` options, whose help is its module's docstring."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        for name in reversed(options):
            function = SHARED[name](function)
        # A newline alone is a line break of the source; click keeps paragraphs and marked blocks.
        return click.command(help=sys.modules[function.__module__].__doc__)(function)

    return decorate
