"""Run an ablation: measure every row, compare it with the first, and write the report."""

import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np

from rmpe.ablation.cost import module_costs
from rmpe.ablation.measure import Bench
from rmpe.ablation.plan import AblationConfig, Setting, repeats, settings
from rmpe.ablation.report import Line, write_report
from rmpe.errors import UsageError
from rmpe.evaluation.benchmarks import Measured
from rmpe.evaluation.figures.bootstrap import compare, mean_figure

# Factor from the protocol's figure to percent.
SCALE = {"coco": 100.0, "crowdpose": 100.0, "mpii": 1.0}


def ablate(config: AblationConfig, log: Callable[[str], None], *, train: bool = True) -> list[Path]:
    """Measure every row and write the table and the plots.

    Args:
        config: The ablation.
        log: Receives lines of progress.
        train: Train the runs that rows need; otherwise rows with unfinished runs are left out.

    Returns:
        The files written.

    Raises:
        RmpeError: If a file is missing or invalid; as far as possible this is checked before the
            first measurement.
    """
    bench = Bench(config, log)
    rows = settings(config)
    if not train:
        rows = _finished(rows, bench, log)
    for row in rows:
        for one in repeats(row, config):
            bench.check(one)
    scale = SCALE[config.data.protocol]
    begun = time.monotonic()
    firsts = [bench.measure(one) for one in repeats(rows[0], config)]
    first = firsts[0]
    lines: list[Line] = []
    for number, row in enumerate(rows):
        measured = [bench.measure(one) for one in repeats(row, config)] if number else firsts
        row_mean, first_mean = (
            mean_figure([one.headline for one in some]) for some in (measured, firsts)
        )
        compared = compare(row_mean, first_mean, first.units, config.samples)
        line = Line.of(row, compared, scale, rows[0], differences(measured, firsts))
        lines.append(line)
        left = (time.monotonic() - begun) / (number + 1) * (len(rows) - number - 1)
        log(
            f"row {number + 1} of {len(rows)}: {row.title}: {line.figure:.1f}"
            f" ({line.difference:+.1f}, {line.low:+.1f} .. {line.high:+.1f});"
            f" about {left / 60:.0f} min left"
        )
    costs = module_costs(bench, repeats(rows[0], config)[0], config.cost) if config.cost else {}
    return write_report(config, lines, first.headline_name, first.units, costs)


def differences(measured: list[Measured], firsts: list[Measured]) -> list[float]:
    """A row's difference to the first row with each seed; empty where neither has several.

    A row without seeds is compared with every seed of the other.
    """
    count = max(len(measured), len(firsts))
    if count == 1:
        return []
    every = np.ones(firsts[0].units)
    pairs = zip(range(count), cycle(measured), cycle(firsts), strict=False)
    return [own.headline(every) - first.headline(every) for _, own, first in pairs]


def _finished(rows: list[Setting], bench: Bench, log: Callable[[str], None]) -> list[Setting]:
    """The rows that need no training."""
    kept = []
    for row in rows:
        missing = [bench.runs.unfinished(one) for one in repeats(row, bench.config)]
        if any(missing):
            log(f"left out: {row.title}: run {' '.join(filter(None, missing))} is not finished")
        else:
            kept.append(row)
    if not kept or kept[0] is not rows[0]:
        raise UsageError(
            f"the first row, {rows[0].title!r}, is not trained yet; all rows are compared with it"
        )
    return kept
