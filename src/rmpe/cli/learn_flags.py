"""Flags that several commands of ``rmpe learn`` share."""

from pathlib import Path

import click

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def with_folder(file: Path) -> str:
    """How a learned file names what it was learned from: the file and its folder."""
    return f"{file.absolute().parent.name}/{file.name}"


protocol_flag = click.option(
    "--protocol",
    type=click.Choice(["coco", "mpii"]),
    default="coco",
    show_default=True,
    help="Layout of the files; nms also learns for its measure: AP by OKS, or MPII's by PCKh.",
)
skeleton_flag = click.option(
    "--skeleton",
    default="coco17",
    show_default=True,
    help="Name or TOML file of the joints; MPII has its own.",
)
