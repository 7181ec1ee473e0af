"""Flags for how people are followed through a video; `rmpe track` and `rmpe farm` share them."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from rmpe.cli.output import formats_flag
from rmpe.tracking.interval import Every
from rmpe.video import NONE, TRACKERS, Following
from rmpe.write import VIDEO_FORMATS


def detector_interval(_context: click.Context, _option: click.Parameter, value: str) -> Every:
    """A positive number of frames, or ``auto``."""
    if value == "auto":
        return "auto"
    if not value.isdigit() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a positive number nor auto")
    return int(value)


FLAGS = (
    click.option(
        "--tracker",
        type=click.Choice([*TRACKERS, NONE]),
        default="poseflow",
        show_default=True,
        help="How to follow people through videos.",
    ),
    click.option(
        "--keep-ghosts",
        is_flag=True,
        help="Also give ids to what is followed but does not look like a person.",
    ),
    click.option(
        "--detect-every",
        metavar="N|auto",
        callback=detector_interval,
        default="1",
        show_default=True,
        help="Run the detector on every so many frames; auto: when the poses say so.",
    ),
    click.option(
        "--smooth", type=click.Choice(["one-euro", NONE]), default=NONE, show_default=True
    ),
)
video_formats = formats_flag(VIDEO_FORMATS)


def tracking_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags of a `Following` to a command, which is given it as ``following``."""

    @wraps(command)
    def with_following(
        tracker: str, keep_ghosts: bool, detect_every: Every, smooth: str, **others: Any
    ) -> Any:
        return command(following=Following(tracker, keep_ghosts, detect_every, smooth), **others)

    for flag in reversed(FLAGS):
        with_following = flag(with_following)
    return with_following
