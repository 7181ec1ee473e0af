"""Plots of movement: angle curves, a timeline of people, a strip of stick figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.atomic import save_figure
from rmpe.draw import limb_colors
from rmpe.extras import load_extra
from rmpe.kinematics.angles import DEFINITIONS
from rmpe.kinematics.measure import Movement
from rmpe.kinematics.tracks import Track, runs

RESOLUTION = 110  # dots per inch
COLORS = {"left": "#00a844", "right": "#f07800", "": "#2f7fd6"}  # as in drawn pictures
FIGURES = 12  # in a strip
AWAY = 0.5  # heights of the person; a strip whose feet differ by more shows depth, not jumps
MOST_PEOPLE = 40  # lines of a timeline


def plot_angles(movement: Movement, path: Path) -> Path:
    """One panel per angle, left and right in one; x in seconds, y in degrees."""
    titles = {
        definition.title: [other.name for other in DEFINITIONS if other.title == definition.title]
        for definition in DEFINITIONS
    }
    shown = {
        title: [name for name in names if name in movement.angles]
        for title, names in titles.items()
    }
    shown = {title: names for title, names in shown.items() if names}
    columns = 2
    rows = max(1, -(-len(shown) // columns))
    figure = _figure(10, 2.1 * rows + 0.6)
    axes = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    for panel, (title, names) in zip(axes, shown.items(), strict=False):
        for name in names:
            side = name.partition("_")[0] if "_" in name else ""
            label = side or None
            panel.plot(
                movement.track.seconds,
                movement.angles[name],
                color=COLORS[side],
                linewidth=1.3,
                label=label,
            )
        panel.set_title(title, fontsize=10, loc="left")
        panel.set_ylabel("degrees", fontsize=8)
        if len(names) > 1:
            panel.legend(fontsize=7, loc="best", frameon=False, ncols=2)
    for panel in axes[len(shown) :]:
        panel.set_visible(False)
    for panel in axes[max(0, len(shown) - columns) : len(shown)]:
        panel.set_xlabel("seconds", fontsize=8)
        panel.tick_params(labelbottom=True)
    figure.suptitle(f"Person {movement.track.person}", fontsize=12)
    return _save(figure, path)


def plot_timeline(tracks: Sequence[Track], path: Path) -> Path:
    """When each person was seen, darker where the pose is more certain.

    Only the longest `MOST_PEOPLE` tracks are shown.
    """
    longest = sorted(tracks, key=lambda track: -int(np.isfinite(track.confidence).sum()))
    shown = sorted(longest[:MOST_PEOPLE], key=lambda track: track.person)
    figure = _figure(10, 1.3 + 0.25 * len(shown))
    axes = figure.subplots()
    mesh = None
    for line, track in enumerate(shown):
        step = 1 / track.fps
        for run in runs(np.isfinite(track.confidence)):
            edges = np.append(track.seconds[run], track.seconds[run][-1] + step)
            mesh = axes.pcolormesh(
                edges,
                [line - 0.4, line + 0.4],
                track.confidence[run][None],
                vmin=0,
                vmax=1,
                cmap="viridis_r",
            )
    axes.set_yticks(range(len(shown)), [str(track.person) for track in shown], fontsize=8)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel("seconds")
    axes.set_ylabel("person")
    left_out = f" ({len(shown)} longest of {len(tracks)})" if len(shown) < len(tracks) else ""
    axes.set_title(f"Who was seen when{left_out}", loc="left", fontsize=11)
    if mesh is not None:
        figure.colorbar(mesh, ax=axes, label="confidence", pad=0.01)
    return _save(figure, path)


def plot_strip(movement: Movement, path: Path, count: int = FIGURES) -> Path:
    """Stick figures at even times, side by side above the floor.

    Where a person comes nearer or goes away, the floor is no line, and each figure stands on its
    lowest joint.
    """
    places = movement.places
    whole = np.flatnonzero(np.isfinite(places).all(axis=2).sum(axis=1) >= 0.5 * places.shape[1])
    figure = _figure(12, 3.2)
    axes = figure.subplots()
    chosen = whole[np.linspace(0, len(whole) - 1, min(count, len(whole))).astype(int)]
    if len(chosen):
        figures = places[chosen]
        low = np.nanmin(figures, axis=1)
        extent = np.nanmax(figures, axis=1) - low
        if np.ptp(low[:, 1]) > AWAY * np.median(extent[:, 1]):
            figures = figures - np.stack([np.zeros(len(low)), low[:, 1]], axis=1)[:, None]
        width = max(1.15 * extent[:, 0].max(), 0.4 * extent[:, 1].max())
        for number, (at, own) in enumerate(zip(chosen, figures, strict=True)):
            middle = number * width
            left = np.nanmean(own[:, 0]) - middle
            _stick_figure(axes, movement, own - [left, 0])
            axes.annotate(
                f"{movement.track.seconds[at]:.2f} s",
                (middle, 0),
                (0, -14),
                textcoords="offset points",
                ha="center",
                fontsize=7,
            )
        axes.axhline(0, color="0.6", linewidth=1)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(f"Person {movement.track.person}", fontsize=11)
    return _save(figure, path)


def _stick_figure(axes: Any, movement: Movement, places: NDArray[np.float64]) -> None:
    skeleton = movement.track.skeleton
    for (start, end), color in zip(skeleton.limbs, limb_colors(skeleton), strict=True):
        ends = places[[start, end]]
        if np.isfinite(ends).all():
            axes.plot(*ends.T, color=np.array(color) / 255, linewidth=2, solid_capstyle="round")


def _figure(width: float, height: float) -> Any:
    """A figure that no window system and no global state knows of."""
    figures = load_extra("matplotlib.figure", "kinematics")
    return figures.Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> Path:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return save_figure(figure, path, dpi=RESOLUTION)
