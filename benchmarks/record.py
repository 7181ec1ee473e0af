"""Measured tables as files, so that no figure in the documents is typed by hand.

A benchmark calls `show`, which prints its table and, with ``--save``, records it, or `record`
where the rows were printed as they came. ``python -m benchmarks.render`` turns the recorded files
into the pages of ``docs/results``.
"""

import json
import math
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
# What decides a figure: a change here that is not committed makes a table nobody can repeat.
DECISIVE = ("src", "benchmarks", "configs", "models", "tests/tiny_models.py", "pyproject.toml")
Cell = str | int | float | bool | None


class DirtyTreeError(Exception):
    """A table must not be recorded: the commit does not say what was measured."""


@dataclass(frozen=True)
class Record:
    """One recorded table.

    Attributes:
        name: Its file is ``docs/results/NAME.json``.
        title: Heading.
        command: What measured it, run from the repository's root.
        data: What it was measured on, e.g. ``coco-val (250 photos)``.
        date: Day of the measurement, ISO 8601.
        commit: Short hash; older tables have a ``+`` where the tree was not clean.
        machine: Processor, cores and Python.
        notes: What a reader must know.
        columns: Column names.
        rows: One list a row, as many cells as columns: text, numbers, truth values or None.
    """

    name: str
    title: str
    command: str
    data: str
    date: str
    commit: str
    machine: str
    notes: str
    columns: list[str]
    rows: list[list[Any]]

    def at(self, column: str, *names: Cell) -> Any:
        """The cell of a column in the one row that begins with ``names``.

        Raises:
            KeyError: If no row or several rows do.
        """
        rows = [row for row in self.rows if row[: len(names)] == list(names)]
        if len(rows) != 1:
            raise KeyError(f"{self.name}: {len(rows)} rows begin with {names}")
        return rows[0][self.columns.index(column)]


def read(name: str, folder: Path = RESULTS) -> Record:
    """A recorded table."""
    return Record(name, **json.loads((folder / f"{name}.json").read_text("utf-8")))


def show(
    name: str,
    *,
    save: bool,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    **about: Any,
) -> None:
    """Print a table and its notes, and `record` it, which has the same arguments, if ``save``."""
    lines = [columns, *([_shown(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(f"\n{title}")
    for line in lines:
        print(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        )
    print(about.get("notes", ""))
    if save:
        record(name, title=title, columns=columns, rows=rows, **about)


def record(
    name: str,
    *,
    title: str,
    data: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    notes: str = "",
    command: str = "",
    folder: Path = RESULTS,
) -> Path:
    """Write one table to ``docs/results/NAME.json``, with its command, commit and machine.

    Args:
        name: File name without ending: lower case letters, digits, ``-`` and ``_``. An older record
            is replaced.
        title: Heading.
        data: What it was measured on, e.g. ``coco-val (250 photos)``.
        columns: Column names.
        rows: One list a row, as many cells as columns: text, numbers, truth values or None. Numbers
            are kept as they are; the pages round them.
        notes: What a reader must know, in sentences.
        command: What printed the table; the command that runs now if left out.
        folder: Where to write; tests use another one.

    Returns:
        The file written.

    Raises:
        DirtyTreeError: If there are changes that are not committed.
        ValueError: If the name, a row's length or a cell's type is wrong, or a number is not
            finite.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise ValueError(f"result name {name!r}: use lower case letters, digits, - and _")
    cells = [[_plain(cell) for cell in row] for row in rows]
    for row in cells:
        if len(row) != len(columns):
            raise ValueError(
                f"{name}: row {row} has {len(row)} cells, there are {len(columns)} columns"
            )
    result = {
        "title": title,
        "command": command or this_command(),
        "data": data,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": clean_commit(),
        "machine": machine(),
        "notes": notes,
        "columns": list(columns),
        "rows": cells,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path


def _shown(value: Any) -> str:
    """A figure as it is printed: numbers with four significant digits."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def _plain(cell: Any) -> Cell:
    value = cell.item() if hasattr(cell, "item") else cell  # a NumPy scalar becomes Python's own
    if not isinstance(value, Cell):
        raise ValueError(
            f"a cell must be text, a number, a truth value or None, not {type(value).__name__}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a cell must be finite: write None for a figure that is not defined")
    return value


def clean_commit(root: Path = ROOT) -> str:
    """Short hash of the commit that is checked out, if nothing that decides a figure differs.

    Raises:
        DirtyTreeError: If something does, or ``root`` is no git checkout.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        head = git("rev-parse", "--short", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=all", "--", *DECISIVE)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise DirtyTreeError(f"{root}: a table is only recorded in a git checkout") from error
    if changed:
        files = ", ".join(line.split()[-1] for line in changed.splitlines()[:5])
        raise DirtyTreeError(f"commit these changes before a table is recorded: {files}")
    return head


def this_command() -> str:
    """The command that runs now, without what differs from machine to machine (``--data``)."""
    spec = sys.modules["__main__"].__spec__
    arguments: list[str] = []
    skip = False
    for argument in sys.argv[1:]:
        if not skip and argument != "--data" and not argument.startswith("--data="):
            arguments.append(argument)
        skip = argument == "--data"
    return shlex.join(["python", "-m", spec.name if spec else "benchmarks", *arguments])


def machine() -> str:
    """Processor, cores and Python version in one line."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        model = next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"
