"""One video of ``rmpe track``: everybody followed, drawn, and written to files."""

import math
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rmpe import __version__
from rmpe.boxes import size_of
from rmpe.cli.output import contents_of, only_run_in, remove_stale
from rmpe.draw import DrawStyle, draw_poses
from rmpe.errors import ImageError, UsageError
from rmpe.media.contact_sheet import contact_sheet
from rmpe.media.images import save_image
from rmpe.media.sources import shortened
from rmpe.media.video import Video, VideoFrame
from rmpe.media.video_writer import VideoWriter
from rmpe.pipeline import Estimator
from rmpe.poses import Poses
from rmpe.trails import Trails
from rmpe.video import NONE, Following
from rmpe.write import VIDEO_FORMATS, require_ids, with_those_in, write_formats
from rmpe.write.journal import Journal, JournalRecord


@dataclass(frozen=True, kw_only=True)
class TrackOptions:
    """What a run of ``rmpe track`` does besides the pipeline.

    Attributes:
        following: How people are followed.
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

    following: Following
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
        if self.following.tracker == NONE:
            require_ids(self.formats)


def track_video(
    source: str,
    out: Path,
    estimator: Estimator,
    settings: dict[str, Any],
    options: TrackOptions,
    *,
    camera: bool = False,
) -> dict[str, Any]:
    """Follow everybody through one video and write the results.

    Args:
        source: File, folder of images, address, or the camera.
        out: Folder for the results.
        estimator: The pipeline.
        settings: What decides its results; a run that is resumed has the same.
        options: What else is wanted.
        camera: Whether ``source`` is a camera.

    Returns:
        What came of it, as ``--json`` prints it.

    Raises:
        RmpeError: If the video cannot be read, or the results cannot be written.
    """
    started = time.perf_counter()
    with Video(source, camera=camera, fps=options.fps or 0.0) as video, only_run_in(out):
        if video.live and options.resume:
            raise UsageError(f"{video.name}: a live source cannot be resumed")
        if not options.resume:
            remove_stale(out)
        settings = settings | {
            "rmpe": __version__,
            "skeleton": estimator.skeleton.name,
            "detect_every": options.following.detect_every,
            "video": video.name,
            "frames": video.total,
            "contents": contents_of(Path(video.name)),
        }
        summary = _run(video, estimator, out, settings, options)
    summary["seconds"] = round(time.perf_counter() - started, 3)
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
        formats = options.formats
        if options.resume:
            formats = tuple(with_those_in(out, VIDEO_FORMATS, formats))
        files, unwritten = write_formats(
            VIDEO_FORMATS, formats, lambda: tracks.records(skeleton), skeleton, out
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

    def record(frame: VideoFrame, poses: Poses) -> None:
        estimates.append([_record(video, frame, poses)])

    return options.following.through(estimator, video, recorded, record)


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
            shown = poses if options.following.tracker == NONE else poses[poses.track_ids >= 0]
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
