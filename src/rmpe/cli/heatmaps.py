"""``rmpe heatmaps``: what the pose model sees of a person."""

from pathlib import Path

import click

from rmpe.cli.commands import SectionCommand
from rmpe.cli.pipeline_flags import pipeline_flags
from rmpe.errors import DataError, UsageError
from rmpe.estimate.heatmap_page import heatmap_page
from rmpe.media.images import read_image, save_image
from rmpe.one_stage import OneStageEstimator
from rmpe.options import PipelineOptions


@click.command(cls=SectionCommand)
@click.argument("photo", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Picture to write; PHOTO_heatmaps.png here if not given.",
)
@click.option(
    "--person",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Whom to show; 1 is the most certain one.",
)
@pipeline_flags()
def heatmaps(photo: Path, out: Path | None, person: int, pipeline: PipelineOptions) -> None:
    """Show the heatmap of each joint of a person in a photo, laid over the pose model's crop.

    All joints share one scale: a joint about which the model is unsure stays dark. A cross marks
    where it is read.
    """
    estimator = pipeline.load()
    if isinstance(estimator, OneStageEstimator):
        raise UsageError("a one-stage model has no crops and no heatmaps: name a pose model")
    image = read_image(photo)
    boxes = estimator.detector(image, str(photo))
    poses = estimator.estimate(image, boxes)
    if person > len(poses):
        found = f"{len(poses)} people were found" if len(poses) else "nobody was found"
        raise DataError(f"{photo}: --person {person}: {found}")
    page = heatmap_page(image, poses.boxes[person - 1], estimator.pose, estimator.cropper)
    target = out or Path(f"{photo.stem}_heatmaps.png")
    save_image(target, page)
    click.echo(f"heatmaps: {target}")
