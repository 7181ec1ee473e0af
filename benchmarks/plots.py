"""One plot a page of results, drawn from the recorded tables in one style.

Every PNG carries a digest of the rows it was drawn from, so that a test can tell whether it is up
to date without drawing it again.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MultipleLocator

from benchmarks.record import Record

Read = Callable[[str], Record]
Draw = Callable[[Read], Figure]

# Okabe and Ito's colours, which the colour-blind tell apart. Ours, a published one, the baseline.
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREY = "#777777"
BLACK = "#222222"
STYLE: Any = {
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "lines.linewidth": 2.2,
    "lines.markersize": 6,
    "lines.solid_capstyle": "round",
}
WIDTH = 8.4
BOLD: dict[str, Any] = {"fontweight": "bold"}


def _panels(count: int, height: float = 3.5, **options: Any) -> tuple[Figure, Sequence[Axes]]:
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08)
    figure = Figure(figsize=(WIDTH, height), layout=layout)
    return figure, figure.subplots(1, count, squeeze=False, **options)[0]


def _label(axes: Axes, x: float, y: float, text: str, color: str, **options: Any) -> None:
    """Text beside a point, ``at`` so many typographic points from it."""
    at = options.pop("at", (7, 0))
    place = {"ha": "left" if at[0] > 0 else "right" if at[0] < 0 else "center", "va": "center"}
    axes.annotate(text, (x, y), at, textcoords="offset points", color=color, **(place | options))


def models(read: Read) -> Figure:
    """Keypoint AP with its interval, a line for each combination of boxes and pose model."""
    table = read("default-models")
    rows = [
        ("detector and pose model that ship", ("default detector", "default pose"), BLUE),
        ("YOLOX-nano + pose model that ships", ("yolox_nano", "default pose"), BLUE),
        ("true boxes + pose model that ships", ("true boxes", "default pose"), BLUE),
        ("YOLOX-nano + TinyPose", ("yolox_nano", "TinyPose"), ORANGE),
        ("true boxes + TinyPose", ("true boxes", "TinyPose"), ORANGE),
    ]
    figure, (axes,) = _panels(1, 2.7)
    for height, (_, names, color) in enumerate(reversed(rows)):
        ap = table.at("AP", *names, "no")
        spread = table.at("+-", *names, "no")
        axes.errorbar(ap, height, xerr=spread, fmt="o", color=color, capsize=3, markersize=7)
        _label(axes, ap, height, f"{ap:.1f}", color, at=(0, 9), fontsize=9.5, **BOLD)
    axes.set_yticks(range(len(rows)), [name for name, *_ in reversed(rows)])
    axes.set(
        xlabel="keypoint AP on coco-val, with its 95 % interval", ylim=(-0.5, len(rows) - 0.35)
    )
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_title("Keypoint AP by boxes and pose model, without the STN")
    return figure


def sstn(read: Read) -> Figure:
    """AP against the IoU of the box, with and without the STN; what it wins is shaded."""
    table = read("sstn-shipped-ap")
    own = next(row[0] for row in table.rows if "STN" not in row[0] and row[0] != "TinyPose")
    ious = [float(name.split()[1]) for name in table.columns if name.startswith("IoU")]
    figure, panels = _panels(2)
    titles = {
        "TinyPose": "TinyPose, a published pose model",
        own: f"{own}, the pose model that ships",
    }
    curves = {}
    for name in titles:
        curves[name] = [
            [table.at(f"IoU {iou}", row) for iou in ious]
            for row in (name, f"{name} behind the STN")
        ]
    span = 1.18 * max(max(map(max, pair)) - min(map(min, pair)) for pair in curves.values())
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        alone, behind = curves[name]
        axes.fill_between(ious, alone, behind, color=BLUE, alpha=0.12, linewidth=0)
        axes.plot(ious, behind, "o-", color=BLUE)
        axes.plot(ious, alone, "o-", color=BLACK)
        end = ious[-1]
        for values, words, color in ((behind, "with STN", BLUE), (alone, "without", BLACK)):
            _label(axes, end, values[-1], f"{words}\n{values[-1]:.1f}", color, at=(9, 0), **BOLD)
        arrow = {"arrowstyle": "->", "color": BLUE, "shrinkA": 7, "shrinkB": 7}
        axes.annotate("", (end, behind[-1]), (end, alone[-1]), arrowprops=arrow)
        won = behind[-1] - alone[-1]
        _label(axes, end, (behind[-1] + alone[-1]) / 2, f"{won:+.1f} AP", BLUE, at=(9, 0))
        top = max(*alone, *behind) + 0.06 * span
        axes.set(ylim=(top - span, top), xlim=(1.02, 0.37), title=title)
        axes.set_xticks(ious)
        axes.set_xlabel("IoU of the box with the person's true box")
    panels[0].set_ylabel("keypoint AP")
    return figure


def nms(read: Read) -> Figure:
    """AP of every kind of NMS, with the interval of what ours wins over it."""
    table = read("pose_nms_ap_coco_val")
    names = {
        "none": "no NMS",
        "OKS-NMS 0.9": "OKS-NMS",
        "authors' release 2016": "authors' release 2016",
        "box NMS 0.6": "box NMS",
        "soft OKS-NMS": "soft OKS-NMS",
        "authors' later release": "authors' later release",
        "parametric, learned (5 folds)": "parametric, learned",
        "parametric (ours)": "parametric (default)",
    }
    ours = table.at("AP", "parametric (ours)")
    figure, (axes,) = _panels(1, 3.2)
    axes.axvline(ours, color=BLUE, linewidth=1, alpha=0.6)
    for height, name in enumerate(names):
        ap = table.at("AP", name)
        color = BLUE if name.startswith("parametric") else BLACK
        between = table.at("95 % interval, paired by photo", name)
        if between:
            low, high = (float(end) for end in between.split(" .. "))
            axes.plot([ours - high, ours - low], [height, height], color=color, linewidth=2.2)
        axes.plot(ap, height, "o", color=color, markersize=7)
        white = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        _label(axes, ap, height, f"{ap:.1f}", color, at=(0, 9.5), fontsize=9, bbox=white, **BOLD)
    axes.xaxis.set_major_locator(MultipleLocator(5))
    axes.set_yticks(range(len(names)), list(names.values()))
    axes.set(
        xlabel="keypoint AP; bars: 95 % interval of the difference to the default",
        ylim=(-0.5, len(names) - 0.3),
        title="Keypoint AP of redundant proposals, by kind of NMS",
    )
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    return figure


# AP points that the axis of a plot of AP spans at least.
LEAST_SPAN = 10.0


def video(read: Read) -> Figure:
    """AP against frames a second: what the speed of rarer detections costs."""
    ways = {
        "moved by flow, SSTN": ("moved by optical flow, with the STN (default)", BLUE, 2.6),
        "moved by flow": ("moved by flow, without the STN", ORANGE, 1.5),
        "last pose times 1.25": ("left where the last pose was", GREY, 1.5),
    }
    kinds: dict[str, tuple[str, tuple[Any, ...]]] = {
        "A real clip": ("detect-interval-real", ()),
        "Made clips, limbs that swing": ("detect-interval-articulated", (4,)),
    }
    figure, panels = _panels(len(kinds), 3.9, sharex=True)
    for axes, (title, (name, kind)) in zip(panels, kinds.items(), strict=True):
        table = read(name)
        slowest = table.at("frames/s", *kind, "moved by flow, SSTN", "1")
        for way, (label, color, width) in reversed(ways.items()):
            at = {}
            for every, inside in {"1": "1", "5": "5", "10": "10"}.items():
                row = (*kind, way, every)  # not every way is measured at every interval
                if list(row) in [known[: len(row)] for known in table.rows]:
                    speed = table.at("frames/s", *row) / slowest
                    at[inside] = (speed, table.at("AP", *row))
            axes.plot(*zip(*at.values(), strict=True), color=color, linewidth=width, zorder=2.0)
            for inside, place in at.items():
                edge: Any = {"markersize": 14, "markeredgecolor": "white", "zorder": 3.0}
                (point,) = axes.plot(*place, "o", color=color, **edge)
                white: Any = {"color": "white", "fontsize": 8, "zorder": 3.0}
                axes.annotate(inside, place, ha="center", va="center_baseline", **white, **BOLD)
            point.set_label(label)
        axes.set(title=title)
        axes.margins(0.1)
        # A difference within chance must not look like a cliff.
        low, high = axes.get_ylim()
        middle, reach = (low + high) / 2, max(high - low, LEAST_SPAN) / 2
        axes.set_ylim(middle - reach, middle + reach)
        axes.set_xlabel("speed (1 = detector on every frame)")
        axes.xaxis.set_major_locator(MultipleLocator(0.5))
        axes.xaxis.set_major_formatter("{x:g}x")
    panels[0].set(ylabel="AP against published models")
    panels[1].set(ylabel="AP against the truth")
    handles, labels = panels[-1].get_legend_handles_labels()
    figure.legend(
        handles[::-1],
        labels[::-1],
        title="5: detector on every 5th frame. Boxes between detections:",
        markerscale=0.55,
        title_fontsize=8.5,
        fontsize=8.5,
        frameon=False,
        ncols=len(ways),
        loc="outside lower center",
    )
    return figure


def speed(read: Read) -> Figure:
    """Photos a second against the number of people."""
    table = read("default-speed")
    rows = {
        "the models that ship": ("models that ship", BLUE, (8, 5)),
        "the models that ship, pose-lite": ("... with pose-lite", BLUE, (8, 6)),
        "yolox_nano + TinyPose": ("YOLOX-nano + TinyPose", ORANGE, (8, 0)),
    }
    people = (1, 3, 10)
    figure, (axes,) = _panels(1, 3.3)
    for name, (label, color, at) in rows.items():
        rates = [table.at(f"images/s, {count} people", name) for count in people]
        dashed = "--" if name.endswith("pose-lite") else "-"
        axes.plot(people, rates, f"o{dashed}", color=color)
        _label(axes, 10, rates[-1], f"{label}: {rates[-1]:.0f}", color, at=at, **BOLD)
        above = (0, 9) if color == BLUE else (0, -12)
        for count, rate in zip(people[:-1], rates[:-1], strict=True):
            _label(axes, count, rate, f"{rate:.0f}", color, at=above, fontsize=9)
    axes.set_xticks(people)
    axes.set(xlim=(0.5, 14.5), xlabel="people in the photo", ylabel="photos a second")
    axes.set_ylim(0, 1.12 * max(table.at("images/s, 1 people", name) for name in rows))
    axes.set_title("Two CPU threads, one photo at a time")
    return figure


def digest(read: Read, names: Sequence[str]) -> str:
    """What identifies the rows that a plot was drawn from."""
    rows = [[read(name).columns, read(name).rows] for name in names]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def save(draw: Draw, read: Read, names: Sequence[str], path: Path) -> None:
    """Draw, and write the PNG with the digest of its rows."""
    with mpl.rc_context(STYLE):
        draw(read).savefig(path, dpi=150, metadata={"Records": digest(read, names)})
