"""COCO keypoints JSON; CrowdPose and most home-made sets come in the same form."""

from pathlib import Path

import numpy as np

from rmpe.annotations.coco import read_coco_file, require_names
from rmpe.annotations.image_names import ImageFolder
from rmpe.annotations.joints import match_joints
from rmpe.datasets.packed import image_size
from rmpe.datasets.persons import PersonReader, PersonSet
from rmpe.skeletons import Skeleton


def read_coco(annotations: Path, images: Path, skeleton: Skeleton) -> PersonSet:
    """Read people from COCO keypoints JSON.

    Crowd regions are not people and are kept apart; people without a labelled joint stay (their
    boxes are true). Joints are matched by the names that the file's category gives them.

    Args:
        annotations: JSON with ``images`` (id, file_name, width, height) and ``annotations``
            (image_id, bbox xywh, keypoints as x, y, visibility).
        images: Folder with the image files.
        skeleton: What the joints are: ``coco17``, for CrowdPose ``crowdpose14``, or the user's own.

    Raises:
        DataError: If the file is not such JSON, its joints are not those of ``skeleton``, or all
            its annotations are of other categories.
    """
    file = read_coco_file(annotations)
    file.require_people()
    require_names(file.images, file.source)
    order, said = match_joints(file.category.joints, skeleton, file.source)
    reader = PersonReader(skeleton)
    for note in (*file.warnings, said):
        reader.note(note)
    folder = ImageFolder(images)
    paths = {}
    for image in file.images:
        path = folder.find(image.file_name)
        if path is None:
            reader.add_image(images / image.file_name, image.size or (0, 0))
        elif reader.add_image(path, image.size or image_size(path)):
            paths[image.id] = path
    for named, image_id in file.unlisted:
        reader.problem("person in an unlisted image", f"annotation {named}: image {image_id}")
    given = len(file.category.joints) or len(skeleton)
    for person in file.people:
        if person.image_id not in paths:
            continue
        x, y, width, height = person.box
        corners = (x, y, x + width, y + height)
        if person.crowd:
            reader.add_crowd(paths[person.image_id], corners)
        else:
            keypoints = person.keypoints
            if keypoints is None:
                keypoints = np.zeros((len(skeleton), 3))
            elif len(keypoints) == given:
                keypoints = np.where((order >= 0)[:, None], keypoints[order], 0)
            reader.add_person(paths[person.image_id], corners, keypoints, person.id)
    return reader.finish()
