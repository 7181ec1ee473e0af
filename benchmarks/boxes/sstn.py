"""Does the STN mend loose boxes? AP and mean OKS on true boxes perturbed to IoU 1.0 .. 0.5.

The STN that ships stands before the pose model that ships and before TinyPose, composed: theta is
composed with the crop's map and pixels are sampled once. With ``--ablation CONFIG`` the rows are
instead the nets of that ablation's rows, each as its row runs it (in the crop, the paper's way, or
composed), against the row without an STN whose training boxes were the same; figures are means of
its seeds.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np

from benchmarks.options import benchmark
from benchmarks.people import folder, interval
from benchmarks.record import show
from benchmarks.single_person import Make, Score, estimate_all, estimator, score
from rmpe.ablation.plan import AblationConfig, repeats, settings
from rmpe.ablation.runs import Runs
from rmpe.config import load_config
from rmpe.evaluation.figures.bootstrap import Figure, compare, mean_figure
from rmpe.evaluation.figures.disturb import IOUS, disturbed_boxes
from rmpe.evaluation.files.submissions import read_people
from rmpe.models import resolve_model

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
    """One row: how to make its estimator with each seed, and the row it is compared with."""

    name: str
    makes: tuple[Make, ...]
    against: str | None = None


def shipped(pose: str | None, stn: str | None, published: Path) -> list[Method]:
    """The STN that ships before two pose models."""
    transformer = resolve_model(stn, "stn")
    own = resolve_model(pose, "pose")
    rows = []
    for name, file in {"TinyPose": published / "tinypose_256x192.onnx", own.stem: own}.items():
        rows.append(Method(name, (partial(estimator, file),)))
        rows.append(
            Method(f"{name} behind the STN", (partial(estimator, file, transformer),), name)
        )
    return rows


def of_ablation(config: AblationConfig) -> list[Method]:
    """The nets of an ablation's rows: first those without an STN, then each against its own."""
    runs = Runs(config, print)
    nets = {}
    for row in settings(config):
        made = tuple(runs.nets(one) for one in repeats(row, config))
        nets.setdefault(made, row)
    controls = {row.pose: row for row in nets.values() if row.stn == "none"}
    methods = []
    for made, row in sorted(nets.items(), key=lambda item: item[1].stn != "none"):
        # sstn-POLICY.. is compared with sppe-POLICY, fine-tuned on the same boxes.
        control = controls[f"sppe-{row.pose.split('-')[1]}"]
        makes = tuple(partial(estimator, one.pose, one.stn) for one in made)
        against = None if row is control else control.title
        methods.append(Method(row.title, makes, against))
    return methods


def mean(scores: list[Score]) -> Score:
    """The mean over seeds of AP and of mean OKS."""
    return Score(mean_figure([one.ap for one in scores]), mean_figure([one.oks for one in scores]))


@benchmark("data", "pose", "stn", "save")
@click.option(
    "--ablation",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure the nets of this ablation's rows instead.",
)
def main(data, pose, stn, ablation, save):
    val = folder(data)
    people = read_people(val / "annotations.json")
    boxes = {iou: disturbed_boxes(people, iou) for iou in IOUS}
    digest = hashlib.sha256(b"".join(json.dumps(one).encode() for one in boxes.values()))
    table: dict[str, dict[float, Score]] = {}
    costs = {}
    if ablation:
        config = load_config(AblationConfig, ablation)
        rows = of_ablation(config)
    else:
        rows = shipped(pose, stn, data / "models")
    for method in rows:
        models = [make() for make in method.makes]
        table[method.name] = {}
        spent = []
        for iou, some in boxes.items():
            scores = []
            for model in models:
                results, cost = estimate_all(model, people, val / "images", some)
                scores.append(score(people, results))
                spent.append(cost)
            table[method.name][iou] = mean(scores)
        costs[method.name] = float(np.median(spent))
        print(f"{method.name}: done", flush=True)
    count = len(boxes[1.0])
    report(
        rows,
        table,
        costs,
        len(people.images),
        prefix="sstn-table3" if ablation else "sstn-shipped",
        notes=f"Means of {len(config.seeds)} seeds. " if ablation else "",
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
    subject = "The nets of Table 3" if prefix == "sstn-table3" else "The STN that ships"
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
