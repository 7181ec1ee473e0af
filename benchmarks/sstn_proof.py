"""The proof of SSTN: AP and mean OKS on coco-val's true boxes, disturbed to IoU 1.0 .. 0.5.

    python benchmarks/sstn_proof.py [--folder runs/proof] [--save]

Takes whatever runs ``benchmarks/sstn_proof_train.py`` has finished, exports them, estimates every
person from every disturbed box (kept in ``FOLDER/boxes``, results in ``FOLDER/results``; both are
made once) and prints the tables. In the crop: STN, SPPE and SDTN in one graph. Composed: theta
composed with the crop's map, pixels sampled once. A run is judged the way it was trained.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from record import DATA, ROOT, show
from sstn_proof_train import runs

from rmpe import affine
from rmpe.ablation.runs import CHECKPOINT, finished, header
from rmpe.boxes import Boxes
from rmpe.detect import WholeImage
from rmpe.estimate.crops import cut
from rmpe.estimate.pose_model import PoseModel, load_pose_model
from rmpe.estimate.stn import Stn, load_stn
from rmpe.evaluation.figures.bootstrap import compare
from rmpe.evaluation.figures.disturb import IOUS, disturbed_boxes
from rmpe.evaluation.files.submissions import People, check_results, read_people
from rmpe.evaluation.matching.oks import oks
from rmpe.evaluation.protocols.coco import evaluate_coco
from rmpe.media.images import read_image
from rmpe.models import default_model, resolve_model
from rmpe.pipeline import Estimator
from rmpe.propose.offsets import disturb
from rmpe.propose.policies import RandomJitter

VAL = DATA / "data" / "coco-val"
# Pose models that are not trained here, or not for this proof.
PUBLISHED = {"TinyPose": DATA / "models" / "tinypose_256x192.onnx"}
if SHIPPED := default_model("pose"):
    PUBLISHED[SHIPPED] = resolve_model(SHIPPED, "pose")
NAMES = {
    "sstn": "SSTN",
    "parallel": "SSTN + parallel SPPE",
    "theta": "SSTN + theta",
    "all": "SSTN + parallel + theta",
}
# How often an STN looks: again at the box it found.
TIMES = {1: "", 2: ", twice"}
# Training people whose first poses the rival learns from.
RIVAL_PEOPLE = 3000


@dataclass(frozen=True)
class Method:
    """One row: how to make its estimator, and the row it is compared with."""

    name: str
    make: Callable[[], Estimator]
    against: str | None


@dataclass(frozen=True)
class Score:
    """What one method gives at one IoU; weights of images -> a figure, for the bootstrap."""

    ap: Callable[[np.ndarray], float]
    oks: Callable[[np.ndarray], float]


class TwoPass:
    """The rival: a first pose, and from it the second crop, by ridge regression. Stands where an STN stands."""

    def __init__(self, pose: PoseModel) -> None:
        self.pose, self.size = pose, pose.size
        self.model = self._learn()

    def crop_maps(self, images: list, boxes: list[Boxes], pose: PoseModel) -> tuple[list, list]:  # noqa: ARG002 - its own
        maps = [self.pose.crop_maps(found.xyxy) for found in boxes]
        crops = np.concatenate(
            [cut(image, some, self.size) for image, some in zip(images, maps, strict=True)]
        )
        centred_to_crop = zoom_maps(self.model.predict(self._features(crops)), self.size)
        centred = affine.compose(affine.invert(centred_to_crop), np.concatenate(maps))
        return np.split(centred, np.cumsum([len(found) for found in boxes])[:-1]), [
            found.xyxy for found in boxes
        ]

    def _features(self, crops: np.ndarray) -> np.ndarray:
        points, scores = self.pose(crops)
        points = affine.apply(affine.pixels_to_normalised(self.size), points)
        weighted = (points * scores[..., None]).reshape(len(crops), -1)
        return np.concatenate([points.reshape(len(crops), -1), weighted, scores], axis=1)

    def _learn(self):
        """Fit on training crops with the boxes of stage 2: jitter, a fifth undisturbed."""
        from sklearn.linear_model import RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        from rmpe.config import load_config
        from rmpe.datasets.sets import open_data
        from rmpe.training.pose.fit import TrainConfig

        packed = open_data(
            load_config(TrainConfig, ROOT / "configs" / "proof_stage2.toml").data, print
        )
        generator = np.random.default_rng(0)
        people = generator.permutation(len(packed))[:RIVAL_PEOPLE]
        offsets = RandomJitter().sample(np.zeros(len(people), np.int64), 1, generator)[:, 0]
        offsets[generator.random(len(people)) < 0.2] = 0
        true, drawn = (
            packed.boxes[people],
            disturb(packed.boxes[people], offsets).astype(np.float32),
        )
        crops, parameters = [], []
        for person, box, proposal in zip(people, true, drawn, strict=True):
            maps = self.pose.crop_maps(np.stack([box, proposal]))
            crops.append(cut(packed.crops[person], maps[1:], self.size)[0])
            parameters.append(
                zoom_parameters(affine.compose(maps[1], affine.invert(maps[0])), self.size)
            )
        model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11)))
        return model.fit(self._features(np.stack(crops)), np.stack(parameters))


class Repeated:
    """An STN that looks again at the box it found, cut anew from the image: cut-off limbs are in sight now."""

    def __init__(self, stn: Stn, times: int) -> None:
        self.stn, self.times = stn, times

    def crop_maps(self, images: list, boxes: list[Boxes], pose: PoseModel) -> tuple[list, list]:
        for _ in range(self.times - 1):
            boxes = [Boxes(found) for found in self.stn.crop_maps(images, boxes, pose)[1]]
        return self.stn.crop_maps(images, boxes, pose)


def zoom_parameters(centred_to_crop: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Log scale and normalised translation of a map between crops of one size."""
    theta = affine.compose(
        affine.pixels_to_normalised(size),
        affine.compose(centred_to_crop, affine.normalised_to_pixels(size)),
    )
    return np.array([np.log(theta[0, 0]), theta[0, 2], theta[1, 2]])


def zoom_maps(parameters: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The inverse of `zoom_parameters`: maps ``(N, 2, 3)``."""
    theta = affine.scale_translate(np.exp(parameters[:, :1]), parameters[:, 1:])
    return affine.compose(
        affine.normalised_to_pixels(size), affine.compose(theta, affine.pixels_to_normalised(size))
    )


def methods(folder: Path) -> list[Method]:
    """A row for everything that is finished."""
    rows, alone = [], exported(folder / "stn")
    for stage1 in sorted(folder.glob("stage1-*")):
        if not (base := exported(stage1)):
            continue
        policy = stage1.name.removeprefix("stage1-")
        first, against = f"{policy}: stage 1", f"{policy}: control"
        rows.append(Method(first, lambda f=base: estimator(f / "sppe.onnx"), None))
        rows.append(Method(f"{first}, two passes", lambda f=base: two_pass(f / "sppe.onnx"), first))
        if alone:
            for times, words in TIMES.items():
                made = lambda f=base, n=times: behind(alone, f / "sppe.onnx", n)  # noqa: E731
                rows.append(Method(f"{first} behind the STN alone{words}", made, first))
        if control := exported(folder / f"stage2-{policy}-control"):
            rows.append(Method(against, lambda f=control: estimator(f / "sppe.onnx"), None))
            if alone:
                made = lambda f=control: behind(alone, f / "sppe.onnx")  # noqa: E731
                rows.append(Method(f"{against} behind the STN alone", made, against))
        for variant, words in NAMES.items():
            name, run = f"{policy}: {words}", f"stage2-{policy}-{variant}"
            if files := exported(folder / run):
                rows.append(
                    Method(
                        f"{name}, in the crop",
                        lambda f=files: estimator(f / "sstn_sppe.onnx"),
                        against,
                    )
                )
            if files := exported(folder / f"{run}-composed"):
                rows.append(
                    Method(f"{name}, composed", lambda f=files: behind(f, f / "sppe.onnx"), against)
                )
    for name, pose in PUBLISHED.items():
        rows.append(Method(name, lambda p=pose: estimator(p), None))
        for times, words in TIMES.items() if alone else ():
            made = lambda p=pose, n=times: behind(alone, p, n)  # noqa: E731
            rows.append(Method(f"{name} behind the STN alone{words}", made, name))
    return rows


def exported(run: Path) -> Path | None:
    """The folder with a finished run's ONNX files, made if needed; None if the run is not finished."""
    checkpoint, out = run / CHECKPOINT, run / "onnx"
    if not finished(checkpoint):
        return None
    if not any(out.glob("*.onnx")):
        from rmpe.export import export_checkpoint

        training = header(checkpoint)["training"]
        export_checkpoint(
            checkpoint, out, training["sstn"]["sampling"] if training["stage"] == 2 else "composed"
        )
    return out


def budget(folder: Path) -> str:
    """How long the finished runs trained, from their checkpoints."""
    kinds: dict[str, list[str]] = {}
    for run in [folder / name for name in runs(folder)]:
        if exported(run):
            saved = header(run / CHECKPOINT)
            height, width = saved["size"]
            kind = (
                f"{saved['steps']} steps of {saved['training']['batch']} people at {height}x{width}"
            )
            kinds.setdefault(kind, []).append(run.name)
    trained = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items())
    return f"Trained on one core, one seed, {trained}. Rows that are missing were not trained. CPU time of one thread."


def estimator(pose: Path, stn: object = None) -> Estimator:
    """Single-person estimation without pose NMS: every box has its person."""
    return Estimator(
        WholeImage(), load_pose_model(pose, threads=1), stn, lambda poses: poses, min_score=0.0
    )


def behind(stn: Path, pose: Path, times: int = 1) -> Estimator:
    """A pose model behind the STN in a folder, composed."""
    return estimator(pose, Repeated(load_stn(stn / "stn.onnx", threads=1), times))


def two_pass(pose: Path) -> Estimator:
    return estimator(pose, TwoPass(load_pose_model(pose, threads=1)))


def box_file(people: People, target: float, folder: Path) -> Path:
    path = folder / "boxes" / f"coco-val_iou{target:.1f}.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(disturbed_boxes(people, target)))
    return path


def estimate_all(
    estimator: Estimator, people: People, boxes: list[dict]
) -> tuple[list[dict], float]:
    """COCO results in the order of the boxes, and CPU milliseconds a person."""
    by_image: dict[int, list[int]] = {}
    for index, box in enumerate(boxes):
        by_image.setdefault(box["image_id"], []).append(index)
    names = {image["id"]: image["file_name"] for image in people.images}
    results: list[dict] = [{}] * len(boxes)
    spent = 0.0
    for image_id, indices in by_image.items():
        image = read_image(VAL / "images" / names[image_id])
        xywh = np.array([boxes[index]["bbox"] for index in indices])
        found = Boxes(np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1))
        start = time.process_time()
        poses = estimator.estimate(image, found)
        spent += time.process_time() - start
        if len(poses) != len(indices):
            raise RuntimeError(f"image {image_id}: {len(poses)} poses for {len(indices)} boxes")
        for index, result in zip(indices, poses.to_coco(image_id), strict=True):
            results[index] = result
    return results, 1000 * spent / len(boxes)


def score(people: People, results: list[dict]) -> Score:
    """AP by COCO's protocol, and the mean OKS of each person with the pose from its own box."""
    checked, _ = check_results(results, people, "keypoints")
    ranked = evaluate_coco(people, checked).ranked["all"]
    targets = [a for a in people.annotations if not a["iscrowd"] and a.get("num_keypoints", 0)]
    truth = np.array([a["keypoints"] for a in targets], np.float64).reshape(len(targets), -1, 3)
    points = np.array([r["keypoints"] for r in results], np.float64).reshape(len(results), -1, 3)[
        ..., :2
    ]
    truth[truth[..., 2] == 0] = np.nan
    sigmas = estimator_sigmas()
    similarity = np.array(
        [
            oks(t[None, :, :2], p[None], [a["area"]], sigmas)[0, 0]
            for t, p, a in zip(truth, points, targets, strict=True)
        ]
    )
    place = np.searchsorted(people.image_ids, [a["image_id"] for a in targets])
    return Score(
        ranked.coco_ap, lambda weights: float(np.average(similarity, weights=weights[place]))
    )


def estimator_sigmas() -> tuple[float, ...]:
    from rmpe.skeletons import load_skeleton

    return load_skeleton("coco17").sigmas


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "proof")
    parser.add_argument("--save", action="store_true", help="record the tables and the plot")
    parser.add_argument(
        "--boxes-only", action="store_true", help="write the files of boxes and stop"
    )
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--samples", type=int, default=1000, help="bootstrap draws")
    options = parser.parse_args()
    people = read_people(VAL / "annotations.json")
    files = {target: box_file(people, target, options.folder) for target in IOUS}
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files.values())).hexdigest()[:12]
    if options.boxes_only:
        print(f"{len(files)} files of boxes in {options.folder / 'boxes'}, sha256 {digest}")
        return
    table: dict[str, dict[float, Score]] = {}
    costs, rows = {}, [row for row in methods(options.folder) if options.only in row.name]
    for method in rows:
        table[method.name], costs[method.name] = {}, []
        made = None
        for target, file in files.items():
            slug = "".join(letter if letter.isalnum() else "-" for letter in method.name)
            path = options.folder / "results" / f"{slug}_iou{target:.1f}.json"
            if not path.is_file():
                made = made or method.make()
                results, cost = estimate_all(made, people, json.loads(file.read_text()))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"cpu_ms": cost, "results": results}))
            kept = json.loads(path.read_text())
            table[method.name][target] = score(people, kept["results"])
            costs[method.name].append(kept["cpu_ms"])
        print(f"{method.name}: done", flush=True)
    report(
        rows,
        table,
        costs,
        len(people.images),
        options.samples,
        digest,
        budget(options.folder),
        options.save,
    )
    plot(rows, table, len(people.images), options.folder / "proof.png")
    if options.save:
        story = [
            row
            for row in rows
            if {row.name, row.against} & set(PUBLISHED) and not row.name.endswith("twice")
        ]
        plot(story, table, len(people.images), ROOT / "docs" / "sstn_proof.png")


def report(
    rows: list[Method],
    table: dict[str, dict[float, Score]],
    costs: dict[str, list[float]],
    images: int,
    samples: int,
    digest: str,
    budget: str,
    save: bool,
) -> None:
    every = np.ones(images)
    data = f"coco-val, 624 people, boxes disturbed (sha256 {digest})"
    kept = {"save": save, "command": "python benchmarks/sstn_proof.py --save", "data": data}
    for figure, words in (("ap", "AP"), ("oks", "mean OKS")):
        columns = ["method", *(f"IoU {target}" for target in IOUS), "CPU ms a person"]
        lines = [
            [
                m.name,
                *(100 * getattr(table[m.name][t], figure)(every) for t in IOUS),
                float(np.median(costs[m.name])),
            ]
            for m in rows
        ]
        title = f"SSTN: {words} on disturbed boxes"
        show(f"sstn-proof-{figure}", title=title, columns=columns, rows=lines, notes=budget, **kept)
    columns = [
        "method",
        "against",
        "figure",
        *(f"IoU {target}" for target in IOUS),
        "loss at .6",
        "loss at .5",
    ]
    lines = []
    for method in rows:
        if method.against not in table:
            continue
        for figure, title in (("ap", "AP"), ("oks", "OKS")):
            own = {t: getattr(table[method.name][t], figure) for t in IOUS}
            control = {t: getattr(table[method.against][t], figure) for t in IOUS}
            cells = [interval(compare(own[t], control[t], images, samples)) for t in IOUS]
            shares = [loss_share(own, control, t, images, samples) for t in (0.6, 0.5)]
            lines.append([method.name, method.against, title, *cells, *shares])
    notes = (
        "Differences in points with 95 % paired bootstrap intervals over photos. Loss: what the method loses from the "
        "control's figure at IoU 1.0, as a share of what the control itself loses (aim: at most 50 %), with interval."
    )
    title = "SSTN: against the control, paired"
    show("sstn-proof-paired", title=title, columns=columns, rows=lines, notes=notes, **kept)


def interval(difference: object) -> str:
    return f"{100 * difference.difference:+.1f} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"


def loss_share(own: dict, control: dict, target: float, images: int, samples: int) -> str:
    """Share of the control's loss that is left, in %, with a bootstrap interval."""

    def share(weights: np.ndarray, of: dict) -> float:
        top = control[1.0](weights)
        return (top - of[target](weights)) / (top - control[target](weights))

    # Against the control's own share, which is 1 in every draw.
    result = compare(
        lambda weights: share(weights, own),
        lambda weights: share(weights, control),
        images,
        samples,
    )
    return (
        f"{100 * result.first:.0f} % [{100 + 100 * result.low:.0f}, {100 + 100 * result.high:.0f}]"
    )


def plot(rows: list[Method], table: dict[str, dict[float, Score]], images: int, path: Path) -> None:
    """AP against IoU: a panel for every row that others are compared with, and these."""
    from matplotlib.figure import Figure

    bases = [row.name for row in rows if any(other.against == row.name for other in rows)]
    if not bases:  # --only chose rows without the one they are compared with
        return
    figure = Figure(figsize=(4.2 * len(bases), 4.6), layout="constrained")
    every = np.ones(images)
    for axis, base in zip(figure.subplots(1, len(bases), squeeze=False)[0], bases, strict=True):
        for method in rows:
            if base in (method.name, method.against):
                values = [100 * table[method.name][target].ap(every) for target in IOUS]
                own = method.name == base
                style = (
                    {"color": "black", "linewidth": 2.5}
                    if own
                    else {"marker": "o", "markersize": 3}
                )
                axis.plot(
                    IOUS,
                    values,
                    label=method.name if own else method.name.removeprefix(base),
                    **style,
                )
        axis.invert_xaxis()
        axis.set(xlabel="IoU of the box with the true one", ylabel="AP", ylim=(0, None))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, loc="lower left")
    figure.savefig(path, dpi=100)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
