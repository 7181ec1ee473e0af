"""Seconds of our evaluation and of the references, in one run, on the reference sets.

    python benchmarks/evaluation.py [--data ../shared] [--copies 20] [--save]

pycocotools is the reference of COCO and CrowdPose, py-motmetrics of CLEAR MOT, TrackEval of HOTA;
where one is not installed (``pip install --no-deps trackeval motmetrics pandas xmltodict``), its
cells stay empty. MPII multi-person and PCKh have none that can be installed. COCO's and CrowdPose's
images are repeated ``--copies`` times, because the sets are small.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from record import show

from rmpe.evaluation.figures.bootstrap import compare
from rmpe.evaluation.files.frames import Footage, read_frames
from rmpe.evaluation.files.pck import read_arrays
from rmpe.evaluation.files.submissions import People, read_people, read_results
from rmpe.evaluation.matching import clear_mot, hota
from rmpe.evaluation.matching.oks import oks
from rmpe.evaluation.protocols import coco, crowdpose, mpii, pck, posetrack
from rmpe.skeletons import load_skeleton

Run = Callable[[People, list[Any]], dict[str, Any]]
COLUMNS = [
    "what",
    "size",
    "reference",
    "ours [s]",
    "reference [s]",
    "times faster",
    "largest difference",
]
REPEATS = 3


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the fastest of three runs, and the answer."""
    seconds, answer = [], None
    for _ in range(REPEATS):
        start = time.perf_counter()
        answer = run()
        seconds.append(time.perf_counter() - start)
    return min(seconds), answer


def repeated(
    people: People, results: list[dict[str, Any]], copies: int
) -> tuple[People, list[dict[str, Any]]]:
    """The same images ``copies`` times under new ids."""
    step = max(image["id"] for image in people.images) + 1
    images = [
        image | {"id": image["id"] + step * n} for n in range(copies) for image in people.images
    ]
    annotations = [
        a | {"image_id": a["image_id"] + step * n}
        for n in range(copies)
        for a in people.annotations
    ]
    annotations = [annotation | {"id": number} for number, annotation in enumerate(annotations, 1)]
    many = [
        result | {"image_id": result["image_id"] + step * n}
        for n in range(copies)
        for result in results
    ]
    return replace(people, images=images, annotations=annotations), many


def library_row(
    what: str, people: People, results: list[Any], run: Run, reference: Run
) -> list[Any]:
    seconds, ours = timed(lambda: run(people, results))
    reference_seconds, theirs = timed(lambda: reference(people, results))
    size = f"{len(people.images)} images, {len(results)} detections"
    return row(what, size, "pycocotools", seconds, reference_seconds, difference(ours, theirs))


def row(
    what: str, size: str, reference: str, ours: float, theirs: float | None, apart: float | None
) -> list[Any]:
    return [what, size, reference, ours, theirs, theirs / ours if theirs else None, apart]


def difference(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    return max(
        float(np.abs(np.array(ours[name]) - np.array(theirs[name])).max()) for name in theirs
    )


def figures(people: People, results: list[Any], **options: Any) -> dict[str, Any]:
    return coco.evaluate_coco(people, results, **options).figures


def crowdpose_reference(people: People, results: list[Any]) -> dict[str, Any]:
    """Without the three levels: pycocotools would have to match everything once more for them."""
    found = figures(
        people, results, sigmas=load_skeleton("crowdpose14").sigmas, engine="pycocotools"
    )
    return {name: found[name] for name in ("AP", "AP50", "AP75", "AR", "AR50", "AR75")}


def coco_rows(folder: Path, copies: int) -> list[list[Any]]:
    rows = []
    for kind, file in (("keypoints", "coco_keypoint_dets.json"), ("bbox", "coco_bbox_dets.json")):
        people = read_people(folder / "coco_gt.json")
        many = repeated(people, read_results(folder / file, people, kind)[0], copies)
        runs = [partial(figures, kind=kind, engine=engine) for engine in ("hotcoco", "pycocotools")]
        rows.append(library_row(f"COCO {kind}", *many, *runs))
    people = crowdpose.with_box_areas(read_people(folder / "crowdpose_gt.json"))
    many = repeated(
        people, read_results(folder / "crowdpose_dets.json", people, "keypoints")[0], copies
    )
    rows.append(
        library_row(
            "CrowdPose",
            *many,
            lambda *both: crowdpose.evaluate_crowdpose(*both)[0],
            crowdpose_reference,
        )
    )
    people = read_people(folder / "coco_gt.json")
    results, _ = read_results(folder / "coco_keypoint_dets.json", people, "keypoints")
    ap = coco.evaluate_coco(people, results).ranked["all"].coco_ap
    seconds, _ = timed(lambda: compare(ap, ap, len(people.images)))
    size = f"{len(people.images)} images, 1000 samples"
    return [*rows, row("paired bootstrap of COCO AP", size, "none", seconds, None, None)]


def motmetrics_counts(footage: Footage) -> dict[str, list[float]]:
    """Misses, switches, false positives and objects a joint, by py-motmetrics (the library poseval uses)."""
    motmetrics = import_module("motmetrics")
    joints = range(len(footage.joint_names))
    counts = {
        name: [0.0] * len(joints) for name in ("misses", "switches", "false_positives", "objects")
    }
    for sequence in footage.sequences:
        frames = [frame for frame in sequence.frames if len(frame.truth)]
        for joint in joints:
            tracker = motmetrics.MOTAccumulator(auto_id=True)
            for frame in frames:
                people = np.isfinite(frame.truth[:, joint, 0])
                found = np.isfinite(frame.points[:, joint, 0])
                distances = frame.distances()[people][:, found, joint]
                distances = np.where(distances <= clear_mot.THRESHOLD, distances, np.nan)
                tracker.update(frame.truth_ids[people], frame.point_ids[found], distances)
            names = ["num_misses", "num_switches", "num_false_positives", "num_objects"]
            found = motmetrics.metrics.create().compute(
                tracker, metrics=names, return_dataframe=False
            )
            for ours, theirs in zip(counts, names, strict=True):
                counts[ours][joint] += float(found[theirs])
    return counts


def trackeval_figures(footage: Footage) -> dict[str, float]:
    """HOTA, DetA and AssA by TrackEval, from our OKS."""
    metric, sequences = import_module("trackeval.metrics.hota").HOTA(), {}
    for sequence in footage.sequences:
        frames = [frame for frame in sequence.frames if len(frame.truth)]
        people, rows = hota.numbered([frame.truth_ids for frame in frames])
        tracks, columns = hota.numbered([frame.point_ids for frame in frames])
        sigmas = posetrack.sigmas_of(footage)
        data = {
            "num_gt_ids": people,
            "num_tracker_ids": tracks,
            "gt_ids": rows,
            "tracker_ids": columns,
            "similarity_scores": [oks(f.truth, f.points, f.areas, sigmas) for f in frames],
            "num_tracker_dets": sum(map(len, columns)),
            "num_gt_dets": sum(map(len, rows)),
        }
        sequences[sequence.name] = metric.eval_sequence(data)
    combined = metric.combine_sequences(sequences)
    return {name: float(100 * combined[name].mean()) for name in ("HOTA", "DetA", "AssA")}


def our_hota(footage: Footage) -> dict[str, Any]:
    counts = [
        hota.count_hota(sequence.frames, posetrack.sigmas_of(footage))
        for sequence in footage.sequences
    ]
    return sum(counts, hota.HotaCounts.zero()).figures()


def our_counts(footage: Footage) -> dict[str, Any]:
    joints = len(footage.joint_names)
    counts = [clear_mot.count_mot(sequence.frames, joints) for sequence in footage.sequences]
    return {
        name: getattr(sum(counts, clear_mot.MotCounts.zero(joints)), name)
        for name in ("misses", "switches", "false_positives", "objects")
    }


def optional(
    module: str, run: Callable[[], dict[str, Any]], ours: dict[str, Any]
) -> tuple[float | None, float | None]:
    """Seconds of a reference and its difference from ours; nothing where it is not installed."""
    try:
        import_module(module)
    except ImportError:
        return None, None
    seconds, theirs = timed(run)
    return seconds, difference(ours, theirs)


def tracking_rows(folder: Path) -> list[list[Any]]:
    footage = read_frames(folder / "posetrack_eval.json")
    size = f"{len(footage.sequences)} sequences, {len(footage.frames)} frames"
    rows = []
    for what, library, run, reference in (
        ("CLEAR MOT of 15 joints", "motmetrics", our_counts, motmetrics_counts),
        ("HOTA of people", "trackeval", our_hota, trackeval_figures),
    ):
        seconds, ours = timed(lambda run=run: run(footage))
        theirs = optional(library, lambda reference=reference: reference(footage), ours)
        rows.append(row(what, size, library, seconds, *theirs))
    seconds, _ = timed(lambda: posetrack.evaluate_posetrack(footage))
    rows.append(row("PoseTrack, everything", size, "none", seconds, None, None))
    photos = read_frames(folder / "mpii_multiperson_ap.json")
    seconds, _ = timed(lambda: mpii.evaluate_mpii(photos))
    rows.append(
        row("MPII multi-person", f"{len(photos.frames)} images", "none", seconds, None, None)
    )
    people = read_arrays(folder / "pckh_single.npz")
    arrays = (people.truth, people.points, people.head_sizes, people.annotated)
    seconds, _ = timed(lambda: pck.evaluate_pckh(*arrays, load_skeleton("mpii16")))
    rows.append(row("PCKh", f"{len(people.truth)} people", "none", seconds, None, None))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, default=Path("../shared"), help="data folder (default: %(default)s)"
    )
    parser.add_argument("--copies", type=int, default=20, help="of COCO's and CrowdPose's images")
    parser.add_argument("--save", action="store_true", help="record in docs/results")
    options = parser.parse_args()
    folder = options.data / "parity"
    rows = coco_rows(folder, options.copies) + tracking_rows(folder)
    show(
        "evaluation",
        save=options.save,
        title="Evaluation: seconds against the references",
        command=f"python benchmarks/evaluation.py --copies {options.copies}",
        data=f"the reference sets, COCO's and CrowdPose's images {options.copies} times",
        columns=COLUMNS,
        rows=rows,
        notes="Fastest of three runs, both sides in one process, files already read and checked. The largest "
        "difference is over all figures: fractions for COCO and CrowdPose, counts for CLEAR MOT, percent for HOTA. "
        "CrowdPose's reference is spared AP by crowding.",
    )


if __name__ == "__main__":
    main()
