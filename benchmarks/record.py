"""Keep one measured table as a file, so that no figure in the documents is typed by hand.

A benchmark calls `show`, which prints its table and, with ``--save``, keeps it; one that prints
each row as it comes calls `record`. ``python benchmarks/render_results.py`` turns all recorded
files into ``docs/results.md``; ``tests/test_results.py`` holds both together.
"""

import json
import math
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
# The data folder of the benchmarks that have no option for it.
DATA = Path(os.environ.get("RMPE_DATA", ROOT.parent / "shared"))
CELL = str | int | float | bool | None


def show(
    name: str, *, save: bool, title: str, columns: list[str], rows: list[list[Any]], **about: Any
) -> None:
    """Print a table and its notes, and `record` it, which has the same arguments, if ``save``."""
    lines = [columns, *([cell(value) for value in row] for row in rows)]
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
    command: str,
    data: str,
    columns: list[str],
    rows: list[list[Any]],
    notes: str = "",
    folder: Path = RESULTS,
) -> Path:
    """Write one table to ``docs/results/NAME.json``, with the commit and the machine it was
    measured on.

    Args:
        name: File name without ending; lower case letters, digits, ``-`` and ``_``. An older record
            is replaced.
        title: Heading in ``docs/results.md``.
        command: The command that prints this table, to be run from the repository's root.
        data: What it was measured on, e.g. ``coco-val (250 photos)``.
        columns: Column names.
        rows: One list a row, as many cells as columns: text, numbers, truth values or None. Numbers
            are kept as they are and rounded to four significant digits only in the document.
        notes: What a reader must know: what is disturbed, what got worse.
        folder: Where to write; tests use another one.

    Returns:
        The file written.

    Raises:
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
        "command": command,
        "data": data,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "machine": machine(),
        "notes": notes,
        "columns": columns,
        "rows": cells,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path


def cell(value: Any) -> str:
    """A figure as it is shown: numbers with four significant digits."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def _plain(cell: Any) -> CELL:
    value = cell.item() if hasattr(cell, "item") else cell  # a NumPy scalar becomes Python's own
    if not isinstance(value, CELL):
        raise ValueError(
            f"a cell must be text, a number, a truth value or None, not {type(value).__name__}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a cell must be finite: write None for a figure that is not defined")
    return value


def commit() -> str:
    """Short hash of the checked-out commit, with ``+`` where tracked files under ``src`` or ``benchmarks`` differ."""
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        changed = subprocess.run(
            ["git", "diff", "--quiet", "HEAD", "--", "src", "benchmarks"], cwd=ROOT, check=False
        )
    except FileNotFoundError:
        return "unknown"
    return "unknown" if head.returncode else head.stdout.strip() + "+" * bool(changed.returncode)


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
