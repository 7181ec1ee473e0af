"""The models on real photos of MPII: PCKh of single people, and multi-person mAP.

28 photos have everybody annotated, 14 of them the RMPE authors' own SSD boxes. The models have
COCO's joints, so figures are means over the 12 joints that both sets name: no head, no neck. Boxes
of the detector are as `rmpe predict` takes them. Rows of the same photos are paired.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.options import benchmark
from benchmarks.record import show
from rmpe.boxes import Boxes
from rmpe.evaluation.figures.bootstrap import compare
from rmpe.evaluation.files.mpii import ORIGIN, REPORTED, MpiiPerson, frame_of, read_mpii_people
from rmpe.evaluation.matching.joint_ap import mean_ap, rank_joints
from rmpe.evaluation.protocols.pck import hits
from rmpe.files import read_json
from rmpe.media.images import read_image
from rmpe.options import PipelineOptions
from rmpe.skeletons import load_skeleton
from rmpe.suppress import SUPPRESSORS, suppressor

MPII = load_skeleton("mpii16")
COCO = load_skeleton("coco17")
# Places, among the 14 joints of the benchmark, of those that COCO names, too.
SHARED = [place for place, joint in enumerate(REPORTED) if MPII.joints[joint] in COCO.joints]
SHARED16 = [REPORTED[place] for place in SHARED]
STN = "stn-lite"
SAMPLES = 200
# The single-person file has MPII's scale times 1.25, and centres 15 pixels a unit lower.
SINGLE_SCALE = 1.25
LOWERED = 15.0
# Boxes from centre and scale: a square of 200 px a unit, or a narrow one, which a portrait crop
# need not heighten.
SHAPES = {"square": (200.0, 200.0), "3:4": (150.0, 200.0)}


def single_people(path):
    """The people of the single-person split, in this project's frame."""
    people = []
    for person in read_json(path)["persons"]:
        points = np.array(person["joints"], np.float64)
        known = points[:, :1] > 0
        joints = np.where(known, np.c_[points - ORIGIN, np.ones(16)], np.nan)
        scale = person["scale"] / SINGLE_SCALE
        x, y = person["center"]
        center = (x - ORIGIN, y - ORIGIN - LOWERED * scale)
        people.append(MpiiPerson(person["image"], scale, center, joints, person["head_norm"]))
    return people


def pipeline(pose, stn, threads):
    """Everything before pose NMS; every pose is kept."""
    return PipelineOptions(pose=pose, stn=stn, nms="none", min_score=0.0, threads=threads).load()


def ranked(people, poses):
    """Match lists of the shared joints; ``people`` and ``poses`` by photo."""
    frames = []
    for name, persons in people.items():
        found = poses[name].to_skeleton(MPII)
        rows = np.concatenate([found.keypoints, found.keypoint_scores[..., None]], axis=2)
        frames.append(frame_of(persons, rows[:, REPORTED]))
    joints = rank_joints(frames, len(REPORTED))
    return [joints[place] for place in SHARED]


def multi_person(people, images, boxes, nets, threads):
    """Rows of a set of photos: each net, with and without the STN, and each pose NMS."""
    rows = []
    first = None
    for kind, given in boxes.items():
        for title, pose in nets.items():
            for stn in ("none", STN):
                estimator = pipeline(pose, stn, threads)
                raw = {name: estimator.estimate(images[name], given[name]) for name in people}
                for nms in SUPPRESSORS:
                    kept = {name: suppressor(nms)(poses) for name, poses in raw.items()}
                    joints = ranked(people, kept)
                    first = first or joints
                    paired = compare(
                        lambda weights, joints=joints: mean_ap(joints, weights),
                        lambda weights, reference=first: mean_ap(reference, weights),
                        len(people),
                        SAMPLES,
                    )
                    recall = sum(int(one.hits.sum()) for one in joints)
                    recall /= sum(int(one.truths.sum()) for one in joints)
                    interval = f"{paired.low:+.1f} .. {paired.high:+.1f}" if rows else ""
                    row = [len(people), kind, title, stn, nms]
                    rows.append([*row, paired.first, 100 * recall, paired.difference, interval])
    return rows


def single_person(people, images, nets, threads):
    """PCKh rows: each net, with and without the STN, on boxes of each shape."""
    heads = np.array([person.head for person in people])
    truth = np.array([person.joints[:, :2] for person in people])
    known = np.isfinite(truth).all(axis=2)
    known[:, [joint for joint in range(16) if joint not in SHARED16]] = False
    rows = []
    for title, pose in nets.items():
        for stn in ("none", STN):
            estimator = pipeline(pose, stn, threads)
            for shape, (width, height) in SHAPES.items():
                points = np.full((len(people), 16, 2), np.nan)
                for index, person in enumerate(people):
                    half = np.array([width, height]) * person.scale / 2
                    box = [*(person.center - half), *(person.center + half)]
                    found = estimator.estimate(images[person.image], Boxes([box]))
                    points[index] = found.to_skeleton(MPII).keypoints[0] if len(found) else np.nan
                close, counted = hits(np.nan_to_num(truth), points, heads, known)
                rows.append([title, stn, shape, 100 * close[-1].sum() / counted.sum()])
    return rows


@benchmark("data", "threads", "save")
def main(data: Path, threads: int, save: bool) -> None:
    """Measure and show both tables."""
    folder = data / "data" / "mpii-val"
    nets = {"default": None, "TinyPose": data / "models" / "tinypose_256x192.onnx"}
    singles = single_people(folder / "single_persons.json")
    whole = read_json(folder / "single_persons.json")["rmpe_val_images"]
    everybody = defaultdict(list)
    for person in read_mpii_people(data / "data" / "mpii-rmpe" / "val_persons.json"):
        if person.image in whole:
            everybody[person.image].append(person)
    names = {person.image for person in singles} | set(everybody)
    images = {name: read_image(folder / "images" / name) for name in sorted(names)}
    authors = defaultdict(list)
    for record in read_json(data / "data" / "mpii-rmpe" / "val_ssd_boxes.json"):
        authors[record["image"]].append(record["box"])
    detector = PipelineOptions(threads=threads).load_detector(threads)
    ours = {name: detector(images[name]) for name in everybody}
    given = {name: Boxes(authors[name]) for name in everybody if name in authors}
    some = {name: persons for name, persons in everybody.items() if name in given}
    rows = multi_person(some, images, {"ours": ours, "authors' SSD": given}, nets, threads)
    columns = ["photos", "boxes", "pose model", "STN", "pose NMS", "mAP", "recall", "difference"]
    show(
        "mpii-multi-person",
        title="MPII photos: multi-person mAP of 12 joints",
        data=f"mpii-val: {len(some)} photos with the authors' boxes, everybody annotated",
        columns=[*columns, "95 % interval"],
        rows=rows + multi_person(everybody, images, {"ours": ours}, nets, threads),
        notes="People are matched by PCKh at half a head size. The difference is to the first row"
        " of the same photos. The authors' boxes have no scores. Small sets: wide intervals.",
        save=save,
    )
    show(
        "mpii-pckh",
        title="MPII photos: PCKh of single people, 12 joints",
        data=f"mpii-val: {len(singles)} people of the single-person split",
        columns=["pose model", "STN", "box", "PCKh@0.5"],
        rows=single_person(singles, images, nets, threads),
        notes="Boxes are made from the annotated centre and scale, 200 px high a unit; the crop"
        " grows them as the model's card says.",
        save=save,
    )


if __name__ == "__main__":
    main()
