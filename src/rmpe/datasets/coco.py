"""COCO keypoints JSON; CrowdPose and most home-made sets come in the same form."""

from pathlib import Path

import numpy as np

from rmpe.datasets.persons import PersonReader, PersonSet
from rmpe.errors import DataError
from rmpe.files import read_json
from rmpe.skeletons import Skeleton


def read_coco(annotations: Path, images: Path, skeleton: Skeleton) -> PersonSet:
    """Read people from COCO keypoints JSON.

    Crowd regions are not people and are left out; people without a labelled joint stay (their boxes
    are true). A file whose category lists its joints by name must list those of ``skeleton`` in
    that order.

    Args:
        annotations: JSON with ``images`` (id, file_name, width, height) and ``annotations``
            (image_id, bbox xywh, keypoints as x, y, visibility).
        images: Folder with the image files.
        skeleton: What the joints are: ``coco17``, for CrowdPose ``crowdpose14``, or the user's own.

    Raises:
        DataError: If the file is not such JSON or its joints are not those of ``skeleton``.
    """
    data = read_json(annotations)
    if not isinstance(data, dict) or not {"images", "annotations"} <= set(data):
        raise DataError(
            f"{annotations}: not COCO JSON: it needs the lists 'images' and 'annotations'"
        )
    for category in data.get("categories", []):
        names = tuple(category.get("keypoints", ()))
        if names and not _same_joints(names, skeleton):
            raise DataError(
                f"{annotations}: its joints {list(names)} are not those of {skeleton}: {skeleton.joints}"
            )
    reader = PersonReader(skeleton)
    paths = {}
    for image in data["images"]:
        path = images / image["file_name"]
        if reader.add_image(path, (image["height"], image["width"])):
            paths[image["id"]] = path
    known = {image["id"] for image in data["images"]}
    for person in data["annotations"]:
        if person.get("iscrowd", 0):
            continue
        if person["image_id"] not in known:
            reader.problem(
                "person in an unlisted image",
                f"annotation {person['id']}: image {person['image_id']}",
            )
            continue
        if person["image_id"] not in paths:
            continue
        x, y, width, height = person["bbox"]
        keypoints = person.get("keypoints", np.zeros(3 * len(skeleton)))
        reader.add_person(
            paths[person["image_id"]], (x, y, x + width, y + height), keypoints, person["id"]
        )
    return reader.finish()


def _same_joints(names: tuple[str, ...], skeleton: Skeleton) -> bool:
    """Whether two lists of joints are the same, up to spelling (``Left Ankle`` is ``left_ankle``).

    A list that uses other words altogether (CrowdPose says ``top_head``) is let through if its
    length fits.
    """
    plain = tuple(name.strip().lower().replace(" ", "_") for name in names)
    return plain == skeleton.joints or (
        len(plain) == len(skeleton) and set(plain) != set(skeleton.joints)
    )
