"""Does the STN mend loose boxes? AP and mean OKS on true boxes perturbed to IoU 1.0 .. 0.5.

The STN that ships stands before the pose model that ships and before TinyPose, composed: theta is
composed with the crop's map and pixels are sampled once. With ``--runs runs/proof`` the rows are
instead the runs of ``benchmarks.boxes.sstn_train`` that are finished, each against its control and
judged the way it was trained: in the crop (STN, SPPE and SDTN in one graph, the paper's way) or
composed.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.boxes.sstn_train import runs as proof_runs
from benchmarks.options import benchmark
from benchmarks.people import folder, interval
from benchmarks.record import show
from benchmarks.single_person import Make, Score, estimate_all, estimator, score
from rmpe.ablation.runs import CHECKPOINT, finished, header
from rmpe.evaluation.figures.bootstrap import Figure, compare
from rmpe.evaluation.figures.disturb import IOUS, disturbed_boxes
from rmpe.evaluation.files.submissions import read_people
from rmpe.models import resolve_model

TEACHERS = {
    "sstn": "SSTN",
    "parallel": "SSTN + parallel SPPE",
    "theta": "SSTN + theta",
    "all": "SSTN + parallel + theta",
}
PAIRED = (
    "Differences in points, with 95 % bootstrap intervals paired over photos. Loss at .6 and at .5:"
    " what the "
)
PAIRED += (
    "row loses from the control's figure at IoU 1.0, as a share of what the control itself loses"
    " (aim: at most "
)
PAIRED += "50 %), with its interval."


@dataclass(frozen=True)
class Method:
    """One row: how to make its estimator, and the row it is compared with."""

    name: str
    make: Make
    against: str | None = None


def shipped(pose: str | None, stn: str | None, published: Path) -> list[Method]:
    """The STN that ships before two pose models."""
    transformer = resolve_model(stn, "stn")
    own = resolve_model(pose, "pose")
    rows = []
    for name, file in {"TinyPose": published / "tinypose_256x192.onnx", own.stem: own}.items():
        rows.append(Method(name, lambda file=file: estimator(file)))
        made: Make = lambda file=file: estimator(file, transformer)  # noqa: E731
        rows.append(Method(f"{name} behind the STN", made, name))
    return rows


def trained(runs: Path) -> list[Method]:
    """The runs of the proof that are finished."""
    rows = []
    alone = exported(runs / "stn")
    for stage1 in sorted(runs.glob("stage1-*")):
        policy = stage1.name.removeprefix("stage1-")
        control = f"{policy}: control"
        for name, run in (
            (f"{policy}: stage 1", stage1),
            (control, runs / f"stage2-{policy}-control"),
        ):
            if not (base := exported(run)):
                continue
            rows.append(Method(name, lambda f=base: estimator(f / "sppe.onnx")))
            if alone:
                made: Make = lambda f=base: estimator(f / "sppe.onnx", alone / "stn.onnx")  # noqa: E731
                rows.append(Method(f"{name} behind the STN alone", made, name))
        for teacher, words in TEACHERS.items():
            name = f"{policy}: {words}"
            if files := exported(runs / f"stage2-{policy}-{teacher}"):
                made = lambda f=files: estimator(f / "sstn_sppe.onnx")  # noqa: E731
                rows.append(Method(f"{name}, in the crop", made, control))
            if files := exported(runs / f"stage2-{policy}-{teacher}-composed"):
                made = lambda f=files: estimator(f / "sppe.onnx", f / "stn.onnx")  # noqa: E731
                rows.append(Method(f"{name}, composed", made, control))
    return rows


def exported(run: Path) -> Path | None:
    """The folder with a finished run's ONNX files, made if needed; None if it is not finished."""
    checkpoint = run / CHECKPOINT
    out = run / "onnx"
    if not finished(checkpoint):
        return None
    if not any(out.glob("*.onnx")):
        from rmpe.export import export_checkpoint  # torch is only needed for the proof

        training = header(checkpoint)["training"]
        way = training["sstn"]["sampling"] if training["stage"] == 2 else "composed"
        export_checkpoint(checkpoint, out, way)
    return out


def budget(runs: Path) -> str:
    """How long the finished runs trained, from their checkpoints."""
    kinds: dict[str, list[str]] = {}
    for name in proof_runs(runs):
        if finished(runs / name / CHECKPOINT):
            saved = header(runs / name / CHECKPOINT)
            height, width = saved["size"]
            people = saved["training"]["batch"]
            kind = f"{saved['steps']} steps of {people} people at {height}x{width}"
            kinds.setdefault(kind, []).append(name)
    trained = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items())
    return f"Trained on one core, a single seed each. {trained}."


@benchmark("data", "pose", "stn", "save")
@click.option(
    "--runs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Measure the finished runs of the proof instead.",
)
@click.option("--only", default="", help="Rows whose name contains this.")
def main(data, pose, stn, runs, only, save):
    val = folder(data)
    people = read_people(val / "annotations.json")
    boxes = {iou: disturbed_boxes(people, iou) for iou in IOUS}
    digest = hashlib.sha256(b"".join(json.dumps(one).encode() for one in boxes.values()))
    table: dict[str, dict[float, Score]] = {}
    costs = {}
    rows = trained(runs) if runs else shipped(pose, stn, data / "models")
    rows = [row for row in rows if only in row.name]
    for method in rows:
        model = method.make()
        found = {
            iou: estimate_all(model, people, val / "images", some) for iou, some in boxes.items()
        }
        table[method.name] = {iou: score(people, results) for iou, (results, _) in found.items()}
        costs[method.name] = float(np.median([cost for _, cost in found.values()]))
        print(f"{method.name}: done", flush=True)
    count = len(boxes[1.0])
    report(
        rows,
        table,
        costs,
        len(people.images),
        prefix="sstn-proof" if runs else "sstn-shipped",
        notes=budget(runs) + " " if runs else "",
        save=save,
        data=f"coco-val, {count} people, boxes perturbed (sha256 {digest.hexdigest()[:12]})",
    )


def report(
    rows: list[Method],
    table: dict[str, dict[float, Score]],
    costs: dict[str, float],
    images: int,
    *,
    prefix: str,
    notes: str,
    save: bool,
    data: str,
) -> None:
    """Show, and record, AP, mean OKS, and both against the row that each is compared with."""
    every = np.ones(images)
    subject = "SSTN" if prefix == "sstn-proof" else "The STN that ships"
    for figure, words in (("ap", "AP"), ("oks", "mean OKS")):
        show(
            f"{prefix}-{figure}",
            save=save,
            title=f"{subject}: {words} on perturbed boxes",
            data=data,
            columns=["method", *(f"IoU {iou}" for iou in IOUS), "CPU ms a person"],
            rows=[
                [
                    row.name,
                    *(100 * getattr(table[row.name][iou], figure)(every) for iou in IOUS),
                    costs[row.name],
                ]
                for row in rows
            ],
            notes=notes + "The time is CPU time of one thread.",
        )
    lines = []
    for row in rows:
        if row.against not in table:
            continue
        for figure, words in (("ap", "AP"), ("oks", "OKS")):
            own = {iou: getattr(table[row.name][iou], figure) for iou in IOUS}
            control = {iou: getattr(table[row.against][iou], figure) for iou in IOUS}
            cells = [interval(compare(own[iou], control[iou], images)) for iou in IOUS]
            losses = [loss_share(own, control, iou, images) for iou in (0.6, 0.5)]
            lines.append([row.name, row.against, words, *cells, *losses])
    show(
        f"{prefix}-paired",
        save=save,
        title=f"{subject}: against the control, paired",
        data=data,
        columns=[
            *("method", "against", "figure"),
            *(f"IoU {iou}" for iou in IOUS),
            *("loss at .6", "loss at .5"),
        ],
        rows=lines,
        notes=PAIRED,
    )


def loss_share(
    own: dict[float, Figure], control: dict[float, Figure], target: float, images: int
) -> str:
    """Share of the control's loss that is left, in %, with a bootstrap interval."""

    def share(of: dict[float, Figure]) -> Callable[[np.ndarray], float]:
        def left(weights: np.ndarray) -> float:
            top = control[1.0](weights)
            return (top - of[target](weights)) / (top - control[target](weights))

        return left

    # Against the control's own share, which is 1 in every draw.
    result = compare(share(own), share(control), images)
    low, high = (100 + 100 * value for value in (result.low, result.high))
    return f"{100 * result.first:.0f} % [{low:.0f}, {high:.0f}]"


if __name__ == "__main__":
    main()
