"""Plots of a learned PGPG: atomic poses as stick figures, and histograms of box offsets."""

from pathlib import Path
from typing import Any

import numpy as np

from rmpe.atomic import save_figure
from rmpe.learn.detector_errors import Matches
from rmpe.propose.offsets import disturb
from rmpe.propose.pgpg import Pgpg
from rmpe.skeletons import Skeleton

EDGES = ("left", "top", "right", "bottom")
COLUMNS = 6
DRAWN = 40


def plot_atoms(pgpg: Pgpg, matches: Matches, skeleton: Skeleton, path: Path) -> None:
    """One panel per atom: its pose, a box around it (black) and sampled proposals (red)."""
    kinds = pgpg.atoms_of(matches.keypoints, matches.visible)
    count = len(pgpg.centers)
    figure, axes = _panels(count)
    generator = np.random.default_rng(0)
    for kind, axis in zip(range(count), axes, strict=False):
        pose = pgpg.centers[kind]
        for start, end in skeleton.limbs:
            color = np.array(skeleton.colors[end]) / 255
            axis.plot(*pose[[start, end]].T, color=color, linewidth=2)
        low = np.nanmin(pose, axis=0)
        high = np.nanmax(pose, axis=0)
        margin = 0.15 * (high - low).max()  # head and feet extend beyond their joints
        box = np.concatenate([low - margin, high + margin])
        _rectangle(axis, box, edgecolor="black", linewidth=1.5)
        for proposal in disturb(box, pgpg.sample(np.array([kind]), DRAWN, generator)[0]):
            _rectangle(axis, proposal, edgecolor="red", linewidth=0.5, alpha=0.3)
        axis.set_title(f"atom {kind}: {np.sum(kinds == kind)} people", fontsize=8)
        axis.set_aspect("equal")
        axis.invert_yaxis()
    figure.suptitle(
        f"Atomic poses (torso of length 1); {np.sum(kinds == count)} people without a visible torso"
    )
    save_figure(figure, path, dpi=110)


def plot_offsets(pgpg: Pgpg, matches: Matches, path: Path) -> None:
    """One panel per edge: histograms of the detector's offsets and of PGPG samples.

    PGPG samples ten offsets for each person.
    """
    kinds = pgpg.atoms_of(matches.keypoints, matches.visible)
    drawn = pgpg.sample(kinds, 10, np.random.default_rng(0)).reshape(-1, 4)
    figure, axes = _panels(4)
    bins = np.linspace(-0.4, 0.4, 81)
    for edge, axis in enumerate(axes[:4]):
        axis.hist(matches.offsets[:, edge], bins, density=True, color="0.75", label="detector")
        axis.hist(drawn[:, edge], bins, density=True, histtype="step", color="red", label="PGPG")
        axis.set_title(EDGES[edge], fontsize=9)
        axis.axis("on")
    axes[0].legend(fontsize=7)
    figure.suptitle("Offsets, detected minus true edge, as shares of the true side")
    save_figure(figure, path, dpi=110)


def _panels(count: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    rows = -(-count // COLUMNS)
    columns = min(count, COLUMNS)
    figure = Figure(figsize=(2.4 * columns, 2.8 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    return figure, axes


def _rectangle(axis: Any, box: Any, **style: Any) -> None:
    from matplotlib.patches import Rectangle

    axis.add_patch(Rectangle(box[:2], *(box[2:] - box[:2]), fill=False, **style))
