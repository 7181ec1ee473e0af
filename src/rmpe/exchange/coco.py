"""COCO keypoint data sets, and the results of ``rmpe predict``, as labelled data sets.

Source: https://cocodataset.org/#format-data (keypoint detection).
"""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from rmpe.annotations.coco import BOX_SHARE, CocoFile, parse_coco, parse_images, require_names
from rmpe.annotations.image_names import ImageFolder
from rmpe.annotations.results import check_detections, detected_people, resolve_images
from rmpe.atomic import atomic
from rmpe.errors import DataError
from rmpe.exchange.labelled import (
    UNLABELLED,
    VISIBLE,
    JointOrder,
    LabelledImage,
    LabelledPerson,
    LabelledSet,
    Remarks,
    box_around,
    order_joints,
    size_of_file,
)
from rmpe.files import parse_json, read_bytes, read_json
from rmpe.media.sources import ImageItem, image_ids
from rmpe.skeletons import Skeleton, load_skeleton

FILE = "annotations.json"
RESULTS = "coco.json"
IMAGES = "images.json"
JOURNALS = ("tracks.jsonl", "journal.jsonl")


def read_annotations(path: Path, skeleton: Skeleton | None, images: Path | None) -> LabelledSet:
    """Read a COCO keypoint data set.

    Args:
        path: The JSON file.
        skeleton: Its joints; without it, one that ships and has joints of these names.
        images: Folder of the images, for the sizes that the file lacks.

    Raises:
        DataError: If it cannot be read, or its joints are unknown.
    """
    file = parse_coco(read_json(path), str(path))
    file.require_people()
    require_names(file.images, file.source)
    joints = order_joints(file.category.joints, skeleton, file.source)
    remarks = Remarks(file.source)
    for named, image_id in file.unlisted:
        remarks.add(f"person in an image that is not listed ({image_id})", f"annotation {named}")
    people = _people(file, joints)
    folder = None if images is None else ImageFolder(images)
    found = []
    for image in file.images:
        place = None if folder is None else folder.find(image.file_name)
        size = image.size or size_of_file(place, image.file_name, file.source)
        own = tuple(people[image.id])
        found.append(LabelledImage(image.file_name, size, own, image.id, place))
    said = (*file.warnings, *([joints.remark] if joints.remark else []), *remarks.lines())
    return LabelledSet(joints.skeleton, tuple(found), said)


def read_results(folder: Path, skeleton: Skeleton | None, min_joint_score: float) -> LabelledSet:
    """Read the results of ``rmpe predict``: ``coco.json`` and ``images.json``.

    Args:
        folder: What ``rmpe predict`` wrote.
        skeleton: The joints; by default those that the run's journal names.
        min_joint_score: Joints with a lower score are not labelled.

    Raises:
        DataError: If a file is missing or damaged.
    """
    for name in (RESULTS, IMAGES):
        if not (folder / name).is_file():
            raise DataError(
                f"{folder}: no {name} in it: name what `rmpe predict --format coco` wrote, or the"
                " file of a data set"
            )
    rows = read_json(folder / IMAGES)
    images = parse_images(rows, str(folder / IMAGES))
    require_names(images, str(folder / IMAGES))
    own = skeleton or load_skeleton(_named_skeleton(folder))
    source = str(folder / RESULTS)
    found = check_detections(read_json(folder / RESULTS), {"keypoints": 3 * len(own)}, source)
    found, warnings = detected_people(resolve_images(found, images, source), None, (), source)
    people: dict[int, list[LabelledPerson]] = defaultdict(list)
    for row in found:
        keypoints = np.array(row["keypoints"], np.float64).reshape(-1, 3)
        sure = keypoints[:, 2] >= max(min_joint_score, np.finfo(np.float64).tiny)
        keypoints[:, 2] = np.where(sure, VISIBLE, UNLABELLED)
        keypoints[~sure] = 0
        box = box_around(keypoints) if row.get("bbox") is None else np.array(row["bbox"])
        people[row["image_id"]].append(
            LabelledPerson(box, keypoints, score=min(max(row["score"], 0.0), 1.0))
        )
    labelled = []
    for image, row in zip(images, rows, strict=True):
        said = row.get("path")
        place = Path(said) if isinstance(said, str) and Path(said).is_file() else None
        size = image.size or size_of_file(place, image.file_name, str(folder / IMAGES))
        labelled.append(
            LabelledImage(image.file_name, size, tuple(people[image.id]), image.id, place)
        )
    return LabelledSet(own, tuple(labelled), tuple(warnings), predicted=True)


def write_annotations(labelled: LabelledSet, out: Path) -> list[Path]:
    """Write ``annotations.json``.

    Images without an id get one as ``rmpe predict`` gives it: the number in their name if all names
    are numbers, else their place in the order of names.

    Raises:
        OutputError: If it cannot be written.
    """
    skeleton = labelled.skeleton
    category = {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": skeleton.joints,
        "skeleton": [[start + 1, end + 1] for start, end in skeleton.limbs],
    }
    ids = _ids(labelled)
    rows = [
        {
            "id": ids[image.name],
            "file_name": image.name,
            "height": image.size[0],
            "width": image.size[1],
        }
        for image in labelled.images
    ]
    people: list[dict[str, Any]] = []
    for image in labelled.images:
        for person in image.people:
            people.append(_record(person, len(people) + 1, ids[image.name]))
    with atomic(out / FILE) as file:
        text = json.dumps({"categories": [category], "images": rows, "annotations": people})
        file.write(text.encode() + b"\n")
    return [out / FILE]


def _people(file: CocoFile, joints: JointOrder) -> dict[int, list[LabelledPerson]]:
    people: dict[int, list[LabelledPerson]] = defaultdict(list)
    for person in file.people:
        if person.keypoints is None:
            keypoints = np.zeros((len(joints.skeleton), 3))
        else:
            place = f"{file.source}: annotation {person.id}: 'keypoints'"
            keypoints = joints.sorted(person.keypoints, place)
        people[person.image_id].append(
            LabelledPerson(person.box, keypoints, person.crowd, area=person.area)
        )
    return people


def _named_skeleton(folder: Path) -> str:
    """What the journal of a run calls its skeleton; COCO's 17 joints where there is no journal."""
    for name in JOURNALS:
        if (folder / name).is_file():
            line = read_bytes(folder / name).partition(b"\n")[0]
            settings = parse_json(line, f"{folder / name}: line 1")
            if isinstance(settings, dict) and isinstance(settings.get("settings"), dict):
                return str(settings["settings"].get("skeleton", "coco17"))
    return "coco17"


def _ids(labelled: LabelledSet) -> dict[str, int]:
    if all(image.id is not None for image in labelled.images):
        return {image.name: image.id for image in labelled.images if image.id is not None}
    names = sorted(image.name for image in labelled.images)
    items = {name: ImageItem(Path(name), name, name) for name in names}
    numbers = image_ids(list(items.values()))
    return {name: numbers[item] for name, item in items.items()}


def _record(person: LabelledPerson, number: int, image_id: int) -> dict[str, Any]:
    box = person.box.round(3).tolist()
    area = BOX_SHARE * box[2] * box[3] if person.area is None else person.area
    record = {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "bbox": box,
        "area": round(area, 3),
        "iscrowd": int(person.crowd),
        "segmentation": [],
        "num_keypoints": person.labelled,
        "keypoints": person.keypoints.round(3).ravel().tolist(),
    }
    return record if person.score is None else record | {"score": round(person.score, 6)}
