"""Plots of evaluation figures."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.atomic import save_figure
from rmpe.evaluation.matching.ranked import RECALLS
from rmpe.evaluation.protocols.coco import THRESHOLDS
from rmpe.extras import load_extra

COLORS = ("#2e7d32", "#9ccc65", "#ffb300", "#8e24aa", "#c62828")


def precision_recall(precision: NDArray[np.float64], path: Path) -> Path:
    """Precision-recall curves of COCO's ten thresholds, from precision ``(10, 101)``."""
    figure, axes = _figure("recall", "precision")
    for threshold, row in zip(THRESHOLDS, precision, strict=True):
        defined = row > -1
        axes.plot(
            RECALLS[defined],
            row[defined],
            label=f"{threshold:.2f}",
            color=(1 - threshold, 0.3, threshold),
        )
    axes.set(xlim=(0, 1), ylim=(0, 1.02), title="Precision and recall by threshold")
    axes.legend(fontsize=7, ncols=2)
    return save_figure(figure, path)


def bars(
    values: dict[str, float],
    title: str,
    y_label: str,
    path: Path,
    notes: dict[str, str] | None = None,
) -> Path:
    """One bar per value; undefined values (-1) stay empty. ``notes`` appear under the names."""
    figure, axes = _figure("", y_label)
    labels = [f"{name}\n{notes[name]}" if notes else name for name in values]
    drawn = axes.bar(labels, [max(value, 0) for value in values.values()], color=COLORS[0])
    axes.bar_label(
        drawn, [f"{value:.3g}" if value > -1 else "none" for value in values.values()], fontsize=8
    )
    axes.set_title(title)
    axes.tick_params(axis="x", rotation=90 if len(values) > 8 else 0, labelsize=8)
    return save_figure(figure, path)


def stacked(rows: dict[str, list[int]], names: tuple[str, ...], title: str, path: Path) -> Path:
    """Stacked shares that sum to 1: one bar per name, one layer per row."""
    figure, axes = _figure("share", "")
    counts = np.array(list(rows.values()), np.float64)
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    left = np.zeros(len(names))
    for (kind, _), share, color in zip(rows.items(), shares, COLORS, strict=False):
        axes.barh(names, share, left=left, label=kind, color=color)
        left += share
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), title=title)
    axes.legend(fontsize=7, ncols=len(rows), loc="lower center", bbox_to_anchor=(0.5, -0.3))
    return save_figure(figure, path)


def differences(
    measured: dict[str, tuple[float, float, float]],
    published: dict[str, float],
    published_name: str,
    title: str,
    path: Path,
) -> Path:
    """Measured differences (difference, low, high), one per row, next to published ones."""
    figure, axes = _figure("difference (AP points)", "", (8, 1.5 + 0.35 * len(measured)))
    middles, lows, highs = np.array(list(measured.values())).T
    places = np.arange(len(measured))
    axes.axvline(0, color="grey", linewidth=0.8)
    spread = np.maximum([middles - lows, highs - middles], 0)
    axes.errorbar(
        middles,
        places,
        xerr=spread,
        fmt="o",
        color=COLORS[0],
        capsize=3,
        label="measured, 95 % interval",
    )
    known = [index for index, name in enumerate(measured) if name in published]
    values = [published[name] for name in measured if name in published]
    if known:
        axes.plot(
            values,
            known,
            "D",
            color=COLORS[4],
            markerfacecolor="none",
            label=f"published: {published_name}",
        )
    axes.set_yticks(places, list(measured), fontsize=8)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=9)
    figure.legend(fontsize=7, loc="outside lower center", ncols=2)
    return save_figure(figure, path)


def curves(
    series: dict[str, list[tuple[float, float, float, float]]], y_label: str, path: Path
) -> Path:
    """One panel per varied parameter, with points (value, difference, low, high)."""
    columns = min(len(series), 3)
    rows = -(-len(series) // columns)
    figure = _empty((4 * columns, 3 * rows))
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes, (name, points) in zip(panels.flat, series.items(), strict=False):
        values, middles, lows, highs = np.array(sorted(points)).T
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.fill_between(values, lows, highs, color=COLORS[1], alpha=0.4, linewidth=0)
        axes.plot(values, middles, "o-", color=COLORS[0])
        axes.set(xlabel=name)
        if min(values) > 0 and max(values) >= 10 * min(values):
            axes.set_xscale("log")
    for axes in panels.flat[len(series) :]:
        axes.set_axis_off()
    figure.supylabel(y_label, fontsize=9)
    return save_figure(figure, path)


def _empty(size: tuple[float, float]) -> Any:
    figures = load_extra("matplotlib.figure", "eval")
    return figures.Figure(figsize=size, dpi=120, layout="constrained")


def _figure(x_label: str, y_label: str, size: tuple[float, float] = (6, 4)) -> tuple[Any, Any]:
    figure = _empty(size)
    axes = figure.subplots()
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
