"""``rmpe predict``: everybody's pose from image files."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rmpe import __version__
from rmpe.cli.terminal import warnings_to
from rmpe.detect import Detector, RecordedBoxes, WholeImage
from rmpe.draw import draw_poses
from rmpe.errors import UsageError
from rmpe.media.images import save_image
from rmpe.media.sources import ImageItem, find_images, image_ids
from rmpe.pipeline import Estimator, Result, load
from rmpe.runtime import DEVICES, sha256_of
from rmpe.suppress import SUPPRESSORS
from rmpe.write import FORMATS
from rmpe.write.coco import write_images
from rmpe.write.journal import Failure, Journal, Record

WHOLE_IMAGE = "whole-image"
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the results.",
)
@click.option("--detector", help=f"Person detector: ONNX file, installed model, or {WHOLE_IMAGE}.")
@click.option("--pose", help="Pose model: ONNX file or installed model.")
@click.option(
    "--stn",
    help="Spatial transformer that stands before the pose model: ONNX file or installed model.",
)
@click.option("--card", type=FILE, help="Model card of the pose model (TOML).")
@click.option(
    "--boxes",
    type=FILE,
    help="Boxes from this file (COCO results or annotations) instead of a detector.",
)
@click.option("--annotations", type=FILE, help="COCO file to take image ids from, by file name.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(list(FORMATS)),
    default=["coco"],
    show_default=True,
    help="Result format; repeat for several.",
)
@click.option(
    "--draw/--no-draw", default=True, show_default=True, help="Draw the poses into OUT/drawn."
)
@click.option(
    "--draw-boxes",
    is_flag=True,
    help="Draw the boxes, too: the detector's, and with --stn those it found (magenta).",
)
@click.option(
    "--min-score", type=click.FloatRange(0, 1), default=0.05, show_default=True, help="For results."
)
@click.option(
    "--draw-min-score",
    type=click.FloatRange(0, 1),
    default=0.3,
    show_default=True,
    help="For pictures and the printed count.",
)
@click.option(
    "--nms",
    default="parametric",
    show_default=True,
    help=f"Pose NMS: {', '.join(SUPPRESSORS)}, or a TOML file of learned parameters.",
)
@click.option(
    "--flip-test", is_flag=True, help="Also run every person mirrored: slower, a little better."
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="People in a call; GPUs want 16.",
)
@click.option("--threads", type=click.IntRange(0), default=0, help="Cores to use; 0 = all.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
@click.option(
    "--max-people",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Per image; the best boxes.",
)
@click.option("--limit", type=click.IntRange(1), help="Only the first so many images.")
@click.option("--resume", is_flag=True, help="Go on with an earlier run in the same folder.")
@click.option(
    "--quiet", is_flag=True, help="No progress bar, no summary; failures are still listed."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Summary as one JSON object on standard output."
)
def predict(sources: tuple[str, ...], out: Path, **options: Any) -> None:
    """Find everybody's pose in image files, folders, patterns, or a list on standard input (-).

    Writes OUT/coco.json (and other formats), OUT/images.json, and pictures to look at in OUT/drawn.
    An image that cannot be read is listed at the end and does not stop the others. Exit code: 0 all
    done, 1 some images failed, 2 wrong use.
    """
    started = time.perf_counter()
    everything = find_images(sources)
    ids = image_ids(
        everything, options["annotations"]
    )  # of all images, so that --limit does not change them
    items = everything[: options["limit"]]
    estimator = _load(options, many=len(items) > 1)
    show = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=show,
        disable=options["quiet"] or options["as_json"] or not show.is_terminal,
    )
    with Journal(
        out / "journal.jsonl", _settings(options, estimator), resume=options["resume"]
    ) as journal:
        todo = _todo(items, ids, journal, options["annotations"])
        people = 0
        try:
            with bar, warnings_to(show):
                task = bar.add_task("people", total=len(todo), rate="")
                for result in estimator.stream(list(todo), each=_drawer(todo, out, options)):
                    item = todo[result.path]
                    journal.append([_entry(result, item, ids[item])])
                    people += _count(result, options["draw_min_score"])
                    bar.update(
                        task, advance=1, rate=_rate(bar, task, people, len(journal.failures))
                    )
        except KeyboardInterrupt:
            click.echo(f"rmpe: stopped after {len(journal)} images; go on with --resume", err=True)
        files = [
            FORMATS[name](journal.records(estimator.skeleton), estimator.skeleton, out)
            for name in options["formats"]
        ]
        files.append(write_images(journal.records(estimator.skeleton), out))
        done = sum(item in ids and ids[item] in journal for item in items)
        summary = {
            "images": len(items),
            "done": done,
            "people": people,
            "failed": [
                {"file": failure.file_name, "reason": failure.reason}
                for failure in journal.failures.values()
            ],
            "seconds": round(time.perf_counter() - started, 3),
            "files": [str(file) for file in files],
            "drawn": str(out / "drawn") if options["draw"] else None,
        }
    _report(summary, options)
    sys.exit(1 if done < len(items) else 0)


def _load(options: dict[str, Any], *, many: bool) -> Estimator:
    if options["boxes"] and options["detector"]:
        raise UsageError(
            "--boxes and --detector exclude each other: the boxes come from one of them"
        )
    cores = options["threads"] or os.cpu_count() or 1
    detector: str | Detector | None = options["detector"]
    if options["boxes"]:
        detector = RecordedBoxes(options["boxes"], options["annotations"])
    elif detector == WHOLE_IMAGE:
        detector = WholeImage()
    return load(
        detector,
        options["pose"],
        stn=options["stn"],
        card=options["card"],
        nms=options["nms"],
        device=options["device"],
        threads=cores,
        workers=cores
        if many
        else 1,  # whole images side by side beat threads inside one small model
        batch=options["batch"],
        flip_test=options["flip_test"],
        min_score=options["min_score"],
        limit=options["max_people"],
    )


def _settings(options: dict[str, Any], estimator: Estimator) -> dict[str, Any]:
    """All that changes results; a run is only resumed under the same."""
    files = {name: options[name] for name in ("detector", "pose", "stn", "boxes", "card")}
    models = {
        name: sha256_of(path) if value and (path := Path(value)).is_file() else value
        for name, value in files.items()
    }
    names = ("nms", "flip_test", "min_score", "max_people")
    fixed = {"rmpe": __version__, "skeleton": estimator.skeleton.name}
    return fixed | models | {name: options[name] for name in names}


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
    items: dict[Path, ImageItem], out: Path, options: dict[str, Any]
) -> Callable[[Result], None] | None:
    if not options["draw"]:
        return None

    def draw(result: Result) -> None:
        if result.image is not None and result.poses is not None:
            likely = result.poses[result.poses.scores >= options["draw_min_score"]]
            drawn = draw_poses(
                result.image,
                likely,
                min_score=0,
                show_boxes=options["draw_boxes"],
                other_boxes=likely.stn_boxes if options["draw_boxes"] and options["stn"] else None,
            )
            save_image(out / "drawn" / f"{items[result.path].name}.jpg", drawn)

    return draw


def _entry(result: Result, item: ImageItem, image_id: int) -> Record | Failure:
    if result.image is None or result.poses is None:
        return Failure(item.file_name, result.error)
    size = (result.image.shape[0], result.image.shape[1])
    return Record(image_id, item.file_name, item.name, str(item.path), size, result.poses)


def _count(result: Result, min_score: float) -> int:
    return 0 if result.poses is None else int((result.poses.scores >= min_score).sum())


def _rate(bar: Progress, task: Any, people: int, failures: int) -> str:
    speed = bar.tasks[task].speed
    failed = f", {failures} failed" if failures else ""
    return f"{speed or 0:.1f} images/s, {people} people{failed}"


def _report(summary: dict[str, Any], options: dict[str, Any]) -> None:
    for failure in summary["failed"]:
        click.echo(f"failed: {failure['reason']}", err=True)
    if options["as_json"]:
        click.echo(json.dumps(summary))
    elif not options["quiet"]:
        rate = summary["done"] / summary["seconds"] if summary["seconds"] else 0
        failed = f", {len(summary['failed'])} failed" if summary["failed"] else ""
        click.echo(
            f"{summary['done']} images, {summary['people']} people (score >= {options['draw_min_score']}){failed}, "
            f"{summary['seconds']:.1f} s ({rate:.1f} images/s)"
        )
        click.echo(f"results: {summary['files'][0]}")
        if summary["drawn"]:
            click.echo(f"pictures: {summary['drawn']}")
