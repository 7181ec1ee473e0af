"""PoseTrack 2018's own JSON files: one a sequence in a folder, or several sequences in one file."""

from pathlib import Path
from typing import Any

import numpy as np

from rmpe.errors import DataError
from rmpe.evaluation.files.frames import (
    Floats,
    Footage,
    Frame,
    Sequence,
    head_size,
    person_area,
    track_ids,
)
from rmpe.evaluation.files.submissions import Record
from rmpe.files import read_json
from rmpe.skeletons import load_skeleton

# The 15 joints of the evaluation; the files have two ears more and call the neck ``head_bottom``.
JOINTS = tuple(
    "neck" if name == "upper_neck" else name for name in load_skeleton("posetrack15").joints
)


def read_annotations(path: Path, results: Path) -> Footage:
    """PoseTrack annotations with predictions.

    Args:
        path: A JSON file with ``images`` (``id``, ``vid_id``, ``frame_id``, perhaps ``is_labeled``
            and ``ignore_regions_x`` and ``_y``), ``annotations`` (``keypoints``, ``bbox_head``,
            ``track_id``) and ``categories``; or a folder of such files.
        results: The same with one score a joint in ``scores`` (else in each third number of
            ``keypoints``), or a list of its annotations; a folder of files of the same names if
            ``path`` is one. A joint is missing where its score is not above 0. People have the
            file's joints or the 15 of the evaluation.

    Raises:
        DataError: If a file is not in its layout, an image id is unknown, or joints are not finite
            numbers.
    """
    if not path.is_dir():
        return Footage(JOINTS, *_sequences(path, results))
    files = sorted(path.glob("*.json"))
    if not files:
        raise DataError(f"{path}: no annotation files *.json in this folder")
    sequences = []
    warnings = []
    for file in files:
        if not (results / file.name).is_file():
            warnings.append(
                f"{results}: no {file.name}: all people of that sequence count as missed"
            )
        found, said = _sequences(
            file, results / file.name if (results / file.name).is_file() else None
        )
        sequences += found
        warnings += said
    return Footage(JOINTS, sequences, warnings)


def _sequences(path: Path, results: Path | None) -> tuple[list[Sequence], list[str]]:
    data = read_json(path)
    if not isinstance(data, dict) or not {"images", "annotations", "categories"} <= set(data):
        raise DataError(
            f"{path}: not PoseTrack annotations: 'images', 'annotations' and 'categories' are needed"
        )
    names = tuple(
        "neck" if name == "head_bottom" else name for name in data["categories"][0]["keypoints"]
    )
    if missing := set(JOINTS) - set(names):
        raise DataError(f"{path}: the category's keypoints lack {sorted(missing)[0]!r}")
    if without := [image for image in data["images"] if "id" not in image]:
        raise DataError(f"{path}: {len(without)} images have no id")
    images = [image for image in data["images"] if image.get("is_labeled", True)]
    known = {image["id"] for image in data["images"]}
    truth = _by_image(data["annotations"], known, path)
    found = _by_image(_predictions(results), known, results) if results else {}
    by_video: dict[str, list[Record]] = {}
    for image in images:
        by_video.setdefault(str(image.get("vid_id", path.stem)), []).append(image)
    sequences = []
    for video, records in by_video.items():
        ordered = sorted(records, key=_frame_number)
        frames = [
            _frame(image, truth.get(image["id"], []), found.get(image["id"], []), names)
            for image in ordered
        ]
        sequences.append(Sequence(video, frames))
    empty = sum(image["id"] not in found for image in images)
    return sequences, [
        f"{results}: {empty} of {len(images)} frames have no prediction"
    ] if empty and results else []


def _frame_number(image: Record) -> int:
    return int(image["frame_id"] if "frame_id" in image else image["id"])


def _predictions(path: Path) -> list[Record]:
    data = read_json(path)
    predictions = data.get("annotations") if isinstance(data, dict) else data
    if not isinstance(predictions, list):
        raise DataError(f"{path}: results are a list, or have one under 'annotations'")
    return predictions


def _by_image(
    records: list[Record], known: set[Any], source: Path | None
) -> dict[Any, list[Record]]:
    grouped: dict[Any, list[Record]] = {}
    for index, record in enumerate(records):
        if not {"image_id", "keypoints"} <= set(record):
            raise DataError(f"{source}: person {index} needs 'image_id' and 'keypoints'")
        if record["image_id"] not in known:
            raise DataError(
                f"{source}: person {index}: image id {record['image_id']!r} is not in the annotations"
            )
        grouped.setdefault(record["image_id"], []).append(
            record | {"where": f"{source}: person {index}"}
        )
    return grouped


def _frame(
    image: Record, truth: list[Record], found: list[Record], names: tuple[str, ...]
) -> Frame:
    annotated = [_joints(person, names) for person in truth]
    points = np.array([_joints(person, names) for person in found], np.float64).reshape(
        -1, len(JOINTS), 3
    )
    if without := [person for person in truth if len(person.get("bbox_head", [])) != 4]:
        raise DataError(f"{without[0]['where']}: no bbox_head of 4 numbers")
    heads = [
        head_size([x, y, x + w, y + h]) for x, y, w, h in (person["bbox_head"] for person in truth)
    ]
    areas = [
        person_area(joints[:, :2], head, person.get("bbox") or None)
        for joints, head, person in zip(annotated, heads, truth, strict=True)
    ]
    frame = Frame(
        np.array(annotated, np.float64).reshape(-1, len(JOINTS), 3)[..., :2],
        np.array(heads, np.float64),
        np.array(areas, np.float64),
        track_ids(
            [person.get("track_id", -1) for person in truth], f"annotations: image {image['id']}"
        ),
        points[..., :2],
        points[..., 2],
        track_ids(
            [person.get("track_id", -1) for person in found], f"results: image {image['id']}"
        ),
    )
    polygons = zip(
        image.get("ignore_regions_x", []), image.get("ignore_regions_y", []), strict=True
    )
    return frame.outside([np.c_[xs, ys].tolist() for xs, ys in polygons])


def _joints(person: Record, names: tuple[str, ...]) -> Floats:
    """The 15 joints ``(15, 3)`` of one person; NaN where the visibility or score is not above 0."""
    rows = np.array(person["keypoints"], np.float64).reshape(-1)
    if len(rows) not in (3 * len(names), 3 * len(JOINTS)) or not np.isfinite(rows).all():
        raise DataError(
            f"{person['where']}: needs {len(names)} joints of 3 finite numbers, got {len(rows)} numbers"
        )
    joints = rows.reshape(-1, 3)
    scores = np.array(person.get("scores") or [], np.float64)
    if len(scores) == len(joints) and np.isfinite(scores).all():
        joints[:, 2] = np.where(joints[:, 2] > 0, scores, 0)
    elif len(scores):
        raise DataError(f"{person['where']}: needs {len(joints)} finite scores, got {len(scores)}")
    if len(joints) != len(JOINTS):
        joints = joints[[names.index(joint) for joint in JOINTS]]
    return np.where(joints[:, 2:] > 0, joints, np.nan)
