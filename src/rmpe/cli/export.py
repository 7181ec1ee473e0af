"""``rmpe export``: a trained checkpoint as ONNX files."""

from pathlib import Path
from tempfile import TemporaryDirectory

import click

from rmpe.atomic import atomic, check_writable_folder
from rmpe.errors import UsageError

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command("export")
@click.argument("checkpoint", type=FILE)
@click.option("--out", type=FOLDER, required=True, help="Folder for the ONNX files.")
@click.option(
    "--way",
    type=click.Choice(["composed", "crop"]),
    default="composed",
    show_default=True,
    help="SSTN nets: stn.onnx and sppe.onnx, sampled once from the image; or one graph (paper).",
)
@click.option(
    "--extra", is_flag=True, help="With --way crop: heatmaps and theta as further outputs."
)
@click.option(
    "--card", type=FILE, help="TOML with name, license, source, notes for the model card."
)
@click.option(
    "--int8", type=FILE, help="Also quantise to int8; calibrate on these COCO annotations."
)
@click.option(
    "--images", type=FOLDER, help="Folder of the images of --int8; by default images/ beside them."
)
def export(
    checkpoint: Path,
    out: Path,
    way: str,
    extra: bool,
    card: Path | None,
    int8: Path | None,
    images: Path | None,
) -> None:
    """Export CHECKPOINT (.safetensors) as ONNX for `rmpe predict` and other engines.

    A pose estimator becomes sppe.onnx (--pose), an STN stn.onnx (--stn), a detector detector.onnx.
    """
    from rmpe.export import check_photos, export_checkpoint, export_int8, read_about

    if images and not int8:
        raise UsageError("--images names the photos of --int8 FILE: give both")
    check_writable_folder(out)
    about = read_about(card) if card else None
    photos = (int8, images or int8.parent / "images") if int8 else None
    if photos:
        check_photos(*photos)
    with TemporaryDirectory() as folder:  # a step that fails leaves nothing half-made
        files = export_checkpoint(checkpoint, Path(folder), way, extra=extra, about=about)  # type: ignore[arg-type] # click knows the choices
        if photos:
            files += [
                export_int8(file, *photos, file.with_stem(file.stem + "_int8")) for file in files
            ]
        for file in files:
            with atomic(out / file.name) as target:
                target.write(file.read_bytes())
            click.echo(f"wrote {out / file.name}")
