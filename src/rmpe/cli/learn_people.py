"""``rmpe learn people``: a training set from a folder of photos."""

import json
from pathlib import Path

import click

from rmpe.atomic import check_writable, write_text
from rmpe.cli.commands import Number
from rmpe.datasets.unlabelled import find_unlabelled
from rmpe.detect import load_detector
from rmpe.errors import DataError
from rmpe.media.images import SUFFIXES
from rmpe.models import resolve_model

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("people")
@click.argument("photos", type=FOLDER)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="COCO JSON to write.",
)
@click.option(
    "--detector",
    metavar="M",
    help="Model that finds people: name or ONNX file; that of rmpe predict.",
)
@click.option(
    "--without",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Photo or folder of photos: near copies of these are left out. May be repeated.",
)
@click.option(
    "--sure",
    type=Number(0, 1),
    default=0.3,
    show_default=True,
    help="Smallest score of a box.",
)
@click.option(
    "--smallest",
    type=Number(0),
    default=48,
    show_default=True,
    help="Longer side, pixels.",
)
def learn_people(
    photos: Path,
    out: Path,
    detector: str | None,
    without: tuple[Path, ...],
    sure: float,
    smallest: float,
) -> None:
    """Find the people in a folder of photos, to train on with a teacher.

    The training configuration needs data.teacher and data.smallest_unlabelled. Photos may lie in
    folders of PHOTOS. Near copies of one another are taken once.
    """

    def below(folder: Path) -> list[Path]:
        return sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
        )

    check_writable(out)
    known = [path for one in without for path in (below(one) if one.is_dir() else [one])]
    names = [path.relative_to(photos).as_posix() for path in below(photos)]
    if not names:
        raise DataError(f"{photos}: no photos in it")

    def progress(done: int, total: int) -> None:
        click.echo(f"photo {done} of {total}")

    model = load_detector(resolve_model(detector, "detector"), threads=1)
    found = find_unlabelled(photos, names, model, known, smallest, sure, progress)
    write_text(out, json.dumps(found.to_coco()))
    click.echo(f"{sum(map(len, found.boxes))} people in {len(found.names)} of {len(names)} photos")
    for kind, count in found.left_out.items():
        if count:
            click.echo(f"  {count} photos left out: {kind}")
    click.echo(f"wrote {out}")
