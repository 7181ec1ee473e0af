"""MPII Human Pose: the official MATLAB file."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Boxes
from rmpe.datasets.packed import image_size
from rmpe.datasets.persons import HIDDEN, VISIBLE, PersonReader, PersonSet
from rmpe.errors import DataError
from rmpe.evaluation.files.mpii import EXTENT_TO_BOX
from rmpe.files import BROKEN_ARCHIVE
from rmpe.skeletons import load_skeleton


def read_mpii(annotations: Path, images: Path) -> PersonSet:
    """Read the training people of MPII (``mpii16``) from ``mpii_human_pose_v1_u12_1.mat``.

    MPII has no boxes; a person's box is the extent of the labelled joints, grown by
    ``EXTENT_TO_BOX``.

    Args:
        annotations: The official file (needs SciPy).
        images: Folder with the image files.

    Raises:
        DataError: If the file cannot be read or is not MPII's annotation file.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        release = loadmat(annotations, struct_as_record=False, squeeze_me=True)["RELEASE"]
        photos = np.atleast_1d(release.annolist)
        training = np.atleast_1d(release.img_train)
    except (*BROKEN_ARCHIVE, MatReadError, LookupError, ValueError, AttributeError) as error:
        raise DataError(f"{annotations}: not MPII's official annotation file: {error!r}") from error
    skeleton = load_skeleton("mpii16")
    reader = PersonReader(skeleton)
    if len(photos) != len(training):
        raise DataError(f"{annotations}: {len(photos)} images, but {len(training)} in img_train")
    try:
        _read_people(zip(photos, training, strict=True), images, reader)
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{annotations}: not MPII's official annotation file: {error}") from error
    return reader.finish()


def _read_people(photos: Iterable[tuple[Any, Any]], images: Path, reader: PersonReader) -> None:
    for number, (photo, is_training) in enumerate(photos):
        if not is_training:
            continue
        path = images / str(photo.image.name)
        people = [
            person for person in np.atleast_1d(photo.annorect) if hasattr(person, "annopoints")
        ]
        labelled = [
            (place, points)
            for place, person in enumerate(people)
            if (points := _points(person)).any()
        ]
        if not labelled or not reader.add_image(
            path, (0, 0) if not path.is_file() else image_size(path)
        ):
            continue
        for place, points in labelled:
            known = points[points[:, 2] > 0, :2]
            if len(known) < 2:
                reader.problem(
                    "fewer than two labelled joints", f"person {place} of image {number}"
                )
                continue
            box = Boxes([[*known.min(axis=0), *known.max(axis=0)]]).grow(EXTENT_TO_BOX)
            reader.add_person(path, box.xyxy[0].tolist(), points, 100 * number + place)


def _points(person: Any) -> NDArray[np.float32]:
    """Joints ``(16, 3)`` of one person; MPII pixels start at 1, unlabelled joints are absent."""
    points = np.zeros((16, 3), np.float32)
    for joint in np.atleast_1d(getattr(person.annopoints, "point", [])):
        visible = VISIBLE if str(getattr(joint, "is_visible", "1")) == "1" else HIDDEN
        points[int(joint.id)] = joint.x - 1, joint.y - 1, visible
    return points
