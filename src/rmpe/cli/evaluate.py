"""``rmpe evaluate``: measure a results file, or models on a folder of images, against annotations."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from rmpe.errors import UsageError
from rmpe.evaluation.benchmarks import PROTOCOLS, Measured
from rmpe.evaluation.figures.bootstrap import compare

# Most columns of numbers that fit on a terminal of 80 characters.
WIDEST = 4
EXISTING = click.Path(exists=True, path_type=Path)
DESCRIPTIONS = {
    "coco": "COCO keypoints: AP and AR by OKS; by size, by crowding, by joint.",
    "boxes": "COCO person boxes: AP and AR by IoU; recall by size and crowding.",
    "crowdpose": "CrowdPose: AP on easy, medium and hard images.",
    "mpii": "MPII multi-person: AP per joint, people matched by PCKh.",
    "posetrack": "PoseTrack: AP, MOTA, MOTP, precision, recall, HOTA.",
    "pck": "PCKh of single people.",
}


@click.group()
def evaluate() -> None:
    """Measure poses by a benchmark's rules.

    Give --results (a file) or --images (a folder, and models to run on it). The frames layout and
    .npz files hold annotations and predictions together: then give neither.
    """


def _command(protocol: str) -> click.Command:
    @click.option(
        "--annotations", type=EXISTING, required=True, help="The truth: the benchmark's own JSON."
    )
    @click.option(
        "--results", type=EXISTING, help="What to measure: the benchmark's results layout."
    )
    @click.option(
        "--images",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Run models on these.",
    )
    @click.option(
        "--detector", help="With --images: person detector, ONNX file or installed model."
    )
    @click.option("--pose", help="With --images: pose model, ONNX file or installed model.")
    @click.option("--stn", help="With --images: spatial transformer before the pose model.")
    @click.option("--card", type=EXISTING, help="With --images: model card of the pose model.")
    @click.option("--nms", default="parametric", show_default=True, help="With --images: pose NMS.")
    @click.option(
        "--save-results",
        type=click.Path(path_type=Path),
        help="With --images: keep the results file here.",
    )
    @click.option(
        "--against", type=EXISTING, help="Another results file to compare with, paired by image."
    )
    @click.option(
        "--samples",
        type=click.IntRange(10),
        default=1000,
        show_default=True,
        help="Bootstrap samples.",
    )
    @click.option("--json", "as_json", is_flag=True, help="All figures as one JSON object.")
    @click.option(
        "--plots",
        type=click.Path(file_okay=False, path_type=Path),
        help="Draw plots into this folder.",
    )
    def command(**options: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            _run(protocol, Path(folder), options)

    return click.command(protocol, help=DESCRIPTIONS[protocol])(command)


for _name in DESCRIPTIONS:
    evaluate.add_command(_command(_name))


def _run(protocol: str, scratch: Path, options: dict[str, Any]) -> None:
    results = _results(protocol, scratch, options)
    measure: Callable[[Path, Path | None], Measured] = PROTOCOLS[protocol]
    measured = measure(options["annotations"], results)
    report = measured.figures | {"warnings": measured.warnings}
    if options["against"]:
        other = measure(options["annotations"], options["against"])
        if other.units != measured.units:
            raise UsageError(
                f"{options['against']}: measures {other.units} images, the results {measured.units}"
            )
        compared = compare(measured.headline, other.headline, measured.units, options["samples"])
        report["warnings"] = measured.warnings + other.warnings
        report["against"] = {"figure": measured.headline_name, **asdict(compared)}
    if options["plots"]:
        report["plots"] = [str(path) for path in measured.plots(options["plots"])]
    for warning in report["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    if options["as_json"]:
        click.echo(json.dumps(report))
    else:
        drawn = report.pop("plots", [])
        del report["warnings"]
        _print(Console(), protocol, report)
        for path in drawn:
            click.echo(f"plot: {path}")


def _results(protocol: str, scratch: Path, options: dict[str, Any]) -> Path | None:
    if options["images"] and options["results"]:
        raise UsageError("--images and --results exclude each other")
    if not options["images"]:
        given: Path | None = options["results"]
        return given
    from rmpe.cli.evaluate_images import (
        predict_results,
    )  # the whole pipeline: only when models are run

    return predict_results(protocol, options, options["save_results"] or scratch / "results.json")


def _print(console: Console, name: str, report: dict[str, Any]) -> None:
    """Tables of a report: its numbers, then lists of a length and dicts of the same keys side by side, then deeper."""
    numbers = {key: value for key, value in report.items() if not isinstance(value, dict | list)}
    if numbers:
        console.print(_table({name: list(numbers), "value": list(numbers.values())}))
    columns: dict[Any, dict[str, list[Any]]] = {}
    for key, value in report.items():
        if isinstance(value, list) and value and not isinstance(value[0], list | dict):
            columns.setdefault(len(value), {})[key] = value
        elif isinstance(value, dict) and not any(
            isinstance(cell, list | dict) for cell in value.values()
        ):
            columns.setdefault(tuple(value), {name: list(value)})[key] = list(value.values())
    for side_by_side in columns.values():
        names = [key for key, cells in side_by_side.items() if isinstance(cells[0], str)]
        values = [key for key in side_by_side if key not in names]
        for start in range(0, len(values), WIDEST):
            console.print(
                _table(
                    {key: side_by_side[key] for key in [*names, *values[start : start + WIDEST]]}
                )
            )
    for key, value in report.items():
        if isinstance(value, dict) and any(
            isinstance(cell, list | dict) for cell in value.values()
        ):
            _print(console, key, value)


def _table(columns: dict[str, list[Any]]) -> Table:
    table = Table(*columns)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(_text, row))
    return table


def _text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
