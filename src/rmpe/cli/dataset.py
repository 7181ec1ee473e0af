"""``rmpe dataset``: labelled data sets between labelling tools and trainers."""

from pathlib import Path

import click

from rmpe.cli.commands import Number
from rmpe.cli.output import only_run_in
from rmpe.errors import UsageError
from rmpe.exchange.convert import (
    FORMATS,
    ExchangeOptions,
    Format,
    read_data_set,
    write_data_set,
)
from rmpe.skeletons import load_skeleton

NEXT = {
    "coco": "train on it (docs/training.md) or measure with `rmpe evaluate coco`",
    "yolo": "with --copy-images the images lie in images/; else put them there",
    "cvat": "new task: paste labels.json into Labels > Raw, upload the images, then"
    " Upload annotations > CVAT 1.1",
    "label-studio": "new project: paste config.xml into Labelling interface > Code, then import",
}


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--to", "kind", type=click.Choice(FORMATS), required=True, help="Format to write.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the files.",
)
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the images, where SOURCE does not say.",
)
@click.option("--copy-images", is_flag=True, help="Copy the images into OUT/images.")
@click.option("--skeleton", help="Skeleton of the joints: a name or a file of your own.")
@click.option(
    "--min-score",
    type=Number(0, 1),
    default=ExchangeOptions.min_score,
    show_default=True,
    help="Predicted people with a lower score are left out.",
)
@click.option(
    "--min-joint-score",
    type=Number(0, 1),
    default=ExchangeOptions.min_joint_score,
    show_default=True,
    help="Predicted joints with a lower score are not labelled.",
)
@click.option(
    "--image-url",
    default=ExchangeOptions.image_url,
    show_default=True,
    help="Label Studio: what comes before an image's name.",
)
def dataset(
    source: Path,
    kind: Format,
    out: Path,
    images: Path | None,
    copy_images: bool,
    skeleton: str | None,
    min_score: float,
    min_joint_score: float,
    image_url: str,
) -> None:
    """Convert labelled people between COCO, YOLO-pose, CVAT and Label Studio.

    SOURCE is what `rmpe predict` wrote, a COCO or Label Studio JSON file, CVAT's XML or ZIP, a YOLO
    folder, or a folder of photos to label; its format is found by itself. So predictions can be
    corrected in a labelling tool and come back to `rmpe train` and `rmpe evaluate`.
    """
    if out.resolve() in (source.resolve(), source.resolve().parent):
        raise UsageError(f"--out {out}: is where SOURCE lies; name another folder")
    options = ExchangeOptions(
        skeleton=load_skeleton(skeleton) if skeleton else None,
        images=images,
        copy_images=copy_images,
        min_score=min_score,
        min_joint_score=min_joint_score,
        image_url=image_url,
    )
    labelled = read_data_set(source, options)
    for line in labelled.warnings:
        click.echo(line, err=True)
    with only_run_in(out):
        files = write_data_set(labelled, kind, out, options)
    click.echo(f"{len(labelled.images)} images, {labelled.people} people: {files[0]}")
    click.echo(f"next: {NEXT[kind]}")
