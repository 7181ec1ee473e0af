"""Whether sharing joints out among people pays: the gate, and AP by crowd index.

The gate: true boxes, three candidates a joint, mean OKS of the people. "Oracle" takes the candidate
nearest to the truth: no association can do better. It is measured on the made crowds of
`benchmarks.crowds.collages` and on the crowded photos of coco-val (crowd index of at least 0.2).
Give each model as NAME=ONNX; those with and without interference are two runs of

    rmpe train configs/crowds_gate.toml --set run=runs/gate/0.5 --set interference=0.5
    rmpe train configs/crowds_gate.toml --set run=runs/gate/0 --set interference=0
    rmpe export runs/gate/0.5/model.safetensors --out runs/gate/0.5

AP: the boxes of a detector on all photos of coco-val, by crowd index.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.crowds.collages import OUT
from benchmarks.options import benchmark
from benchmarks.people import folder, given_boxes, interval, targets
from benchmarks.record import show
from rmpe.associate import ASSOCIATORS
from rmpe.boxes import Boxes
from rmpe.detect import load_detector
from rmpe.estimate.candidates import Candidates
from rmpe.estimate.pose_model import PoseModel, load_pose_model
from rmpe.evaluation.figures.bootstrap import compare
from rmpe.evaluation.files.submissions import People, check_results, read_people
from rmpe.evaluation.matching.oks import keypoint_similarity
from rmpe.evaluation.protocols.coco import CocoEvaluation, evaluate_coco
from rmpe.evaluation.protocols.crowding import LEVELS, image_crowding, levels
from rmpe.media.images import read_image
from rmpe.models import resolve_model
from rmpe.pipeline import Estimator
from rmpe.poses import Poses
from rmpe.runtime import sha256_of
from rmpe.suppress import SUPPRESSORS

Image: TypeAlias = NDArray[np.uint8]
Found: TypeAlias = tuple[Poses, Candidates]
CROWDED = LEVELS["medium"][0]
WAYS = {
    "release's rule": ("released", False),
    "paper's graph": ("paper", False),
    "lost joints missing": ("paper", True),
}
LOWEST = 0.02  # score of a pose, as in rmpe evaluate


class Recorder:
    """In the place of an association: keeps what it is given and changes nothing."""

    def __init__(self) -> None:
        self.kept: list[Found] = []

    def __call__(self, poses: Poses, candidates: Candidates) -> Poses:
        """The poses as they are."""
        self.kept.append((poses, candidates))
        return poses


def found_in(
    path: Path, images: Iterator[Image], boxes: list[Boxes], min_score: float, fresh: bool
) -> list[Found]:
    """Everybody's candidates, image by image, before association and pose NMS.

    They are kept in ``runs/crowds`` under a hash of model and boxes.
    """
    pose = load_pose_model(path, threads=1, several=True)
    asked = hashlib.sha256(f"{sha256_of(path)} {min_score}".encode())
    for one in boxes:
        asked.update(np.concatenate([one.xyxy, one.scores[:, None]], axis=1).tobytes() + b";")
    cache = OUT / f"found-{asked.hexdigest()[:16]}.npz"
    if fresh or not cache.is_file():
        found = _estimated(pose, images, boxes, min_score)
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            cache,
            lengths=[len(poses) for poses, _ in found],
            boxes=np.concatenate([poses.boxes for poses, _ in found]),
            poses=np.concatenate([poses.scores for poses, _ in found]),
            points=np.concatenate([candidates.points for _, candidates in found]),
            scores=np.concatenate([candidates.scores for _, candidates in found]),
            count=np.concatenate([candidates.count for _, candidates in found]),
        )
    with np.load(cache) as kept:
        everything = Candidates(kept["points"], kept["scores"], kept["count"])
        everybody = Poses(
            everything.points[:, :, 0],
            everything.scores[:, :, 0],
            kept["poses"],
            kept["boxes"],
            pose.skeleton,
        )
        ends = np.cumsum(kept["lengths"])
        rows = [slice(end - length, end) for end, length in zip(ends, kept["lengths"], strict=True)]
    return [(everybody[some], everything[some]) for some in rows]


def _estimated(
    pose: PoseModel, images: Iterator[Image], boxes: list[Boxes], min_score: float
) -> list[Found]:
    recorder = Recorder()
    estimator = Estimator(
        lambda image, name="": Boxes.empty(),  # noqa: ARG005
        pose,
        suppress=SUPPRESSORS["none"],
        associate=recorder,
        min_score=min_score,
    )
    for image, given in zip(images, boxes, strict=True):
        estimator.estimate(image, given)
    return recorder.kept


@dataclass(frozen=True, eq=False)
class Truth:
    """Annotated people of one image: joints ``(N, K, 2)``, NaN where not labelled, and areas."""

    points: NDArray[np.float64]
    areas: NDArray[np.float64]


def truths(people: People) -> list[Truth]:
    """Image by image, as `given_boxes`."""
    by_image = {image_id: [] for image_id in people.image_ids}
    for one in targets(people):
        by_image[one["image_id"]].append(one)
    found = []
    for image_id in people.image_ids:
        rows = by_image[image_id]
        joints = np.array([row["keypoints"] for row in rows], np.float64)
        joints = joints.reshape(len(rows), -1, 3)
        points = np.where(joints[..., 2:] > 0, joints[..., :2], np.nan)
        found.append(Truth(points, np.array([row["area"] for row in rows], np.float64)))
    return found


def mean_similarity(
    truth: Truth, points: NDArray[np.float64], sigmas: tuple[float, ...]
) -> NDArray[np.float64]:
    """OKS of each person ``(N,)`` with the own pose ``(N, K, 2)``."""
    similarity = keypoint_similarity(truth.points, points, truth.areas, sigmas)
    own = similarity[np.arange(len(points)), np.arange(len(points))]
    return np.nanmean(own, axis=1) if len(own) else np.zeros(0)


def associated(found: Found, name: str, lost_are_missing: bool) -> NDArray[np.float32]:
    """Joints ``(N, K, 2)`` after association; NaN for people whom it drops."""
    poses, candidates = found
    numbered = poses.replace(track_ids=np.arange(len(poses)))
    result = ASSOCIATORS[name](numbered, candidates)
    points = np.full_like(poses.keypoints, np.nan)
    lost = (result.keypoint_scores == 0)[..., None] & lost_are_missing
    points[result.track_ids] = np.where(lost, np.nan, result.keypoints)
    return points


def oracle(found: Found, truth: Truth) -> NDArray[np.float64]:
    """For each joint the candidate nearest to the truth, ``(N, K, 2)``."""
    points = found[1].points
    distance = np.square(points - truth.points[:, :, None]).sum(axis=3)
    nearest = np.where(np.isfinite(distance), distance, np.inf).argmin(axis=2)
    return np.take_along_axis(points, nearest[..., None, None], axis=2)[:, :, 0]


def compared(ours: list[NDArray[np.float64]], base: list[NDArray[np.float64]]) -> str:
    """Difference of mean OKS in points with its interval, paired by image."""
    counts = np.array([len(one) for one in ours], np.float64)
    sums = [np.array([one.sum() for one in rows]) for rows in (ours, base)]

    def mean(which: int) -> Callable[[NDArray[np.float64]], float]:
        return lambda weights: float(weights @ sums[which] / max(weights @ counts, 1))

    return interval(compare(mean(0), mean(1), len(counts)))


def gate(
    photos: str, people: People, images: Path, models: dict[str, Path], fresh: bool
) -> list[list]:
    """One row for each model."""
    names = {image["id"]: image["file_name"] for image in people.images}
    truth = truths(people)
    boxes = given_boxes(people, targets(people))
    rows = []
    for name, path in models.items():
        pictures = (read_image(images / names[image_id]) for image_id in people.image_ids)
        found = found_in(path, pictures, boxes, 0.0, fresh)
        sigmas = found[0][0].skeleton.sigmas
        in_order = [_as_annotated(one, given) for one, given in zip(found, boxes, strict=True)]
        pairs = list(zip(in_order, truth, strict=True))
        best = [mean_similarity(one, poses.keypoints, sigmas) for (poses, _), one in pairs]
        chosen = [mean_similarity(one, oracle(each, one), sigmas) for each, one in pairs]
        row = [photos, name, 100 * float(np.concatenate(best).mean()), compared(chosen, best)]
        for way in WAYS.values():
            shared = [mean_similarity(one, associated(each, *way), sigmas) for each, one in pairs]
            row.append(compared(shared, best))
        rows.append(row)
        print(row, flush=True)
    return rows


def _as_annotated(found: Found, boxes: Boxes) -> Found:
    """The people in the order of ``boxes``: the pipeline clips boxes and keeps their order."""
    poses, candidates = found
    if len(poses) != len(boxes):
        raise SystemExit("a true box lies outside its photo")
    return poses, candidates


def crowded_photos(people: People) -> People:
    """Those of a crowd index of at least 0.2."""
    crowding = dict(zip(people.image_ids, image_crowding(people), strict=True))
    images = [image for image in people.images if crowding[image["id"]] >= CROWDED]
    ids = {image["id"] for image in images}
    kept = [one for one in people.annotations if one["image_id"] in ids]
    return replace(people, images=images, annotations=kept)


def _left_over(found: Found, association: str) -> Poses:
    """Association among the people whom pose NMS leaves, each with the own candidates."""
    poses, candidates = found
    numbered = poses.replace(track_ids=np.arange(len(poses)))
    kept = np.sort(SUPPRESSORS["parametric"](numbered).track_ids)
    some = Candidates(candidates.points[kept], candidates.scores[kept], candidates.count[kept])
    return ASSOCIATORS[association](poses[kept], some)


def figures(people: People, results: list[Poses]) -> CocoEvaluation:
    entries = [
        person
        for image_id, poses in zip(people.image_ids, results, strict=True)
        for person in poses[poses.scores >= LOWEST].to_coco(image_id)
    ]
    return evaluate_coco(people, check_results(entries, people, "keypoints")[0])


def by_crowding(
    people: People, images: Path, models: dict[str, Path], detector: Path, fresh: bool
) -> list[list]:
    """AP of each model, association and pose NMS."""
    names = {image["id"]: image["file_name"] for image in people.images}
    pictures = [read_image(images / names[image_id]) for image_id in people.image_ids]
    detect = load_detector(detector, threads=1)
    boxes = [detect(picture) for picture in pictures]
    crowding = image_crowding(people)
    parts = levels(crowding) | {"crowded": crowding >= CROWDED}
    weights = {part: chosen.astype(np.float64) for part, chosen in parts.items()}
    rows = []
    for name, path in models.items():
        found = found_in(path, iter(pictures), boxes, LOWEST, fresh)
        measured = {}
        for suppression in ("none", "parametric"):
            for association in ASSOCIATORS:
                poses = [SUPPRESSORS[suppression](ASSOCIATORS[association](*one)) for one in found]
                measured[association, suppression] = figures(people, poses).ranked["all"].coco_ap
        for association in ("paper", "released"):
            poses = [_left_over(one, association) for one in found]
            measured[association, "parametric, before"] = (
                figures(people, poses).ranked["all"].coco_ap
            )
        plain = measured["none", "parametric"]
        for (association, suppression), ap in measured.items():
            row = [name, association, suppression, 100 * ap(np.ones(len(pictures)))]
            row += [100 * ap(part) for part in weights.values()]
            paired = interval(compare(ap, plain, len(pictures)))
            rows.append([*row, "" if ap is plain else paired])
            print(rows[-1], flush=True)
    return rows


def _named(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> dict:
    pairs = [one.partition("=") for one in given]
    if any(not path for _, _, path in pairs):
        raise click.BadParameter("write NAME=ONNX")
    return {name: Path(path) for name, _, path in pairs}


@benchmark("data", "detector", "save")
@click.option("--model", "models", multiple=True, required=True, callback=_named)
@click.option("--crowds", type=click.Path(path_type=Path), default=OUT, show_default=True)
@click.option("--only", type=click.Choice(["gate", "ap"]), help="One of the two tables.")
@click.option("--fresh", is_flag=True, help="Estimate anew what runs/crowds holds.")
@click.option("--steps", default=600, show_default=True, help="Of the runs; for the notes.")
def main(data, detector, models, crowds, only, fresh, steps, save):
    val = folder(data)
    everybody = read_people(val / "annotations.json")
    if only != "ap":
        made = read_people(crowds / "annotations.json")
        real = crowded_photos(everybody)
        rows = gate("made crowds", made, crowds / "images", models, fresh)
        rows += gate("coco-val, crowded", real, val / "images", models, fresh)
        show(
            "crowds-gate",
            save=save,
            title="Association in true boxes: mean OKS, and what each choice among peaks changes",
            data=(
                f"{len(made.images)} made photos of {len(targets(made))} people; coco-val,"
                f" {len(real.images)} crowded photos of {len(targets(real))} people"
            ),
            columns=["photos", "model", "best peak", "oracle", *WAYS],
            rows=rows,
            notes=(
                "In points of mean OKS. The changes are against the best peak, with 95 % bootstrap"
                " intervals paired by photo; those of the made crowds are too narrow, because the"
                " same few people stand in all of them. Models with mu continue from pose-lite for"
                f" {steps} steps of 32 people at 192x144 on coco-train, from the same seed; the"
                " shipped one takes 256x192. People whom an association drops count as 0. A joint"
                " that the graph gives to another person keeps its own place; the last column"
                " counts it as 0."
            ),
        )
    if only != "gate":
        rows = by_crowding(
            everybody, val / "images", models, resolve_model(detector, "detector"), fresh
        )
        show(
            "crowds-ap",
            save=save,
            title="Association and pose NMS: keypoint AP by crowd index",
            data=f"coco-val, {len(everybody.images)} photos; the shipped detector",
            columns=["model", "association", "pose NMS", "AP", *LEVELS, "crowded", "difference"],
            rows=rows,
            notes=(
                "Easy, medium and hard photos have a crowd index below 0.2, up to 0.8 and above;"
                " crowded ones are medium and hard together. The difference is that of AP to pose"
                " NMS alone, with its 95 % bootstrap interval paired by photo. Association comes"
                ' before pose NMS, but for "parametric, before": there the joints are shared among'
                " the people whom pose NMS leaves, and its merging is lost."
            ),
        )


if __name__ == "__main__":
    main()
