"""Plot of the mAP over the parameters of pose NMS."""

from pathlib import Path

import numpy as np

from rmpe.atomic import save_figure
from rmpe.learn.nms import PLANES, Learned


def plot_surfaces(learned: Learned, path: Path) -> None:
    """Draw the mAP over each plane around the learned parameters, which are marked."""
    from matplotlib.figure import Figure

    parameters = learned.parameters
    values = {**vars(parameters), "eta / (1 + lam)": parameters.eta / (1 + parameters.lam)}
    figure = Figure(figsize=(5.5 * len(PLANES), 4.2), layout="constrained")
    for axes, plane, surface in zip(
        figure.subplots(1, len(PLANES)), PLANES, learned.surfaces, strict=True
    ):
        image = axes.imshow(100 * surface, origin="lower", aspect="auto", cmap="viridis")
        for (row, column), value in np.ndenumerate(surface):
            axes.text(
                column,
                row,
                f"{100 * value:.1f}",
                ha="center",
                va="center",
                color="white",
                fontsize=7,
            )
        axes.set_ylabel(plane.names[0])
        axes.set_yticks(range(len(plane.axes[0])), [f"{value:g}" for value in plane.axes[0]])
        axes.set_xlabel(plane.names[1])
        axes.set_xticks(range(len(plane.axes[1])), [f"{value:g}" for value in plane.axes[1]])
        nearest = [
            int(np.argmin(np.abs(np.array(axis) - values[name])))
            for name, axis in zip(plane.names, plane.axes, strict=True)
        ]
        axes.plot(
            nearest[1],
            nearest[0],
            "s",
            markersize=24,
            markerfacecolor="none",
            markeredgecolor="red",
        )
        figure.colorbar(image, ax=axes, label="mAP (%)")
    figure.suptitle(
        f"Pose NMS: mAP {100 * learned.start_ap:.2f} before, {100 * learned.ap:.2f} learned, "
        f"{100 * learned.held_out_ap:.2f} cross-validated"
    )
    save_figure(figure, path, dpi=120)
