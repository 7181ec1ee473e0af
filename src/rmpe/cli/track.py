"""``rmpe track``: everybody through a video."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from rmpe.cli.commands import Number, SectionCommand
from rmpe.cli.draw_flags import draw_flags
from rmpe.cli.output import default_out
from rmpe.cli.pipeline_flags import pipeline_flags
from rmpe.cli.track_video import TrackOptions, track_video
from rmpe.cli.tracking_flags import tracking_flags, video_formats
from rmpe.errors import DataError, ImageError, OutputError, UsageError
from rmpe.media.images import SUFFIXES
from rmpe.media.sources import find_videos
from rmpe.options import PipelineOptions
from rmpe.write.foreign import require_joints


@click.command(cls=SectionCommand)
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("--camera", help="Camera number or name instead of SOURCE.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the results; rmpe-out/NAME if not given. Several videos: OUT/NAME each.",
)
@tracking_flags
@video_formats
@click.option(
    "--draw/--no-draw",
    default=True,
    show_default=True,
    help="Write the poses drawn, OUT/drawn.mp4.",
)
@click.option(
    "--contact-sheet",
    "sheet",
    is_flag=True,
    help="Also 12 drawn frames as one picture, OUT/contact.jpg.",
)
@click.option(
    "--draw-min-score",
    type=Number(0, 1),
    default=0.3,
    show_default=True,
    help="Lowest score in the drawn video and in the printed count.",
)
@click.option(
    "--fps",
    type=Number(0.1, 1000),
    help="Frames a second of a folder of images, or to ask a camera for.",
)
@click.option("--limit", type=click.IntRange(1), help="Only the first so many frames.")
@click.option("--resume", is_flag=True, help="Go on with an earlier run in the same folder.")
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
@click.option(
    "--json", "as_json", is_flag=True, help="Summary as one JSON object on standard output."
)
@click.option(
    "--trails",
    type=Number(0, 3600),
    default=0.0,
    show_default=True,
    help="Draw the way of each person in the last so many seconds.",
)
@draw_flags
@pipeline_flags(boxes=False)
def track(
    sources: tuple[str, ...],
    camera: str | None,
    out: Path | None,
    pipeline: PipelineOptions,
    **flags: Any,
) -> None:
    """Follow everybody through videos, a folder of images, a camera or a network stream.

    Writes OUT/tracks.jsonl as it goes, one line a frame, OUT/drawn.mp4, and at the end
    OUT/coco.json and other formats. Ctrl-C ends early with valid files. A folder without images
    stands for the videos in it. Exit code: 0 all done, 1 stopped early, the stream was lost or one
    of several videos failed, 2 wrong use.
    """
    if bool(sources) == (camera is not None):
        raise UsageError("name a video, a folder of images, a URL, or --camera NUMBER")
    options = TrackOptions(**flags)
    names = [camera] if camera is not None else _videos(sources)
    folder = out or default_out(names[0], resume=options.resume)
    estimator = pipeline.load()
    require_joints(options.formats, estimator.skeleton)
    settings = pipeline.fingerprint(estimator)
    if len(names) == 1:
        summary = track_video(
            names[0], folder, estimator, settings, options, camera=camera is not None
        )
        _report(summary, options)
        sys.exit(1 if summary["stopped"] or summary["unwritten"] else 0)
    whole = True
    for name, own in zip(names, _folders(names, folder), strict=True):
        click.echo(f"{name}:", err=True)
        try:
            summary = track_video(name, own, estimator, settings, options)
        except (ImageError, DataError, OutputError) as error:  # one video does not stop the others
            click.echo(f"failed: {error}", err=True)
            whole = False
            continue
        _report(summary, options)
        whole &= not summary["stopped"] and not summary["unwritten"]
        if summary["interrupted"]:
            break
    sys.exit(0 if whole else 1)


def _videos(sources: tuple[str, ...]) -> list[str]:
    """The videos meant: a folder without images stands for the video files in it."""
    names: list[str] = []
    for source in sources:
        if not source.strip():
            raise UsageError("a source is empty text: name a video, a folder of images or a URL")
        inside = find_videos([source]) if Path(source).is_dir() else []
        frames = inside and any(file.suffix.lower() in SUFFIXES for file in Path(source).iterdir())
        if inside and frames:
            line = shlex.join(map(str, inside))
            click.echo(
                f"{source}: its images are taken for frames; left out {len(inside)} videos:"
                f" rmpe track {line}",
                err=True,
            )
        names += [str(file) for file in inside] if inside and not frames else [source]
    return names


def _folders(names: list[str], out: Path) -> list[Path]:
    """A folder below ``out`` for each video, called after it; a number keeps equal names apart."""
    stems = [Path(name.rstrip("/")).stem or "video" for name in names]
    own = {stem.casefold() for stem in stems}
    taken: set[str] = set()
    folders = []
    for stem in stems:
        name = stem
        number = 1
        while name.casefold() in taken or (number > 1 and name.casefold() in own):
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        folders.append(out / name)
    return folders


def _report(summary: dict[str, Any], options: TrackOptions) -> None:
    if options.as_json:
        click.echo(json.dumps(summary))
        return
    if summary["corrupt"]:
        click.echo(f"rmpe: {summary['corrupt']} damaged frames were left out", err=True)
    for reason in summary["unwritten"]:
        click.echo(f"failed: {reason}", err=True)
    if summary["dropped"]:
        click.echo(
            f"rmpe: {summary['dropped']} frames of the live source came too fast and were left out",
            err=True,
        )
    if summary["reconnects"]:
        click.echo(f"rmpe: the stream was opened again {summary['reconnects']} times", err=True)
    if summary["lost"]:
        click.echo(f"rmpe: {summary['lost']}", err=True)
    elif summary["stopped"]:
        advice = "" if summary["live"] else "; go on with --resume"
        click.echo(f"rmpe: stopped after {summary['frames']} frames{advice}", err=True)
    if not options.quiet:
        rate = summary["frames"] / summary["seconds"]
        people = summary["people"] / summary["frames"]
        click.echo(
            f"{summary['frames']} frames, {people:.1f} people a frame"
            f" (score >= {options.draw_min_score}), "
            f"{summary['ids']} ids, {summary['seconds']:.1f} s ({rate:.1f} frames/s)"
        )
        for file in summary["files"]:
            click.echo(f"results: {file}")
        if summary["drawn"]:
            click.echo(f"video: {summary['drawn']}")
