"""``rmpe track``: everybody through a video."""

import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rmpe.draw import draw_poses
from rmpe.errors import ImageError, UsageError
from rmpe.media.contact_sheet import contact_sheet
from rmpe.media.images import save_image
from rmpe.media.video import Video, VideoFrame
from rmpe.media.video_writer import VideoWriter
from rmpe.pipeline import Estimator, load
from rmpe.poses import Poses
from rmpe.runtime import DEVICES, sha256_of
from rmpe.suppress import SUPPRESSORS
from rmpe.tracking.interval import DetectionInterval, Every
from rmpe.tracking.smooth import OneEuro
from rmpe.video import TRACKERS, load_tracker
from rmpe.video import track as follow
from rmpe.write import FORMATS, mot, posetrack, trc
from rmpe.write.coco import write_images
from rmpe.write.journal import Journal, Record

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
VIDEO_FORMATS = FORMATS | {"posetrack": posetrack.write, "mot": mot.write, "trc": trc.write}
NONE = "none"


def _every(_context: click.Context, _option: click.Parameter, value: str) -> Every:
    """A positive number of frames, or ``auto``."""
    if value == "auto":
        return "auto"
    if not value.isdigit() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a positive number nor auto")
    return int(value)


@click.command()
@click.argument("source", required=False)
@click.option("--camera", help="Camera number or name instead of SOURCE.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the results.",
)
@click.option("--detector", help="Person detector: ONNX file or installed model.")
@click.option("--pose", help="Pose model: ONNX file or installed model.")
@click.option(
    "--stn",
    help="Spatial transformer that stands before the pose model: ONNX file or installed model.",
)
@click.option("--card", type=FILE, help="Model card of the pose model (TOML).")
@click.option(
    "--tracker", type=click.Choice([*TRACKERS, NONE]), default="poseflow", show_default=True
)
@click.option(
    "--detect-every",
    metavar="N|auto",
    callback=_every,
    default="1",
    show_default=True,
    help="Run the detector on every so many frames; auto: when the poses say so.",
)
@click.option("--smooth", type=click.Choice(["one-euro", NONE]), default=NONE, show_default=True)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(list(VIDEO_FORMATS)),
    default=["coco"],
    show_default=True,
    help="Result format; repeat for several.",
)
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
    "--min-score", type=click.FloatRange(0, 1), default=0.05, show_default=True, help="For results."
)
@click.option(
    "--draw-min-score",
    type=click.FloatRange(0, 1),
    default=0.3,
    show_default=True,
    help="For pictures.",
)
@click.option(
    "--nms",
    default="parametric",
    show_default=True,
    help=f"Pose NMS: {', '.join(SUPPRESSORS)}, or a TOML file of learned parameters.",
)
@click.option(
    "--fps",
    type=click.FloatRange(0.1),
    help="Frames a second of a folder of images, or to ask a camera for.",
)
@click.option("--threads", type=click.IntRange(0), default=0, help="Cores to use; 0 = all.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
@click.option("--limit", type=click.IntRange(1), help="Only the first so many frames.")
@click.option("--resume", is_flag=True, help="Go on with an earlier run in the same folder.")
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
@click.option(
    "--json", "as_json", is_flag=True, help="Summary as one JSON object on standard output."
)
def track(source: str | None, camera: str | None, out: Path, **options: Any) -> None:
    """Follow everybody through a video file, a folder of images, a camera or a network stream.

    Writes OUT/tracks.jsonl as it goes, one line a frame, OUT/drawn.mp4, and at the end
    OUT/coco.json and other formats. Ctrl-C ends early with valid files. Exit code: 0 all done, 1
    stopped early or the stream was lost, 2 wrong use.
    """
    if (source is None) == (camera is None):
        raise UsageError("name one source: a video, a folder of images, a URL, or --camera NUMBER")
    if options["sheet"] and not options["draw"]:
        raise UsageError("--contact-sheet is made from the drawn video: leave out --no-draw")
    started = time.perf_counter()
    with Video(
        source or camera or "", camera=camera is not None, fps=options["fps"] or 0.0
    ) as video:
        if video.live and options["resume"]:
            raise UsageError(f"{video.name}: a live source cannot be resumed")
        estimator = _load(options)
        summary = _run(video, estimator, out, options)
    summary["seconds"] = round(time.perf_counter() - started, 3)
    _report(summary, options)
    sys.exit(1 if summary["stopped"] else 0)


def _run(video: Video, estimator: Estimator, out: Path, options: dict[str, Any]) -> dict[str, Any]:
    skeleton = estimator.skeleton
    settings = _settings(video, options, estimator)
    people = 0
    ids = set[int]()
    end = 0
    lost = ""
    with (
        Journal(out / "journal.jsonl", settings, resume=options["resume"]) as estimates,
        Journal(out / "tracks.jsonl", settings) as tracks,
        _drawn(video, out, options) as draw,
        _progress(video, options) as advance,
        _interrupt(video) as stopped,
    ):
        with closing(_followed(video, estimator, estimates, options)) as frames:
            try:
                for frame, poses in frames:
                    tracks.append([_record(video, frame, poses)])
                    draw(frame, poses)
                    people = people + len(poses)
                    end = frame.index + 1
                    ids.update(poses.track_ids[poses.track_ids >= 0].tolist())
                    advance(len(poses), len(ids))
                    if stopped() or end >= (options["limit"] or math.inf):
                        break
            except ImageError as error:  # what came of a stream that is gone for good is kept
                if not video.live:
                    raise
                lost = str(error)
        if not len(tracks):
            raise ImageError(lost or f"{video.name}: no frame could be read")
        files = [
            VIDEO_FORMATS[name](tracks.records(skeleton), skeleton, out)
            for name in options["formats"]
        ]
        files.append(write_images(tracks.records(skeleton), out))
        return {
            "frames": len(tracks),
            "people": people,
            "ids": len(ids),
            "corrupt": video.corrupt,
            "dropped": end - len(tracks),
            "reconnects": video.reconnects,
            "stopped": stopped() or bool(lost),
            "lost": lost,
            "live": video.live,
            "files": [str(file) for file in files],
            "drawn": str(out / "drawn.mp4") if options["draw"] else None,
        }


def _followed(
    video: Video, estimator: Estimator, estimates: Journal, options: dict[str, Any]
) -> Generator[tuple[VideoFrame, Poses]]:
    """Every frame with its people; what an earlier run has estimated is taken from its journal."""
    earlier = estimates.records(estimator.skeleton)
    found = len(estimates)
    return follow(
        estimator,
        video,
        None
        if options["tracker"] == NONE
        else load_tracker(options["tracker"], video.fps, live=video.live),
        interval=DetectionInterval(options["detect_every"]),
        smooth=None if options["smooth"] == NONE else OneEuro(),
        min_score=options["min_score"],
        recorded=lambda index: next(earlier).poses if index < found else None,
        record=lambda frame, poses: estimates.append([_record(video, frame, poses)]),
    )


def _load(options: dict[str, Any]) -> Estimator:
    return load(
        options["detector"],
        options["pose"],
        stn=options["stn"],
        card=options["card"],
        nms=options["nms"],
        device=options["device"],
        threads=options["threads"] or os.cpu_count() or 1,
    )


def _settings(video: Video, options: dict[str, Any], estimator: Estimator) -> dict[str, Any]:
    """All that changes the estimates; a run is only resumed under the same."""
    models = {
        name: sha256_of(path) if value and (path := Path(value)).is_file() else value
        for name in ("detector", "pose", "stn", "card")
        for value in [options[name]]
    }
    names = ("nms", "min_score", "detect_every")
    source = {"video": video.name, "frames": video.total, "skeleton": estimator.skeleton.name}
    return models | {name: options[name] for name in names} | source


def _record(video: Video, frame: VideoFrame, poses: Poses) -> Record:
    height, width = frame.image.shape[:2]
    name = f"{Path(video.name).stem}_{frame.index:06d}"
    return Record(
        frame.index, f"{name}.jpg", name, video.name, (height, width), poses, frame.seconds
    )


@contextmanager
def _drawn(
    video: Video, out: Path, options: dict[str, Any]
) -> Iterator[Callable[[VideoFrame, Poses], None]]:
    """How to add a frame to the drawn video; its contact sheet at the end."""
    if not options["draw"]:
        yield lambda frame, poses: None  # noqa: ARG005
        return
    sound = Path(video.name) if Path(video.name).is_file() else None
    with VideoWriter(out / "drawn.mp4", fps=video.fps, audio_from=sound) as writer:

        def draw(frame: VideoFrame, poses: Poses) -> None:
            shown = poses if options["tracker"] == NONE else poses[poses.track_ids >= 0]
            drawn = draw_poses(
                frame.image, shown, min_score=options["draw_min_score"], show_ids=True
            )
            writer.write(drawn, frame.seconds)

        yield draw
    if options["sheet"]:
        with Video(out / "drawn.mp4") as drawn:
            save_image(out / "contact.jpg", contact_sheet(drawn, drawn.total))


@contextmanager
def _interrupt(video: Video) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed, so that the frame at hand is finished first; a second one stops at once."""
    pressed = []

    def press(number: int, _: Any) -> None:
        pressed.append(number)
        video.stop()
        signal.signal(number, signal.default_int_handler)

    before = {number: signal.signal(number, press) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(pressed)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(video: Video, options: dict[str, Any]) -> Iterator[Callable[[int, int], None]]:
    """How to say that a frame is done: its people, the ids so far."""
    show = Console(stderr=True)
    with Progress(
        TextColumn(Path(video.name).name),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=show,
        disable=options["quiet"] or options["as_json"] or not show.is_terminal,
    ) as bar:
        task = bar.add_task(
            "", total=min(video.total, options["limit"] or video.total) or None, note=""
        )

        def advance(people: int, ids: int) -> None:
            speed = bar.tasks[task].speed or 0
            bar.update(task, advance=1, note=f"{speed:.1f} frames/s, {people} people, {ids} ids")

        yield advance


def _report(summary: dict[str, Any], options: dict[str, Any]) -> None:
    if options["as_json"]:
        click.echo(json.dumps(summary))
        return
    if summary["corrupt"]:
        click.echo(f"rmpe: {summary['corrupt']} damaged frames were left out", err=True)
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
    if not options["quiet"]:
        rate = summary["frames"] / summary["seconds"]
        click.echo(
            f"{summary['frames']} frames, {summary['people'] / summary['frames']:.1f} people a frame, "
            f"{summary['ids']} ids, {summary['seconds']:.1f} s ({rate:.1f} frames/s)"
        )
        click.echo(f"results: {summary['files'][0]}")
        if summary["drawn"]:
            click.echo(f"video: {summary['drawn']}")
