"""Flags for what drawn poses look like; photos and videos share them."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from rmpe.cli.commands import SectionOption
from rmpe.draw import COLOR_BY, DrawStyle

SECTION = "Drawing"


def draw_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags to a command, which gets them as one `DrawStyle`, ``style``."""

    @click.option(
        "--color-by",
        type=click.Choice(COLOR_BY),
        default="side",
        show_default=True,
        cls=SectionOption,
        section=SECTION,
        help="Left green and right orange, or a colour a person.",
    )
    @click.option(
        "--draw-scores",
        is_flag=True,
        cls=SectionOption,
        section=SECTION,
        help="Write each person's score.",
    )
    @click.option(
        "--blur-faces",
        is_flag=True,
        cls=SectionOption,
        section=SECTION,
        help="Make the faces of the people found unrecognisable.",
    )
    @click.option(
        "--black",
        is_flag=True,
        cls=SectionOption,
        section=SECTION,
        help="Draw on black instead of the image.",
    )
    @wraps(command)
    def with_style(
        *, color_by: Any, draw_scores: bool, blur_faces: bool, black: bool, **others: Any
    ) -> Any:
        style = DrawStyle(color_by=color_by, scores=draw_scores, blur_faces=blur_faces, black=black)
        return command(style=style, **others)

    return with_style
