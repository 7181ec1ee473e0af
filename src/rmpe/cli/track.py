"""``rmpe track``: everybody through a video."""

import json
import math
import shlex
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rmpe import __version__
from rmpe.boxes import size_of
from rmpe.cli.commands import SectionCommand
from rmpe.cli.draw_flags import draw_flags
from rmpe.cli.output import contents_of, default_out, only_run_in, remove_stale
from rmpe.cli.pipeline_flags import pipeline_flags
from rmpe.cli.tracking_flags import NONE, tracking_flags
from rmpe.draw import DrawStyle, draw_poses
from rmpe.errors import DataError, ImageError, OutputError, UsageError
from rmpe.media.contact_sheet import contact_sheet
from rmpe.media.images import SUFFIXES, save_image
from rmpe.media.sources import find_videos, shortened
from rmpe.media.video import Video, VideoFrame
from rmpe.media.video_writer import VideoWriter
from rmpe.options import PipelineOptions
from rmpe.pipeline import Estimator
from rmpe.poses import Poses
from rmpe.tracking.interval import DetectionInterval, Every
from rmpe.tracking.smooth import OneEuro
from rmpe.trails import Trails
from rmpe.video import follow, load_tracker
from rmpe.write import FORMATS, mot, posetrack, trc, write_formats
from rmpe.write.foreign import require_joints
from rmpe.write.journal import Journal, JournalRecord

VIDEO_FORMATS = FORMATS | {"posetrack": posetrack.write, "mot": mot.write, "trc": trc.write}


@dataclass(frozen=True, kw_only=True)
class TrackOptions:
    """What a run of ``rmpe track`` does besides the pipeline.

    Attributes:
        tracker: A name of `rmpe.video.TRACKERS`, or ``none``.
        keep_ghosts: Give ids to what does not look like a person, too.
        detect_every: Run the detector on every so many frames, or ``auto``.
        smooth: ``one-euro`` or ``none``.
        formats: Names of the result formats.
        draw: Whether to write the drawn video.
        sheet: Whether to write the contact sheet.
        draw_min_score: Lowest score of a pose that is drawn.
        style: What drawn poses look like.
        trails: Seconds for which a person's way is drawn; 0 draws none.
        fps: Frames a second of a folder of images, or to ask a camera for; ``None`` = the source's.
        limit: Only the first so many frames; ``None`` = all.
        resume: Go on with an earlier run in the same folder.
        quiet: No progress bar, no summary.
        as_json: Summary as JSON.
    """

    tracker: str
    keep_ghosts: bool
    detect_every: Every
    smooth: str
    formats: tuple[str, ...]
    draw: bool
    sheet: bool
    draw_min_score: float
    style: DrawStyle
    trails: float
    fps: float | None
    limit: int | None
    resume: bool
    quiet: bool
    as_json: bool

    def __post_init__(self) -> None:
        if self.sheet and not self.draw:
            raise UsageError("--contact-sheet is made from the drawn video: leave out --no-draw")


@click.command(cls=SectionCommand)
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("--camera", help="Camera number or name instead of SOURCE.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the results; rmpe-out/NAME if not given. Several videos: OUT/NAME each.",
)
@tracking_flags
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
    "--draw-min-score",
    type=click.FloatRange(0, 1),
    default=0.3,
    show_default=True,
    help="Lowest score in the drawn video and in the printed count.",
)
@click.option(
    "--fps",
    type=click.FloatRange(0.1),
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
    type=click.FloatRange(0),
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
        summary = _track(names[0], folder, estimator, settings, options, camera=camera is not None)
        sys.exit(1 if summary["stopped"] or summary["unwritten"] else 0)
    whole = True
    for name, own in zip(names, _folders(names, folder), strict=True):
        click.echo(f"{name}:", err=True)
        try:
            summary = _track(name, own, estimator, settings, options)
        except (ImageError, DataError, OutputError) as error:  # one video does not stop the others
            click.echo(f"failed: {error}", err=True)
            whole = False
            continue
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


def _track(
    source: str,
    out: Path,
    estimator: Estimator,
    settings: dict[str, Any],
    options: TrackOptions,
    *,
    camera: bool = False,
) -> dict[str, Any]:
    """Follow everybody through one video and say what came of it."""
    started = time.perf_counter()
    with Video(source, camera=camera, fps=options.fps or 0.0) as video, only_run_in(out):
        if video.live and options.resume:
            raise UsageError(f"{video.name}: a live source cannot be resumed")
        if not options.resume:
            remove_stale(out)
        settings = settings | {
            "rmpe": __version__,
            "skeleton": estimator.skeleton.name,
            "detect_every": options.detect_every,
            "video": video.name,
            "frames": video.total,
            "contents": contents_of(Path(video.name)),
        }
        summary = _run(video, estimator, out, settings, options)
    summary["seconds"] = round(time.perf_counter() - started, 3)
    _report(summary, options)
    return summary


def _run(
    video: Video,
    estimator: Estimator,
    out: Path,
    settings: dict[str, Any],
    options: TrackOptions,
) -> dict[str, Any]:
    skeleton = estimator.skeleton
    people = 0
    ids = set[int]()
    end = 0
    lost = ""
    with (
        Journal(out / "journal.jsonl", settings, resume=options.resume) as estimates,
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
                    people += int((poses.scores >= options.draw_min_score).sum())
                    end = frame.index + 1
                    ids.update(poses.track_ids[poses.track_ids >= 0].tolist())
                    advance(len(poses), len(ids))
                    if stopped() or end >= (options.limit or math.inf):
                        break
            except ImageError as error:  # what came of a stream that is gone for good is kept
                if not video.live:
                    raise
                lost = str(error)
        if not len(tracks):
            raise ImageError(lost or f"{video.name}: no frame could be read")
        files, unwritten = write_formats(
            VIDEO_FORMATS, options.formats, lambda: tracks.records(skeleton), skeleton, out
        )
        return {
            "frames": len(tracks),
            "people": people,
            "ids": len(ids),
            "corrupt": video.corrupt,
            "dropped": max(0, end - len(tracks) - video.missing),
            "reconnects": video.reconnects,
            "stopped": stopped() or bool(lost),
            "interrupted": stopped(),
            "lost": lost,
            "live": video.live,
            "files": files,
            "unwritten": unwritten,
            "drawn": str(out / "drawn.mp4") if options.draw else None,
        }


def _followed(
    video: Video, estimator: Estimator, estimates: Journal, options: TrackOptions
) -> Generator[tuple[VideoFrame, Poses]]:
    """Every frame with its people; what an earlier run has estimated is taken from its journal."""
    earlier = estimates.records(estimator.skeleton)

    def recorded(index: int) -> Poses | None:
        if index not in estimates:
            return None
        return next(record.poses for record in earlier if record.image_id == index)

    return follow(
        estimator,
        video,
        None
        if options.tracker == NONE
        else load_tracker(options.tracker, video.fps, live=video.live, ghosts=options.keep_ghosts),
        interval=DetectionInterval(options.detect_every),
        smooth=None if options.smooth == NONE else OneEuro(),
        recorded=recorded,
        record=lambda frame, poses: estimates.append([_record(video, frame, poses)]),
    )


def _record(video: Video, frame: VideoFrame, poses: Poses) -> JournalRecord:
    size = size_of(frame.image)
    if frame.item is not None:  # an image file keeps its name
        item = frame.item
        names = (item.file_name, item.name, str(item.path))
        return JournalRecord(frame.index, *names, size, poses, frame.seconds, fps=video.fps)
    (stem,) = shortened([Path(video.name).stem])
    name = f"{stem}_{frame.index:06d}"
    names = (f"{name}.jpg", name, video.name)
    return JournalRecord(frame.index, *names, size, poses, frame.seconds, fps=video.fps)


@contextmanager
def _drawn(
    video: Video, out: Path, options: TrackOptions
) -> Iterator[Callable[[VideoFrame, Poses], None]]:
    """How to add a frame to the drawn video; its contact sheet at the end."""
    if not options.draw:
        yield lambda frame, poses: None  # noqa: ARG005
        return
    sound = Path(video.name) if Path(video.name).is_file() else None
    trails = Trails(options.trails)
    with VideoWriter(out / "drawn.mp4", fps=video.fps, audio_from=sound) as writer:

        def draw(frame: VideoFrame, poses: Poses) -> None:
            shown = poses if options.tracker == NONE else poses[poses.track_ids >= 0]
            drawn = draw_poses(
                frame.image,
                shown,
                min_score=options.draw_min_score,
                show_ids=True,
                style=options.style,
                trails=trails.update(shown, frame.seconds),
            )
            writer.write(drawn, frame.seconds)

        yield draw
    if options.sheet:
        with Video(out / "drawn.mp4") as drawn:
            save_image(out / "contact.jpg", contact_sheet(drawn, drawn.total))


@contextmanager
def _interrupt(video: Video) -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed, so that the frame at hand is finished first.

    A second one stops at once.
    """
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
def _progress(video: Video, options: TrackOptions) -> Iterator[Callable[[int, int], None]]:
    """How to say that a frame is done: its people, the ids so far."""
    show = Console(stderr=True)
    with Progress(
        TextColumn(Path(video.name).name),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=show,
        disable=options.quiet or options.as_json or not show.is_terminal,
    ) as bar:
        task = bar.add_task(
            "", total=min(video.total, options.limit or video.total) or None, note=""
        )

        def advance(people: int, ids: int) -> None:
            speed = bar.tasks[task].speed or 0
            bar.update(task, advance=1, note=f"{speed:.1f} frames/s, {people} people, {ids} ids")

        yield advance


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
        if summary["files"]:
            click.echo(f"results: {summary['files'][0]}")
        if summary["drawn"]:
            click.echo(f"video: {summary['drawn']}")
