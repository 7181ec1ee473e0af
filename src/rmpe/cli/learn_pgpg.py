"""``rmpe learn pgpg``: the distribution of a detector's errors, for training pose models."""

from pathlib import Path

import click

from rmpe.atomic import check_writable, check_writable_folder
from rmpe.cli.commands import Number
from rmpe.cli.learn_flags import FILE, protocol_flag, skeleton_flag, with_folder
from rmpe.errors import UsageError
from rmpe.learn.detector_errors import match_coco, match_mpii
from rmpe.learn.pgpg_plots import plot_atoms, plot_offsets
from rmpe.skeletons import load_skeleton

OTHER_IOUS = (0.4, 0.5, 0.6, 0.7)
EDGES = ("left", "top", "right", "bottom")


@click.command("pgpg")
@protocol_flag
@click.option(
    "--detections",
    type=FILE,
    required=True,
    help="COCO box results of the detector; for MPII, image_id is the photo's name.",
)
@click.option(
    "--annotations", type=FILE, required=True, help="COCO keypoint annotations of the same images."
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="TOML file to write.",
)
@click.option(
    "--iou",
    type=Number(0, 1),
    default=0.5,
    show_default=True,
    help="Smallest IoU of a match.",
)
@click.option(
    "--atoms",
    type=click.IntRange(1),
    help="Number of atomic poses, in place of the search; with --parts.",
)
@click.option(
    "--parts",
    type=click.IntRange(1),
    help="Number of Gaussian parts, in all or for each atom; with --atoms.",
)
@click.option(
    "--mixture",
    type=click.Choice(["any", "shared", "atom"]),
    default="any",
    show_default=True,
    help="Gaussian parts that all atoms share, or a mixture for each atom as in the paper;"
    " any: what held-out likelihood prefers.",
)
@skeleton_flag
@click.option(
    "--plots", type=click.Path(file_okay=False, path_type=Path), help="Folder for pictures."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of k-means and mixtures.")
def learn_pgpg(
    protocol: str,
    detections: Path,
    annotations: Path,
    out: Path,
    iou: float,
    atoms: int | None,
    parts: int | None,
    mixture: str,
    skeleton: str,
    plots: Path | None,
    seed: int,
) -> None:
    """Learn PGPG: a detector's errors given the kind of pose (paper section 3.3).

    Each person's box is matched with its detection of highest IoU, if that is at least --iou; other
    cuts are shown. The numbers of atomic poses and of Gaussian parts are those with the highest
    held-out likelihood.
    """
    from rmpe.learn.pgpg import SIZES, Sizes, choose_sizes
    from rmpe.learn.pgpg import learn_pgpg as fit

    if (atoms is None) != (parts is None):
        raise UsageError("--atoms and --parts go together: give both or neither")
    wanted = [size for size in SIZES if mixture == "any" or size.shared == (mixture == "shared")]
    if atoms is not None and parts is not None:
        wanted = [Sizes(atoms, parts, mixture != "atom")]
    check_writable(out)
    if plots:
        check_writable_folder(plots)
    joints = load_skeleton("mpii16" if protocol == "mpii" else skeleton)
    if protocol == "mpii":
        matches = match_mpii(annotations, detections)
    else:
        matches = match_coco(annotations, detections, joints)
    click.echo(
        f"{len(matches)} people in images with detections;"
        " mean (sd) of offsets in % of the side, by IoU cut"
    )
    click.echo(f"{'IoU':>5} {'people':>7} " + " ".join(f"{edge:>14}" for edge in EDGES))
    for cut in sorted({*OTHER_IOUS, iou}):
        offsets = 100 * matches[matches.ious >= cut].offsets
        spread = zip(offsets.mean(axis=0), offsets.std(axis=0), strict=True)
        click.echo(
            f"{cut:5.2f} {len(offsets):7d} "
            + " ".join(f"{mean:6.2f} ({sd:5.2f})" for mean, sd in spread)
        )

    kept = matches[matches.ious >= iou]
    candidates = choose_sizes(kept, wanted, seed=seed)
    click.echo("held-out log-likelihood a person; gain over the best with one atom")
    for candidate in candidates[:8]:
        how = f"{candidate.sizes.parts} parts " + ("shared" if candidate.sizes.shared else "each")
        gain = f"{candidate.gain:+.4f} +- {candidate.gain_error:.4f}"
        click.echo(
            f"  {candidate.sizes.atoms:3d} atoms, {how:16s} {candidate.log_likelihood:8.4f}  {gain}"
        )

    best = candidates[0]
    pgpg = fit(kept, best.sizes, iou, seed)
    pgpg.learned.update(
        detections=detections.name,
        annotations=with_folder(annotations),
        people=len(kept),
        held_out_log_likelihood=round(best.log_likelihood, 4),
    )
    pgpg.save(out)
    click.echo(f"wrote {out}")
    if plots:
        plot_atoms(pgpg, kept, joints, plots / "atoms.png")
        plot_offsets(pgpg, kept, plots / "offsets.png")
        click.echo(f"wrote {plots}/atoms.png and {plots}/offsets.png")
