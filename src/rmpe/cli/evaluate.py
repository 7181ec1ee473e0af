"""``rmpe evaluate``: measure a results file, or models on images, against annotations."""

import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from rmpe.atomic import check_writable_folder
from rmpe.cli.commands import HelpfulGroup, SectionCommand
from rmpe.cli.evaluate_images import predict_results
from rmpe.cli.pipeline_flags import pipeline_flags
from rmpe.errors import UsageError
from rmpe.evaluation.benchmarks import measure_of
from rmpe.evaluation.figures.bootstrap import compare
from rmpe.options import PipelineOptions
from rmpe.skeletons import load_skeleton

# Most columns of numbers that fit on a terminal of 80 characters.
WIDEST = 4
UNDEFINED = -1.0  # what COCO's tools give where nobody was to be found
COCO_LIKE = frozenset({"coco", "wholebody", "boxes", "crowdpose"})
EXISTING = click.Path(exists=True, path_type=Path)
DESCRIPTIONS = {
    "coco": "COCO keypoints: AP and AR by OKS; by size, by crowding, by joint.",
    "boxes": "COCO person boxes: AP and AR by IoU; recall by size and crowding.",
    "wholebody": "COCO-WholeBody: AP of the whole body, of body, feet, face and hands.",
    "crowdpose": "CrowdPose: AP on easy, medium and hard images.",
    "mpii": "MPII multi-person: AP per joint, people matched by PCKh.",
    "posetrack": "PoseTrack: AP, MOTA, MOTP, precision, recall, HOTA.",
    "mot": "MOT Challenge: MOTA, IDF1, recall, precision of people's boxes; folders or files.",
    "pck": "PCKh of single people.",
}


@click.group(cls=HelpfulGroup)
def evaluate() -> None:
    """Measure poses by a benchmark's rules.

    Give --results (a file) or --images (a folder, and models to run on it). The frames layout and
    .npz files hold annotations and predictions together: then give neither.
    """


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What ``rmpe evaluate PROTOCOL`` measures, and how it says so.

    Attributes:
        annotations: The truth: the benchmark's own file.
        results: Results file to measure, or ``None``.
        images: Folder of images to run the models on, or ``None``.
        save_results: With ``images``: where to keep the results file.
        against: Another results file to compare with, paired by image.
        samples: Bootstrap samples.
        as_json: All figures as one JSON object.
        plots: Folder to draw plots into.
        skeleton: For ``coco``: name or TOML file of the joints; ``None`` = as the annotations say.
    """

    annotations: Path
    results: Path | None
    images: Path | None
    save_results: Path | None
    against: Path | None
    samples: int
    as_json: bool
    plots: Path | None
    skeleton: str | None

    def __post_init__(self) -> None:
        if self.images and self.results:
            raise UsageError("--images and --results exclude each other")
        if self.save_results and not self.images:
            raise UsageError("--save-results keeps what --images gives: give both")


def _command(protocol: str) -> click.Command:
    @click.option(
        "--annotations",
        type=EXISTING,
        required=True,
        help="The truth: the benchmark's own JSON.",
    )
    @click.option(
        "--results", type=EXISTING, help="What to measure: the benchmark's results layout."
    )
    @click.option(
        "--images",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder of images to run the models on.",
    )
    @click.option(
        "--save-results",
        type=click.Path(path_type=Path),
        help="With --images: keep the results file here.",
    )
    @click.option(
        "--against",
        type=EXISTING,
        help="Another results file to compare with, paired by image.",
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
    @click.option(
        "--skeleton",
        help="For coco: name or TOML file of the joints; by default those of the annotations.",
    )
    # Weaker poses cost time and cannot raise AP by much.
    @pipeline_flags(min_score=0.02)
    def command(pipeline: PipelineOptions, **flags: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            _run(protocol, Path(folder), EvaluateOptions(**flags), pipeline)

    return click.command(protocol, cls=SectionCommand, help=DESCRIPTIONS[protocol])(command)


for _name in DESCRIPTIONS:
    evaluate.add_command(_command(_name))


def _run(protocol: str, scratch: Path, options: EvaluateOptions, pipeline: PipelineOptions) -> None:
    skeleton = load_skeleton(options.skeleton) if options.skeleton else None
    measure = measure_of(protocol, skeleton)
    if options.plots:
        check_writable_folder(options.plots)
    results = options.results
    if options.images is not None:
        results = options.save_results or scratch / "results.json"
        found = predict_results(
            protocol, options.annotations, options.images, pipeline, results, skeleton
        )
        measure = measure_of(protocol, found)
    measured = measure(options.annotations, results)
    if results is not None and results.parent == scratch:
        # The file is gone when this is read: what it holds comes from the photos.
        said = [line.replace(str(results), str(options.images)) for line in measured.warnings]
        measured = replace(measured, warnings=said)
    report = measured.figures | {"warnings": measured.warnings}
    if options.against:
        other = measure(options.annotations, options.against)
        if other.units != measured.units:
            raise UsageError(
                f"{options.against}: measures {other.units} images, the results {measured.units}"
            )
        compared = compare(measured.headline, other.headline, measured.units, options.samples)
        report["warnings"] = measured.warnings + other.warnings
        report["against"] = {"figure": measured.headline_name, **asdict(compared)}
    if options.plots:
        report["plots"] = [str(path) for path in measured.plots(options.plots)]
    for warning in report["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    if options.as_json:
        click.echo(json.dumps(report))
    else:
        drawn = report.pop("plots", [])
        del report["warnings"]
        _print(Console(), protocol, report)
        undefined = [name for name, value in report.items() if value == UNDEFINED]
        if undefined and protocol in COCO_LIKE:
            click.echo(
                f"-1 = not defined, nobody of that kind is annotated: {', '.join(undefined)}"
            )
        for path in drawn:
            click.echo(f"plot: {path}")


def _print(console: Console, name: str, report: dict[str, Any]) -> None:
    """Print a report as tables.

    First its numbers, then lists of equal length and dictionaries of equal keys side by side, then
    what lies deeper.
    """
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
        names = [
            key
            for key, cells in side_by_side.items()
            if all(isinstance(cell, str) for cell in cells)
        ]
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
