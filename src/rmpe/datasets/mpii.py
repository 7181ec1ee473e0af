"""MPII Human Pose as people to train on."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from rmpe.datasets.packed import image_size
from rmpe.datasets.persons import PersonReader, PersonSet
from rmpe.evaluation.files.mpii import MpiiPerson, read_mpii_people
from rmpe.skeletons import load_skeleton


def read_mpii(annotations: Path, images: Path) -> PersonSet:
    """Read the training people of MPII (``mpii16``).

    MPII has no boxes; a person's box is `rmpe.evaluation.files.mpii.MpiiPerson.box`.

    Args:
        annotations: ``mpii_human_pose_v1_u12_1.mat`` (needs SciPy) or the usual JSON, see
            `rmpe.evaluation.files.mpii.read_mpii_people`.
        images: Folder with the image files.

    Raises:
        DataError: If the file cannot be read or is not MPII's annotation file.
    """
    reader = PersonReader(load_skeleton("mpii16"))
    by_image: dict[str, list[MpiiPerson]] = defaultdict(list)
    for person in read_mpii_people(annotations):
        by_image[person.image].append(person)
    for number, (name, people) in enumerate(by_image.items()):
        labelled = [person for person in people if np.isfinite(person.joints).any()]
        path = images / name
        if not labelled or not reader.add_image(
            path, image_size(path) if path.is_file() else (0, 0)
        ):
            continue
        for place, person in enumerate(labelled):
            if (box := person.box) is None:
                reader.problem("fewer than two labelled joints", f"person {place} of {name}")
                continue
            points = np.nan_to_num(person.joints).astype(np.float32)
            reader.add_person(path, box.xyxy[0].tolist(), points, 100 * number + place)
    return reader.finish()
