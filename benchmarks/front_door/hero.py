"""Draw the picture at the top of the README: people in loose boxes, and what SSTN makes of them.

python -m benchmarks.front_door.hero [--out docs/hero.jpg] [--pose M] [--stn M] [--seed N]

The people are found once, in the boxes that the detector gives. Then each box is perturbed to an
IoU of 0.5 with what it was, and the poses are estimated twice from the perturbed boxes: by the pose
model alone, and with the spatial transformer before it. The seed of the perturbation is one that
shows the effect clearly; docs/results.md says how large the effect is on average.
"""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import click
import cv2
import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

import rmpe
from rmpe.propose.offsets import disturb, offset_iou
from rmpe.propose.policies import RandomJitter

PICTURE = Path("examples/pedestrians.jpg")
WINDOW = (270, 131, 632, 286)  # xyxy, the part of the picture that is shown
IOU = 0.5
DRAWS = 64  # perturbations drawn for each person; the one closest to IOU is taken
WIDTH = 1400  # pixels of the whole picture
GAP = 10
COLORS = ("#ffd21f", "#ff4fa3", "#29d3ff", "#8dff4a", "#ff8a1f", "#b58cff")  # one a person
LIMBS = 1.5  # limbs are drawn this many times as thick as `rmpe predict` draws them
DASH = 14
QUALITY = 77  # of the JPEG


@click.command(help=__doc__)
@click.option("--picture", type=click.Path(path_type=Path), default=PICTURE, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/hero.jpg"))
@click.option("--detector", help="File or name; left out: the one that ships.")
@click.option("--pose", help="File or name; left out: the one that ships.")
@click.option("--stn", default="stn-lite", show_default=True)
@click.option("--seed", default=47, show_default=True)
def hero(picture, out, detector, pose, stn, seed):
    image = rmpe.read_image(picture)
    options = rmpe.PipelineOptions(detector=detector, pose=pose)
    people = people_in_window(options.load()(image))
    loose = perturbed(people.boxes, seed)
    # Boxes that overlap are different people here: nothing is redundant.
    alone = replace(options, nms="none")
    poses = [
        in_order(models.load().estimate(image, rmpe.Boxes(loose)), loose)
        for models in (replace(alone, stn="none"), replace(alone, stn=stn))
    ]
    panels = [
        panel(image, poses[0], people.boxes, solid=loose),
        panel(image, poses[1], people.boxes, solid=poses[1].stn_boxes, dashed=loose),
    ]
    labels = ("Loose boxes", "With the spatial transformer")
    rmpe.save_image(out, captioned(panels, labels), QUALITY)
    print(f"{out}: {len(people)} people, {out.stat().st_size / 1000:.0f} kB")


def people_in_window(poses):
    """The people whose boxes lie in the window, from left to right."""
    boxes = poses.boxes
    inside = (boxes[:, :2] > WINDOW[:2]).all(axis=1) & (boxes[:, 2:] < WINDOW[2:]).all(axis=1)
    kept = poses[np.flatnonzero(inside & (poses.scores > 0.3))]
    return kept[np.argsort(kept.boxes[:, 0])]


def perturbed(boxes, seed):
    """Each box shifted and stretched at random, to an IoU of `IOU` with what it was."""
    policy = RandomJitter(iou=IOU - 0.1, power=1 / 3)
    generator = np.random.default_rng(seed)
    offsets = policy.sample(np.zeros(len(boxes), np.int64), DRAWS, generator)
    nearest = np.abs(offset_iou(offsets) - IOU).argmin(axis=1)
    return disturb(boxes, offsets[np.arange(len(boxes)), nearest]).astype(np.float32)


def in_order(poses, boxes):
    """The poses in the order of the boxes that they were found in."""
    return poses[[int(np.abs(poses.boxes - box).sum(axis=1).argmin()) for box in boxes]]


def panel(image, poses, sizes, *, solid, dashed=()):
    """The window, enlarged, with everybody's pose and box, each box in its person's colour.

    Args:
        image: The whole picture.
        poses: Its people.
        sizes: ``(N, 4)``, boxes that say how large each person is drawn.
        solid: ``(N, 4)``, boxes drawn as solid lines.
        dashed: ``(N, 4)``, boxes drawn as dashed lines, or none.
    """
    x1, y1, x2, y2 = WINDOW
    zoom = WIDTH / (x2 - x1)
    corner = np.array([x1, y1], np.float32)

    def moved(points):
        return (points + 0.5 - corner) * zoom - 0.5

    canvas = cv2.resize(
        image[y1:y2, x1:x2], None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LANCZOS4
    )
    for boxes, dash in ((dashed, DASH), (solid, 0)):
        for box, color in zip(boxes, COLORS, strict=False):
            draw_box(canvas, moved(box.reshape(2, 2)), color, dash)
    widths = rmpe.Boxes(sizes).grow(LIMBS * zoom).xyxy
    enlarged = rmpe.Poses(
        moved(poses.keypoints), poses.keypoint_scores, poses.scores, widths, poses.skeleton
    )
    return rmpe.draw_poses(canvas, enlarged, min_score=0)


def draw_box(canvas, corners, color, dash):
    """A box, solid where ``dash`` is 0, with a dark edge so that it shows on every ground."""
    (left, top), (right, bottom) = corners
    outline = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    paint = tuple(round(255 * part) for part in mpl.colors.to_rgb(color))
    for ink, width in (((20, 20, 20), 9), (paint, 5)) if not dash else ((paint, 3),):
        for start, end in pairwise(outline):
            for first, last in dashes(np.array(start), np.array(end), dash):
                cv2.line(canvas, first, last, ink, width, cv2.LINE_AA)


def dashes(start, end, dash):
    """The pieces of a line, as pairs of integer points; one piece where ``dash`` is 0."""
    count = max(1, round(float(np.hypot(*(end - start))) / dash)) if dash else 1
    at = np.linspace(0, 1, count + 1)[:, None] * (end - start) + start
    points = [(round(float(x)), round(float(y))) for x, y in at]
    return list(pairwise(points))[::2]


def captioned(panels, labels):
    """The panels below each other, each with its label in the bottom right corner."""
    height = panels[0].shape[0]
    total = height * len(panels) + GAP * (len(panels) - 1)
    figure = plt.figure(figsize=(WIDTH / 100, total / 100), dpi=100, facecolor="white")
    figure.figimage(np.full((total, WIDTH, 3), 255, np.uint8), origin="upper")
    for number, (shown, label) in enumerate(zip(panels, labels, strict=True)):
        bottom = total - height - number * (height + GAP)
        figure.figimage(shown, 0, bottom, origin="upper")
        figure.text(
            1 - 20 / WIDTH,
            (bottom + 20) / total,
            label,
            fontsize=22,
            color="white",
            weight="bold",
            ha="right",
            va="bottom",
            bbox={"facecolor": "#141414", "edgecolor": "none", "alpha": 0.75, "pad": 10},
        )
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    plt.close(figure)
    return np.ascontiguousarray(drawn)


if __name__ == "__main__":
    mpl.use("agg")
    hero()
