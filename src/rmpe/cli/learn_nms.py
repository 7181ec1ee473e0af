"""``rmpe learn nms``: the parameters of parametric pose NMS."""

from dataclasses import asdict
from pathlib import Path

import click

from rmpe.atomic import check_writable, write_text
from rmpe.cli.learn_flags import FILE, protocol_flag, skeleton_flag, with_folder
from rmpe.errors import UsageError
from rmpe.evaluation.files.submissions import read_people
from rmpe.learn.flat_matching import Truths
from rmpe.learn.mpii_matching import MpiiTruths
from rmpe.learn.nms import learn_nms as fit
from rmpe.learn.nms import read_candidates
from rmpe.learn.nms_plot import plot_surfaces
from rmpe.skeletons import load_skeleton

PICTURES = (".png", ".svg", ".pdf")
OUT = click.Path(dir_okay=False, path_type=Path)


@click.command("nms")
@protocol_flag
@click.option(
    "--annotations",
    type=FILE,
    required=True,
    help="COCO keypoint annotations, or MPII's .mat or JSON.",
)
@click.option(
    "--candidates",
    type=FILE,
    required=True,
    help="COCO results with bbox, poses before NMS (rmpe predict --nms none;"
    " for MPII: rmpe evaluate mpii --images FOLDER --nms none --save-results FILE).",
)
@click.option("--out", type=OUT, required=True, help="TOML file to write, for rmpe predict --nms.")
@click.option("--plot", type=OUT, help="Picture of the mAP over the parameters.")
@skeleton_flag
@click.option(
    "--folds", type=click.IntRange(2), default=5, show_default=True, help="Of the cross-validation."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draw of the folds.")
def learn_nms(
    protocol: str,
    annotations: Path,
    candidates: Path,
    out: Path,
    plot: Path | None,
    skeleton: str,
    folds: int,
    seed: int,
) -> None:
    """Learn sigma1, sigma2, lambda and eta of parametric pose NMS (paper section 3.2).

    The mAP is maximised over two parameters at a time, in turns, until nothing moves. The figure
    for photos held out says what the gain is worth on others.
    """
    if plot and plot.suffix and plot.suffix.lower() not in PICTURES:
        raise UsageError(f"--plot {plot}: must end in one of {', '.join(PICTURES)}")
    for file in [out, plot] if plot else [out]:
        check_writable(file)
    truths: Truths | MpiiTruths
    if protocol == "mpii":
        truths = MpiiTruths.read(annotations)
        poses = truths.read_candidates(candidates)
    else:
        joints = load_skeleton(skeleton)
        people = read_people(annotations, joints)
        truths = Truths.from_coco(people.annotations, people.image_ids, joints)
        poses = read_candidates(candidates, people, joints)
    learned = fit(poses, truths, folds=folds, seed=seed)
    for index, parameters in enumerate(learned.folds):
        click.echo(f"without fold {index + 1}: {_line(asdict(parameters))}")
    click.echo(f"on all photos:  {_line(asdict(learned.parameters))}")
    figures = (
        f"mAP {learned.start_ap:.4f} with the defaults, {learned.ap:.4f} learned, "
        f"{learned.held_out_ap:.4f} on photos held out ({folds} folds)"
    )
    click.echo(figures)
    lines = [
        f"# Learned by rmpe learn nms from {candidates.name} and",
        f"# {with_folder(annotations)}, {truths.photos} photos.",
        f"# {figures}.",
        *(f"{name} = {value!r}" for name, value in asdict(learned.parameters).items()),
    ]
    write_text(out, "\n".join(lines) + "\n")
    click.echo(f"wrote {out}")
    if plot:
        plot_surfaces(learned, plot)
        click.echo(f"wrote {plot}")


def _line(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())
