"""Annotation and result files in COCO's layout, as the evaluation takes them.

What the official tool would refuse is an error that says where; what it would pass over is a
counted warning.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rmpe.annotations.categories import Category, read_categories
from rmpe.annotations.coco import BOX_SHARE, CocoFile, CocoImage, CocoPerson, parse_coco
from rmpe.annotations.joints import match_joints
from rmpe.annotations.results import check_detections, detected_people, resolve_images
from rmpe.errors import DataError
from rmpe.files import read_json, read_names
from rmpe.skeletons import Skeleton

__all__ = [
    "BOX_SHARE",
    "People",
    "Record",
    "check_people",
    "check_results",
    "read_people",
    "read_people_on",
    "read_results",
]

Record = dict[str, Any]


@dataclass(frozen=True)
class People:
    """Annotated people of a set of images.

    Attributes:
        images: COCO image records, in the order of the file.
        annotations: COCO annotation records of people; all have every key that the COCO tools ask
            for.
        category_id: Which category a person is.
        joints: Number of joints, 0 in a file that has boxes only.
        warnings: What was passed over, one line each.
        joint_names: Names of the joints; empty if the file gives none.
        categories: All categories of the file.
    """

    images: list[Record]
    annotations: list[Record]
    category_id: int
    joints: int
    warnings: list[str] = field(default_factory=list)
    joint_names: tuple[str, ...] = ()
    categories: tuple[Category, ...] = ()

    @property
    def image_ids(self) -> list[int]:
        """Ids of the images, rising: the order COCO's tools work in."""
        return sorted(image["id"] for image in self.images)

    @property
    def image_entries(self) -> list[CocoImage]:
        """The images as the reader of annotations has them."""
        return [CocoImage(image["id"], image.get("file_name", "")) for image in self.images]

    @property
    def category(self) -> Category:
        """The category of people."""
        known = {category.id: category for category in self.categories}
        return known.get(self.category_id, Category(self.category_id))


def read_people(path: Path, skeleton: Skeleton | None = None) -> People:
    """Read a COCO annotation file; see `check_people`."""
    return check_people(read_json(path), str(path), skeleton)


def read_people_on(path: Path, photos: Path | None, skeleton: Skeleton | None = None) -> People:
    """`read_people` on some photos only, all of which have names.

    Args:
        path: COCO annotation file.
        photos: Text file with the names of the photos, see `rmpe.files.read_names`; ``None`` = all.
        skeleton: The joints that are measured, matched with the file's by name; ``None`` where
            boxes are.

    Raises:
        DataError: If a file cannot be read, no photo is left, or nobody has a labelled joint.
    """
    people = read_people(path, skeleton)
    if without := [image for image in people.images if "file_name" not in image]:
        raise DataError(f"{path}: image {without[0]['id']} has no 'file_name'")
    if photos is not None:
        names = read_names(photos)
        images = [image for image in people.images if image["file_name"] in names]
        if not images:
            raise DataError(f"{photos}: names no photo of {path}")
        ids = {image["id"] for image in images}
        persons = [person for person in people.annotations if person["image_id"] in ids]
        people = replace(people, images=images, annotations=persons)
    labelled = [
        one for one in people.annotations if one.get("num_keypoints") and not one["iscrowd"]
    ]
    if skeleton is not None and not labelled:
        raise DataError(f"{path}: nobody has a labelled joint to measure with")
    for person in labelled if skeleton is not None else []:
        if not min(person["bbox"][2:]) > 0:
            raise DataError(f"{path}: annotation {person['id']}: 'bbox' is empty")
    return people


def check_people(
    data: Any, source: str = "annotations", skeleton: Skeleton | None = None
) -> People:
    """Check the contents of a COCO annotation file and keep its people.

    ``iscrowd``, ``num_keypoints`` and ``area`` (0.53 times the box) are filled in where absent;
    categories other than people's are left out.

    Args:
        data: The parsed file.
        source: What to call it in messages.
        skeleton: Put the joints in its order, by their names; as in the file if not given.

    Raises:
        DataError: If lists are missing, ids are double or unknown, joint counts differ, a number
            is not finite, or the joints are not those of ``skeleton``.
    """
    file = parse_coco(data, source)
    if file.unlisted:
        _, image_id = file.unlisted[0]
        raise DataError(
            f"{source}: annotations of image id {image_id}, which is not in 'images'"
            f" ({len(file.unlisted)} such)"
        )
    for person in file.people:
        if min(person.box[2:]) < 0:
            raise DataError(f"{source}: annotation {person.id}: 'bbox' has a negative side")
    joints = _joint_count(file)
    warnings = list(file.warnings)
    order = None
    if skeleton is not None:
        names = file.category.joints
        if joints and not names and joints != len(skeleton):
            raise DataError(
                f"{source}: people have {joints} joints, not the {len(skeleton)} of {skeleton.name}"
            )
        order, said = match_joints(names, skeleton, source)
        warnings += [said] if said else []
        joints = len(skeleton)
    annotations = [_record(person, joints, order, file.category) for person in file.people]
    warnings += _count_joints(annotations, [person.declared for person in file.people], source)
    names = file.category.joints if order is None or skeleton is None else skeleton.joints
    warnings += _nobody(file, source)
    return People(
        [_image_record(image) for image in file.images],
        annotations,
        file.category.id,
        joints,
        warnings,
        names,
        read_categories(data.get("categories"), source),
    )


def _joint_count(file: CocoFile) -> int:
    lengths = Counter(
        len(person.keypoints) for person in file.people if person.keypoints is not None
    )
    named = len(file.category.joints)
    if named and set(lengths) - {named}:
        wrong = next(
            person
            for person in file.people
            if person.keypoints is not None and len(person.keypoints) != named
        )
        count = 0 if wrong.keypoints is None else wrong.keypoints.size
        raise DataError(
            f"{file.source}: annotation {wrong.id}: 'keypoints' has {count} numbers; all must be"
            f" as long, 3 for each of the {named} joints of category {file.category}"
        )
    if len(lengths) > 1:
        numbers = sorted(3 * length for length in lengths)
        raise DataError(
            f"{file.source}: 'keypoints' must all be as long, 3 numbers a joint; lengths {numbers}"
        )
    return next(iter(lengths), named)


def _record(
    person: CocoPerson, joints: int, order: "np.ndarray[Any, Any] | None", category: Category
) -> Record:
    record: Record = {
        "id": person.id,
        "image_id": person.image_id,
        "category_id": category.id,
        "bbox": person.box.tolist(),
        "area": person.area,
        "iscrowd": int(person.crowd),
    }
    if joints:
        points = np.zeros((joints, 3)) if person.keypoints is None else person.keypoints
        if order is not None and person.keypoints is not None:
            points = np.where((order >= 0)[:, None], points[order], 0)
        record["keypoints"] = points.ravel().tolist()
        record["num_keypoints"] = int((points[:, 2] > 0).sum())
    return record


def _count_joints(annotations: list[Record], declared: list[int | None], source: str) -> list[str]:
    """Let ``num_keypoints`` have its say, as COCO's tools do; a warning where it contradicts.

    CrowdPose's own file declares 0 for people whose joints are labelled, which leaves them out.
    Where all people are declared so, nothing would be left to measure, and the joints count.
    """
    contradicted = [
        record
        for record, count in zip(annotations, declared, strict=True)
        if count is not None and count <= 0 and record.get("num_keypoints", 0) > 0
    ]
    if not contradicted:
        return []
    first = f"first: annotation {contradicted[0]['id']}"
    counting = [
        record
        for record, count in zip(annotations, declared, strict=True)
        if record.get("num_keypoints", 0) > 0 and (count is None or count > 0)
    ]
    if not counting:
        return [
            f"{source}: {len(contradicted)} x 'num_keypoints' 0 although joints are labelled:"
            f" counted anew, {first}"
        ]
    for record in contradicted:
        record["num_keypoints"] = 0
    return [
        f"{source}: {len(contradicted)} x 'num_keypoints' 0 although joints are labelled: these"
        f" people are not counted, {first}"
    ]


def _image_record(image: CocoImage) -> Record:
    record: Record = {"id": image.id}
    if image.file_name:
        record["file_name"] = image.file_name
    if image.size is not None:
        record |= {"height": image.size[0], "width": image.size[1]}
    if image.crowd_index is not None:
        record["crowdIndex"] = image.crowd_index
    if image.note:
        record["annotation"] = image.note
    return record


def _nobody(file: CocoFile, source: str) -> list[str]:
    """Why figures will be -1 (not defined), where that is already sure."""
    people = [person for person in file.people if not person.crowd]
    if not people:
        who = "nobody but crowds" if file.people else "no person"
        return [f"{source}: lists {who}: no figure is defined, and AP is -1"]
    if empty := [person for person in people if not person.area > 0]:
        return [
            f"{source}: {len(empty)} x 'area' and 'bbox' without extent: such a person is hardly"
            f" ever found, first: annotation {empty[0].id}"
        ]
    return []


def read_results(path: Path, people: People, field_name: str) -> tuple[list[Record], list[str]]:
    """Read a COCO results file; see `check_results`."""
    return check_results(read_json(path), people, field_name, str(path))


def check_results(
    results: Any, people: People, field_name: str, source: str = "results"
) -> tuple[list[Record], list[str]]:
    """Check a COCO results list against the annotations it answers.

    Args:
        results: The parsed file: one dict a detection with ``image_id`` (or the image's file name
            in its place), ``score`` and ``keypoints`` or ``bbox``.
        people: The annotations.
        field_name: ``keypoints`` or ``bbox``: what is measured.
        source: What to call the list in messages.

    Returns:
        The detections of people, and one warning line for each kind of thing passed over: images
        without a detection, detections of other categories, detections that are there twice.

    Raises:
        DataError: If it is not such a list, an image id is unknown, a number is not finite, the
            joint count differs, or no detection is of a person.
    """
    length = 3 * people.joints if field_name == "keypoints" else 4
    checked = check_detections(results, {field_name: length}, source)
    images = people.image_entries
    checked = resolve_images(checked, images, source)
    persons, said = detected_people(checked, people.category, people.categories, source)
    empty = len({image.id for image in images} - {result["image_id"] for result in persons})
    seen = Counter(
        (result["image_id"], result["score"], tuple(result[field_name])) for result in persons
    )
    doubles = sum(count - 1 for count in seen.values())
    warnings = [
        *([f"{source}: {empty} of {len(images)} images have no detection"] if empty else []),
        *said,
        *(
            [f"{source}: {doubles} detections are there twice or more; each counts"]
            if doubles
            else []
        ),
    ]
    return persons, warnings
