"""MPII's annotations, the official MATLAB file or the usual JSON, and results for them.

Both files count pixels from 1. The reader moves joints and centres to this project's frame, in
which the first pixel is 0 (`docs/conventions.md`), for training and for evaluation alike.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rmpe import fields
from rmpe.boxes import Boxes
from rmpe.errors import DataError
from rmpe.evaluation.files.frames import (
    Floats,
    Footage,
    Frame,
    Sequence,
    head_size,
    person_area,
)
from rmpe.files import BROKEN_ARCHIVE, read_json

# The first pixel of MPII's files.
ORIGIN = 1.0
# Head size in pixels per unit of the annotated ``scale``, as in MPII's single-person file.
HEAD_PER_SCALE = 25.0
# Flags of joints that are hidden, or visible.
HIDDEN = 1
VISIBLE = 2
# MPII has no body boxes. Joints end at the wrists and ankles, so their extent is enlarged.
EXTENT_TO_BOX = 1.2
# The 14 joints of the benchmark (MPII's 16 without pelvis and thorax), with its names and order.
JOINTS = (
    *(
        "r_ankle",
        "r_knee",
        "r_hip",
        "l_hip",
        "l_knee",
        "l_ankle",
        "r_wrist",
        "r_elbow",
        "r_shoulder",
    ),
    *("l_shoulder", "l_elbow", "l_wrist", "upper_neck", "head_top"),
)
# A person of 20,000 pixels is on no photo.
LARGEST_SCALE = 1e4
# Their indices among the 16.
REPORTED = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 8, 9]


@dataclass(frozen=True, eq=False)
class MpiiPerson:
    """One annotated person.

    Attributes:
        image: Name of the image.
        scale: Size in units of 200 px; NaN if the file has none.
        center: (x, y) of the body, image pixels; NaN if the file has none.
        joints: ``(16, 3)`` x, y in image pixels and a flag above 0, which is 2 for visible joints
            if the file tells; NaN where not annotated.
        head: Head size in pixels: of the head box, or ``HEAD_PER_SCALE`` times ``scale``.
    """

    image: str
    scale: float
    center: tuple[float, float]
    joints: Floats
    head: float

    @property
    def box(self) -> Boxes | None:
        """The extent of the labelled joints grown by ``EXTENT_TO_BOX``; ``None`` below two joints.

        MPII has no body boxes.
        """
        known = self.joints[np.isfinite(self.joints[:, 0]), :2]
        if len(known) < 2:
            return None
        return Boxes([[*known.min(axis=0), *known.max(axis=0)]]).grow(EXTENT_TO_BOX)


def read_annotations(path: Path, results: Path) -> Footage:
    """Read MPII people and a results file.

    Args:
        path: The annotations, see `read_mpii_people`.
        results: A COCO results list; ``image_id`` is the name of the image, and ``keypoints`` are
            16 joints as ``x, y, score``, in image pixels counted from 0.

    Raises:
        DataError: If a file has another layout, a result names an unknown image, or joints are not
            16 finite triples.
    """
    by_image: dict[str, list[MpiiPerson]] = {}
    for person in read_mpii_people(path):
        by_image.setdefault(person.image, []).append(person)
    found: dict[str, list[Floats]] = {name: [] for name in by_image}
    for index, result in enumerate(_results(results)):
        place = f"{results}: detection {index}"
        image = result["image_id"]
        image = str(image) if isinstance(image, int) else fields.text(image, f"{place}: 'image_id'")
        if image not in found:
            raise DataError(f"{place}: image {fields.cut(image)!r} is not in {path}")
        found[image].append(joints16(result["keypoints"], place)[REPORTED])
    frames = [frame_of(by_image[name], found[name]) for name in by_image]
    empty = sum(not detections for detections in found.values())
    warnings = [f"{results}: {empty} of {len(frames)} images have no detection"] if empty else []
    if not any(np.isfinite(frame.truth).any() for frame in frames):
        warnings.append(f"{path}: nobody is annotated, so no figure means anything")
    return Footage(JOINTS, [Sequence(str(path), frames)], warnings)


def read_mpii_people(path: Path) -> list[MpiiPerson]:
    """Read the people of MPII.

    Args:
        path: The official ``.mat`` file, of which the training images are annotated (needs SciPy);
            or the usual JSON: a list of people (or ``{"persons": [...]}``), each with ``image``,
            ``scale`` (in units of 200 px) and the 16 ``joints`` as ``[x, y]`` with ``joints_vis``,
            or ``keypoints`` as ``[x, y, visible]``. Pixels count from 1 in both.

    Raises:
        DataError: If the file cannot be read or is not in one of these layouts.
    """
    return _matlab_people(path) if path.suffix == ".mat" else _json_people(path)


def _matlab_people(path: Path) -> list[MpiiPerson]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        release = loadmat(path, struct_as_record=False, squeeze_me=True)["RELEASE"]
        photos = np.atleast_1d(release.annolist)
        training = np.atleast_1d(release.img_train)
    except (*BROKEN_ARCHIVE, MatReadError, LookupError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: not MPII's official annotation file: {error!r}") from error
    if len(photos) != len(training):
        raise DataError(f"{path}: {len(photos)} images, but {len(training)} in img_train")
    try:
        return [
            _matlab_person(str(photo.image.name), person)
            for photo, is_training in zip(photos, training, strict=True)
            if is_training
            for person in np.atleast_1d(photo.annorect)
            if hasattr(person, "annopoints")
        ]
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{path}: not MPII's official annotation file: {error}") from error


def _matlab_person(image: str, person: Any) -> MpiiPerson:
    """A person of the official file; unlabelled joints are absent there."""
    joints = np.full((16, 3), np.nan)
    for joint in np.atleast_1d(getattr(person.annopoints, "point", [])):
        visible = VISIBLE if str(getattr(joint, "is_visible", "1")) == "1" else HIDDEN
        joints[int(joint.id)] = joint.x - ORIGIN, joint.y - ORIGIN, visible
    scale = _number(getattr(person, "scale", np.nan))
    middle = getattr(person, "objpos", None)
    x, y = (_number(getattr(middle, axis, np.nan)) - ORIGIN for axis in ("x", "y"))
    corners = [_number(getattr(person, name, np.nan)) for name in ("x1", "y1", "x2", "y2")]
    head = head_size(corners) if np.isfinite(corners).all() else HEAD_PER_SCALE * scale
    return MpiiPerson(image, scale, (x, y), joints, head)


def _number(value: Any) -> float:
    """A number of a MATLAB file; an empty array is NaN."""
    return float(value) if np.size(value) == 1 else np.nan


def _json_people(path: Path) -> list[MpiiPerson]:
    data = read_json(path)
    people = data.get("persons") if isinstance(data, dict) else data
    if not isinstance(people, list) or not all(
        isinstance(p, dict) and {"image", "scale"} <= set(p) for p in people
    ):
        raise DataError(
            f"{path}: not MPII annotations: expected a list of people with 'image', 'scale'"
            " and 'joints'"
        )
    return [_person(person, f"{path}: person {index}") for index, person in enumerate(people)]


def _person(person: dict[str, Any], where: str) -> MpiiPerson:
    image = person["image"]
    name = str(image) if isinstance(image, int) else fields.name(image, f"{where}: 'image'")
    scale = fields.number(person["scale"], f"{where}: 'scale'")
    if not 0 < scale <= LARGEST_SCALE:
        raise DataError(
            f"{where}: 'scale' is {scale:g}; it must be above 0, in units of 200 pixels"
        )
    given = person.get("center")
    x, y = (np.nan, np.nan) if given is None else fields.pixels(given, f"{where}: 'center'", 2)
    if person.get("keypoints") is not None:
        joints = person["keypoints"]
    elif person.get("joints") is not None and person.get("joints_vis") is not None:
        points = fields.items(person["joints"], f"{where}: 'joints'")
        visible = fields.numbers(person["joints_vis"], f"{where}: 'joints_vis'", len(points))
        joints = [
            [*fields.pixels(point, f"{where}: 'joints'", 2).tolist(), flag]
            for point, flag in zip(points, visible.tolist(), strict=True)
        ]
    else:
        raise DataError(f"{where}: needs 16 'joints' with 'joints_vis'")
    moved = joints16(joints, f"{where}: joints") - (ORIGIN, ORIGIN, 0)
    center = (float(x) - ORIGIN, float(y) - ORIGIN)
    return MpiiPerson(name, scale, center, moved, HEAD_PER_SCALE * scale)


def _results(path: Path) -> list[dict[str, Any]]:
    results = read_json(path)
    if not isinstance(results, list) or not all(
        isinstance(result, dict) and {"image_id", "keypoints"} <= set(result) for result in results
    ):
        raise DataError(f"{path}: expected a list of detections with 'image_id' and 'keypoints'")
    return results


def joints16(rows: Any, where: str) -> Floats:
    """Joints ``(16, 3)`` as x, y, score; NaN where the third number is not above 0.

    Raises:
        DataError: If they are not 16 triples of finite numbers.
    """
    joints = fields.triples(rows, where)
    if joints.size != 48:
        raise DataError(f"{where}: needs 16 joints of 3 finite numbers, got {joints.size} numbers")
    return np.where(joints[:, 2:] > 0, joints, np.nan)


def frame_of(people: list[MpiiPerson], found: Iterable[Floats]) -> Frame:
    """One photo.

    Args:
        people: Its annotated people.
        found: Predictions ``(14, 3)``: x, y, score of the `JOINTS`; NaN where missing.
    """
    truth = np.array([person.joints[REPORTED, :2] for person in people], np.float64).reshape(
        -1, len(JOINTS), 2
    )
    heads = np.array([person.head for person in people], np.float64)
    areas = np.array(
        [person_area(joints, head) for joints, head in zip(truth, heads, strict=True)], np.float64
    )
    points = np.array(list(found), np.float64).reshape(-1, len(JOINTS), 3)
    no_ids = [np.full(len(rows), -1, np.int64) for rows in (truth, points)]
    return Frame(truth, heads, areas, no_ids[0], points[..., :2], points[..., 2], no_ids[1])
