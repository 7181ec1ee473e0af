"""PoseTrack 2018's own JSON files: one a sequence in a folder, or several sequences in one file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rmpe import fields
from rmpe.annotations.coco import parse_images, person_of
from rmpe.errors import DataError
from rmpe.evaluation.files.frames import (
    Floats,
    Footage,
    Frame,
    Polygon,
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


@dataclass(frozen=True, slots=True)
class PoseTrackImage:
    """A frame of a PoseTrack file.

    Attributes:
        id: Its number.
        video: What the file calls its video.
        number: Its place in the video.
        labelled: Whether its people are annotated.
        regions: Polygons in which nothing counts.
        file_name: Its name; empty if the file gives none.
    """

    id: int
    video: str
    number: int
    labelled: bool
    regions: tuple[Polygon, ...]
    file_name: str


def parse_frames(data: Any, source: str) -> list[PoseTrackImage]:
    """The frames of a PoseTrack annotation file, from its parsed JSON.

    Raises:
        DataError: If it has none, or one is not what it should be.
    """
    known = parse_images(data, source)
    return [
        _image(row, image.id, image.file_name, source)
        for row, image in zip(data["images"], known, strict=True)
    ]


def _image(row: Record, number: int, name: str, source: str) -> PoseTrackImage:
    place = f"{source}: image {number}"
    video = row.get("vid_id")
    if video is None:
        video = Path(source).stem
    elif not isinstance(video, str):
        video = str(fields.whole(video, f"{place}: 'vid_id'"))
    frame = row.get("frame_id")
    labelled = row.get("is_labeled")
    polygons = [
        _polygons(row.get(f"ignore_regions_{axis}"), f"{place}: 'ignore_regions_{axis}'")
        for axis in "xy"
    ]
    if [len(one) for one in polygons[0]] != [len(one) for one in polygons[1]]:
        raise DataError(f"{place}: 'ignore_regions_x' and '_y' are not equally long")
    return PoseTrackImage(
        number,
        video,
        number if frame is None else fields.whole(frame, f"{place}: 'frame_id'"),
        labelled is None or fields.flag(labelled, f"{place}: 'is_labeled'"),
        tuple(np.c_[xs, ys].tolist() for xs, ys in zip(*polygons, strict=True)),
        name,
    )


def _polygons(value: Any, place: str) -> list[Floats]:
    """One coordinate of each polygon; a single polygon may be written without a list around it."""
    rows = [] if value is None else fields.items(value, place)
    if rows and not any(isinstance(row, list) for row in rows):
        rows = [rows]
    return [fields.pixels(row, f"{place}, region {index}") for index, row in enumerate(rows)]


def _sequences(path: Path, results: Path | None) -> tuple[list[Sequence], list[str]]:
    data = read_json(path)
    source = str(path)
    if not isinstance(data, dict) or not {"images", "annotations", "categories"} <= set(data):
        raise DataError(
            f"{source}: not PoseTrack annotations: 'images', 'annotations' and 'categories' are"
            " needed"
        )
    person, _ = person_of(data, source)
    names = tuple(
        "neck" if name == "head_bottom" else name for name in (person.joints if person else ())
    )
    if missing := set(JOINTS) - set(names):
        raise DataError(f"{source}: the category's keypoints lack {sorted(missing)[0]!r}")
    if len(set(names)) < len(names):
        raise DataError(f"{source}: the category's keypoints name a joint twice")
    everything = parse_frames(data, source)
    images = [image for image in everything if image.labelled]
    known = {image.id for image in everything}
    truth = _by_image(fields.items(data["annotations"], f"{source}: 'annotations'"), known, source)
    found = _by_image(_predictions(results), known, str(results)) if results else {}
    by_video: dict[str, list[PoseTrackImage]] = {}
    for image in images:
        by_video.setdefault(image.video, []).append(image)
    sequences = []
    for video, records in by_video.items():
        ordered = sorted(records, key=lambda image: image.number)
        numbers = [image.number for image in ordered]
        if len(set(numbers)) < len(numbers):
            raise DataError(f"{source}: two images of video {video} have the same 'frame_id'")
        frames = [
            _frame(image, truth.get(image.id, []), found.get(image.id, []), names)
            for image in ordered
        ]
        sequences.append(Sequence(video, frames))
    empty = sum(image.id not in found for image in images)
    warnings = []
    if empty and results:
        warnings.append(f"{results}: {empty} of {len(images)} frames have no prediction")
    if not any(image.id in truth for image in images):
        warnings.append(f"{source}: nobody is annotated, so no figure means anything")
    return sequences, warnings


def _predictions(path: Path) -> list[Record]:
    data = read_json(path)
    predictions = data.get("annotations") if isinstance(data, dict) else data
    if not isinstance(predictions, list):
        raise DataError(f"{path}: results are a list, or have one under 'annotations'")
    return predictions


def _by_image(records: list[Any], known: set[int], source: str) -> dict[int, list[Record]]:
    grouped: dict[int, list[Record]] = {}
    for index, entry in enumerate(records):
        place = f"{source}: person {index}"
        record = fields.table(entry, place)
        if record.get("image_id") is None or record.get("keypoints") is None:
            raise DataError(f"{place} needs 'image_id' and 'keypoints'")
        image_id = fields.whole(record["image_id"], f"{place}: 'image_id'")
        if image_id not in known:
            raise DataError(f"{place}: image id {image_id!r} is not in the annotations")
        grouped.setdefault(image_id, []).append(record | {"where": place})
    return grouped


def _frame(
    image: PoseTrackImage, truth: list[Record], found: list[Record], names: tuple[str, ...]
) -> Frame:
    annotated = [_joints(person, names) for person in truth]
    points = np.array([_joints(person, names) for person in found], np.float64).reshape(
        -1, len(JOINTS), 3
    )
    heads = [_head(person) for person in truth]
    areas = [
        person_area(joints[:, :2], head, _box(person))
        for joints, head, person in zip(annotated, heads, truth, strict=True)
    ]
    frame = Frame(
        np.array(annotated, np.float64).reshape(-1, len(JOINTS), 3)[..., :2],
        np.array(heads, np.float64),
        np.array(areas, np.float64),
        track_ids([person.get("track_id") for person in truth], f"annotations: image {image.id}"),
        points[..., :2],
        points[..., 2],
        track_ids([person.get("track_id") for person in found], f"results: image {image.id}"),
    )
    return frame.outside(list(image.regions))


def _head(person: Record) -> float:
    if not person.get("bbox_head"):
        raise DataError(f"{person['where']}: no bbox_head of 4 numbers")
    x, y, width, height = fields.pixels(person["bbox_head"], f"{person['where']}: 'bbox_head'", 4)
    return head_size([x, y, x + width, y + height], f"{person['where']}: 'bbox_head'")


def _box(person: Record) -> Floats | None:
    if not person.get("bbox"):
        return None
    box = fields.pixels(person["bbox"], f"{person['where']}: 'bbox'", 4)
    if min(box[2:]) < 0:
        raise DataError(f"{person['where']}: 'bbox' has a negative side")
    return box


def _joints(person: Record, names: tuple[str, ...]) -> Floats:
    """The 15 joints ``(15, 3)`` of one person; NaN where the visibility or score is not above 0."""
    joints = fields.triples(person["keypoints"], f"{person['where']}: 'keypoints'")
    if len(joints) not in (len(names), len(JOINTS)):
        raise DataError(
            f"{person['where']}: needs {len(names)} joints of 3 finite numbers, got {joints.size}"
            " numbers"
        )
    given = person.get("scores")
    if given is not None and given != []:
        place = f"{person['where']}: 'scores'"
        if len(fields.items(given, place)) != len(joints):
            raise DataError(
                f"{person['where']}: needs {len(joints)} finite scores, got {len(given)}"
            )
        joints[:, 2] = np.where(joints[:, 2] > 0, fields.pixels(given, place), 0)
    if len(joints) != len(JOINTS):
        joints = joints[[names.index(joint) for joint in JOINTS]]
    return np.where(joints[:, 2:] > 0, joints, np.nan)
