"""``rmpe predict``: everybody's pose from image files."""

import json
import math
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rmpe import __version__
from rmpe.boxes import size_of
from rmpe.cli.commands import Number, SectionCommand
from rmpe.cli.draw_flags import draw_flags
from rmpe.cli.output import (
    default_out,
    formats_flag,
    only_run_in,
    remove_stale,
    terminated_as_interrupted,
)
from rmpe.cli.pipeline_flags import FILE, pipeline_flags
from rmpe.cli.terminal import warnings_to
from rmpe.draw import DrawStyle, draw_poses
from rmpe.errors import OutputError
from rmpe.media.arrays import Image
from rmpe.media.images import decode_image, read_file, save_image
from rmpe.media.remote import fetch, is_remote
from rmpe.media.sources import ImageItem, find_media, image_ids
from rmpe.options import PipelineOptions
from rmpe.streaming import Result, stream
from rmpe.write import FORMATS, with_those_in, write_formats
from rmpe.write.foreign import require_joints
from rmpe.write.journal import Failure, Journal, JournalRecord, file_stamp


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """What a run of ``rmpe predict`` does besides the pipeline.

    Attributes:
        annotations: COCO file to take image ids from.
        formats: Names of the result formats.
        draw: Whether to draw the poses into ``out/drawn``.
        draw_boxes: Whether to draw the boxes, too.
        draw_min_score: Lowest score of a pose that is drawn and counted.
        style: What drawn poses look like.
        limit: Only the first so many images; ``None`` = all.
        resume: Go on with an earlier run in the same folder.
        quiet: No progress bar, no summary.
        as_json: Summary as JSON.
    """

    annotations: Path | None
    formats: tuple[str, ...]
    draw: bool
    draw_boxes: bool
    draw_min_score: float
    style: DrawStyle
    limit: int | None
    resume: bool
    quiet: bool
    as_json: bool


@click.command(cls=SectionCommand)
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the results; rmpe-out/NAME if not given.",
)
@click.option("--annotations", type=FILE, help="COCO file to take image ids from, by file name.")
@formats_flag(FORMATS)
@click.option(
    "--draw/--no-draw", default=True, show_default=True, help="Draw the poses into OUT/drawn."
)
@click.option(
    "--draw-boxes",
    is_flag=True,
    help="Draw the boxes, too: the detector's, and those the STN found (magenta).",
)
@click.option(
    "--draw-min-score",
    type=Number(0, 1),
    default=0.3,
    show_default=True,
    help="Lowest score in pictures and in the printed count.",
)
@click.option("--limit", type=click.IntRange(1), help="Only the first so many images.")
@click.option("--resume", is_flag=True, help="Go on with an earlier run in the same folder.")
@click.option(
    "--quiet", is_flag=True, help="No progress bar, no summary; failures are still listed."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Summary as one JSON object on standard output."
)
@draw_flags
@pipeline_flags()
def predict(
    sources: tuple[str, ...], out: Path | None, pipeline: PipelineOptions, **flags: Any
) -> None:
    """Find everybody's pose in image files, folders, patterns, or a list on standard input (-).

    Writes OUT/coco.json (and other formats), OUT/images.json, and pictures to look at in OUT/drawn.
    An image that cannot be read is listed at the end and does not stop the others. Exit code: 0 all
    done, 1 some images failed, 2 wrong use.
    """
    options = PredictOptions(**flags)
    folder = out or default_out(sources[0], resume=options.resume)
    with (
        only_run_in(folder),
        terminated_as_interrupted(),
        tempfile.TemporaryDirectory(prefix="rmpe-") as scratch,
    ):
        origins = fetch([source for source in sources if is_remote(source)], Path(scratch))
        local = [source for source in sources if not is_remote(source)]
        summary = _run((*local, *map(str, origins)), folder, pipeline, options, origins)
    sys.exit(1 if summary["done"] < summary["images"] or summary["unwritten"] else 0)


def _run(
    sources: tuple[str, ...],
    out: Path,
    pipeline: PipelineOptions,
    options: PredictOptions,
    origins: Mapping[Path, str],
) -> dict[str, Any]:
    started = time.perf_counter()
    everything, videos = find_media(sources, without=out)
    # Ids are those of all images, so that --limit does not change them.
    ids = image_ids(everything, options.annotations)
    items = everything[: options.limit]
    pipeline = replace(pipeline, annotations=options.annotations)
    # Whole images side by side beat threads inside one small model.
    estimator = pipeline.load(workers=pipeline.cores if len(items) > 1 else 1)
    require_joints(options.formats, estimator.skeleton)
    settings = pipeline.fingerprint(estimator)
    settings |= {"rmpe": __version__, "skeleton": estimator.skeleton.name}
    show = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=show,
        disable=options.quiet or options.as_json or not show.is_terminal,
    )
    found = Found()
    undrawn: list[str] = []
    if not options.resume:
        remove_stale(out)
    with Journal(out / "journal.jsonl", settings, resume=options.resume) as journal:
        todo = _todo(items, ids, journal, options.annotations)
        try:
            with bar, warnings_to(show):
                task = bar.add_task("people", total=len(todo), rate="")
                draw = _drawer(todo, out, options, undrawn, with_stn=estimator.stn is not None)
                read = _Reader()
                for result in stream(estimator, list(todo), read, each=draw):
                    item = todo[result.path]
                    origin = origins.get(item.path, str(item.path))
                    stamp = read.stamps.pop(result.path, "")
                    journal.append([_entry(result, item, ids[item], origin, stamp)])
                    found.add(result, options.draw_min_score)
                    bar.update(
                        task, advance=1, rate=_rate(bar, task, found.people, len(journal.failures))
                    )
        except KeyboardInterrupt:
            click.echo(f"rmpe: stopped after {len(journal)} images; go on with --resume", err=True)
        files, unwritten = write_formats(
            FORMATS,
            with_those_in(out, FORMATS, options.formats) if options.resume else options.formats,
            lambda: journal.records(estimator.skeleton),
            estimator.skeleton,
            out,
        )
        summary = {
            "images": len(items),
            "done": sum(item in ids and ids[item] in journal for item in items),
            "people": found.people,
            "weaker": found.weaker,
            "best_weaker": found.best,
            "new": found.images,
            "videos": [str(video) for video in videos],
            "failed": [
                {"file": failure.file_name, "reason": failure.reason}
                for failure in journal.failures.values()
            ],
            "files": files,
            "unwritten": unwritten + undrawn,
            "undrawn": _undrawn_before(ids, todo, out) if options.draw else 0,
            "drawn": str(out / "drawn") if options.draw else None,
            "seconds": round(time.perf_counter() - started, 3),
        }
    _report(summary, options)
    return summary


def _todo(
    items: list[ImageItem], ids: dict[ImageItem, int], journal: Journal, annotations: Path | None
) -> dict[Path, ImageItem]:
    """The images that are not in the journal yet; those without an id fail at once."""
    journal.append(
        Failure(item.file_name, f"{item.path}: not named in {annotations}")
        for item in items
        if item not in ids
    )
    remaining = set(journal.remaining({number: item.file_name for item, number in ids.items()}))
    return {item.path: item for item in items if ids.get(item) in remaining}


def _drawer(
    items: dict[Path, ImageItem],
    out: Path,
    options: PredictOptions,
    undrawn: list[str],
    *,
    with_stn: bool,
) -> Callable[[Result], None] | None:
    """What draws a result; a picture that cannot be written costs nobody's pose."""
    if not options.draw:
        return None

    def draw(result: Result) -> None:
        if result.image is not None and result.poses is not None:
            likely = result.poses[result.poses.scores >= options.draw_min_score]
            drawn = draw_poses(
                result.image,
                likely,
                min_score=0,
                show_boxes=options.draw_boxes,
                other_boxes=likely.stn_boxes if options.draw_boxes and with_stn else None,
                style=options.style,
            )
            try:
                save_image(out / "drawn" / f"{items[result.path].name}.jpg", drawn)
            except OutputError as error:
                undrawn.append(str(error))

    return draw


def _undrawn_before(items: Iterable[ImageItem], todo: Mapping[Path, ImageItem], out: Path) -> int:
    """How many images of an earlier run have no picture; only new ones are drawn."""
    earlier = (item for item in items if item.path not in todo)
    return sum(not (out / "drawn" / f"{item.name}.jpg").is_file() for item in earlier)


class _Reader:
    """Reads images in the threads that estimate, and says what each file was.

    Attributes:
        stamps: The `file_stamp` of every file that could be read.
    """

    def __init__(self) -> None:
        self.stamps: dict[Path, str] = {}

    def __call__(self, path: Path) -> Image:
        data, status = read_file(path)
        self.stamps[path] = file_stamp(data, status)
        return decode_image(str(path), data)


def _entry(
    result: Result, item: ImageItem, image_id: int, origin: str, stamp: str
) -> JournalRecord | Failure:
    if result.image is None or result.poses is None:
        return Failure(item.file_name, result.error)
    size = size_of(result.image)
    return JournalRecord(
        image_id, item.file_name, item.name, origin, size, result.poses, stamp=stamp
    )


@dataclass
class Found:
    """Counts of a run.

    Attributes:
        images: Images looked at.
        people: Poses that are likely enough to be drawn.
        weaker: The other poses in the results.
        best: The highest score of those.
    """

    images: int = 0
    people: int = 0
    weaker: int = 0
    best: float = 0.0

    def add(self, result: Result, min_score: float) -> None:
        """Count one more image."""
        self.images += 1
        if result.poses is not None:
            scores = result.poses.scores
            weaker = scores[scores < min_score]
            self.people += len(scores) - len(weaker)
            self.weaker += len(weaker)
            self.best = max(self.best, float(weaker.max(initial=0.0)))


def _rate(bar: Progress, task: Any, people: int, failures: int) -> str:
    speed = bar.tasks[task].speed
    failed = f", {failures} failed" if failures else ""
    return f"{speed or 0:.1f} images/s, {people} people{failed}"


def _report(summary: dict[str, Any], options: PredictOptions) -> None:
    for failure in summary["failed"]:
        click.echo(f"failed: {failure['reason']}", err=True)
    for reason in summary["unwritten"]:
        click.echo(f"failed: {reason}", err=True)
    if summary["videos"]:
        names = shlex.join(summary["videos"])
        click.echo(f"left out {len(summary['videos'])} videos: rmpe track {names}", err=True)
    if options.as_json:
        click.echo(json.dumps(summary))
    elif not options.quiet:
        failed = f", {len(summary['failed'])} failed" if summary["failed"] else ""
        earlier = summary["done"] + len(summary["failed"]) - summary["new"]
        before = f" ({earlier} of them earlier)" if options.resume and earlier > 0 else ""
        people = f"{summary['people']} {'new ' if before else ''}people"
        seconds = summary["seconds"]
        rate = f" ({summary['new'] / seconds:.1f} images/s)" if summary["new"] and seconds else ""
        click.echo(
            f"{summary['done']} images{before}, {people}"
            f" (score >= {options.draw_min_score}){failed}, {seconds:.1f} s{rate}"
        )
        if summary["weaker"] and not summary["people"]:
            enough = math.floor(summary["best_weaker"] * 90) / 100  # the best, and those near it
            click.echo(
                f"{summary['weaker']} weaker poses are in the results;"
                f" --draw-min-score {enough:g} counts and draws the best of them"
            )
        for file in summary["files"]:
            click.echo(f"results: {file}")
        if summary["drawn"]:
            click.echo(f"pictures: {summary['drawn']}")
        if options.resume and summary["undrawn"]:
            click.echo(
                f"{summary['undrawn']} images of the earlier run have no picture: run it without"
                " --resume to draw them"
            )
