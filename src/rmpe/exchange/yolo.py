"""YOLO-pose data sets: a text file for each image, and ``data.yaml``.

Each line is a person: class, box (middle and sides) and joints (x, y, visibility), as shares of the
image. The labels of ``images/a/b.jpg`` are in ``labels/a/b.txt``.

Source: https://docs.ultralytics.com/datasets/pose/ (Ultralytics YOLO format).
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe import fields
from rmpe.atomic import atomic
from rmpe.errors import DataError, OutputError
from rmpe.exchange.labelled import (
    UNLABELLED,
    VISIBLE,
    JointOrder,
    LabelledImage,
    LabelledPerson,
    LabelledSet,
    Remarks,
    by_name,
    order_joints,
    size_of_file,
)
from rmpe.files import parse_yaml, read_bytes
from rmpe.media.images import SUFFIXES
from rmpe.skeletons import Skeleton, load_skeleton

FILE = "data.yaml"
SPLITS = ("train", "val", "test")
DECIMALS = 8  # a ten-thousandth of a pixel in any picture
COCO_JOINTS = 17
HEAD = 5  # numbers of a line before its joints


@dataclass(frozen=True)
class YoloFile:
    """What ``data.yaml`` says.

    Attributes:
        path: The file.
        splits: Images of each split: folders, lists or images.
        person: Index of the class of people.
        dimensions: Numbers a joint: 2, or 3 with visibility.
        joints: Its joints.
    """

    path: Path
    splits: tuple[Path, ...]
    person: int
    dimensions: int
    joints: JointOrder


def read_yolo(path: Path, skeleton: Skeleton | None) -> LabelledSet:
    """Read a YOLO-pose data set.

    Args:
        path: ``data.yaml``, by whatever name.
        skeleton: Its joints; without it those of the file's ``kpt_names``, or COCO's if it has 17
            joints without names.

    Raises:
        DataError: If a file cannot be read or a line is not what it should be.
        MissingPackageError: If PyYAML is not installed.
    """
    file = read_yaml(path, skeleton)
    remarks = Remarks(str(path))
    images = []
    for place in dict.fromkeys(_images(file)):
        name = _name_of(place)
        labels = labels_of(place)
        size = size_of_file(place, name, str(path))
        people: tuple[LabelledPerson, ...] = ()
        if labels.is_file():
            people = tuple(_people(labels, size, file, remarks))
        images.append(LabelledImage(name, size, people, path=place))
    if not images:
        raise DataError(f"{path}: no images in {', '.join(map(str, file.splits))}")
    by_name(images, str(path))
    said = [file.joints.remark] if file.joints.remark else []
    return LabelledSet(file.joints.skeleton, tuple(images), (*said, *remarks.lines()))


def read_yaml(path: Path, skeleton: Skeleton | None) -> YoloFile:
    """Read ``data.yaml``; arguments and errors as for `read_yolo`."""
    source = str(path)
    data = fields.table(parse_yaml(read_bytes(path), source), source)
    if data.get("kpt_shape") is None:
        raise DataError(f"{source}: no 'kpt_shape': not a YOLO-pose data set")
    shape = fields.items(data["kpt_shape"], f"{source}: 'kpt_shape'")
    if len(shape) != 2:
        raise DataError(f"{source}: 'kpt_shape' must be two numbers")
    count, dimensions = (fields.whole(one, f"{source}: 'kpt_shape'") for one in shape)
    if count < 1 or dimensions not in (2, 3):
        raise DataError(f"{source}: 'kpt_shape' is {shape}, not [joints, 2 or 3]")
    classes = _numbered(data.get("names"), f"{source}: 'names'")
    person = _person_class(classes, source)
    names = _joint_names(data.get("kpt_names"), person, f"{source}: 'kpt_names'")
    if not names and skeleton is None and count == COCO_JOINTS:
        skeleton = load_skeleton("coco17")
    joints = order_joints(names, skeleton, source)
    if len(joints.names) != count:
        raise DataError(
            f"{source}: 'kpt_shape' says {count} joints, not the {len(joints.names)} of"
            f" {joints.skeleton}: name the right one with --skeleton"
        )
    root = path.parent
    if data.get("path") is not None:
        said = Path(fields.name(data["path"], f"{source}: 'path'"))
        beside = path.parent / said
        root = beside if beside.is_dir() else said if said.is_dir() else path.parent
    splits = []
    for split in SPLITS:
        given = data.get(split)
        for one in given if isinstance(given, list) else [given] if given else []:
            splits.append(root / fields.name(one, f"{source}: {split!r}"))
    if not splits:
        raise DataError(f"{source}: none of 'train', 'val' and 'test' names images")
    return YoloFile(path, tuple(splits), person, dimensions, joints)


def write_yolo(labelled: LabelledSet, out: Path) -> list[Path]:
    """Write ``data.yaml`` and ``labels/``; the images belong into ``images/``.

    A joint outside the image cannot be written and becomes unlabelled; boxes are cut to the image.

    Returns:
        The files: ``data.yaml`` first.

    Raises:
        OutputError: If one cannot be written, or labels of other images are there: trainers would
            read them, too.
        DataError: If two images would share a file of labels.
    """
    skeleton = labelled.skeleton
    lines = [
        "# Both splits are all images: name folders or lists of your own, seen from here.",
        "train: images",
        "val: images",
        f"kpt_shape: [{len(skeleton)}, 3]",
        f"flip_idx: {json.dumps(skeleton.flip_order.tolist())}",
        "names:",
        "  0: person",
        "kpt_names:",
        "  0:",
        *(f"    - {json.dumps(joint)}" for joint in skeleton.joints),
    ]
    taken: dict[Path, str] = {}
    for image in labelled.images:
        if ".." in PurePosixPath(image.name).parts or PurePosixPath(image.name).is_absolute():
            raise OutputError(f"image {image.name!r} lies outside the data set")
        file = labels_of(out / "images" / image.name)
        if taken.setdefault(file, image.name) != image.name:
            raise DataError(f"{taken[file]} and {image.name} would share {file}: rename one")
    if others := sorted(set((out / "labels").rglob("*.txt")) - set(taken)):
        raise OutputError(
            f"{others[0]}: labels of another data set are in this folder: name another --out"
        )
    files = [out / FILE]
    for image in labelled.images:
        file = labels_of(out / "images" / image.name)
        rows = [_line(person, image.size) for person in image.people if not person.crowd]
        with atomic(file) as text:
            text.write("".join(f"{row}\n" for row in rows).encode())
        files.append(file)
    with atomic(out / FILE) as text:
        text.write(("\n".join(lines) + "\n").encode())
    return files


def labels_of(image: Path) -> Path:
    """Where the labels of an image are: its last folder ``images`` is called ``labels``."""
    parts = list(image.with_suffix(".txt").parts)
    at = max((place for place, part in enumerate(parts[:-1]) if part == "images"), default=None)
    if at is not None:
        parts[at] = "labels"
    return Path(*parts)


def _name_of(image: Path) -> str:
    """An image's name below its last folder ``images``."""
    parts = image.parts
    at = max((place for place, part in enumerate(parts[:-1]) if part == "images"), default=None)
    return "/".join(parts[at + 1 :]) if at is not None else image.name


def _images(file: YoloFile) -> Iterator[Path]:
    """The images of all splits: those of a folder, of a list, or one by name."""
    for split in file.splits:
        if split.is_dir():
            found = sorted(split.rglob("*"))
            yield from (one for one in found if one.suffix.lower() in SUFFIXES and one.is_file())
        elif split.suffix == ".txt":
            text = read_bytes(split).decode("utf-8", "replace")
            for line in filter(None, map(str.strip, text.splitlines())):
                yield split.parent / line
        elif split.is_file():
            yield split
        else:
            raise DataError(f"{file.path}: {split}: no such folder, list or image")


def _numbered(value: Any, place: str) -> dict[int, str]:
    """Names by number, written as a list or as a table."""
    if value is None:
        return {}
    pairs = value.items() if isinstance(value, dict) else enumerate(fields.items(value, place))
    return {fields.whole(key, place): fields.text(name, place) for key, name in pairs}


def _person_class(classes: dict[int, str], source: str) -> int:
    people = [index for index, name in classes.items() if name.strip().casefold() == "person"]
    if len(people) == 1:
        return people[0]
    if len(classes) <= 1:
        return next(iter(classes), 0)
    said = ", ".join(fields.cut(name) for name in list(classes.values())[:6])
    raise DataError(f"{source}: no class is called person; it has {said}")


def _joint_names(value: Any, person: int, place: str) -> tuple[str, ...]:
    if isinstance(value, dict):
        value = value.get(person)
    return () if value is None else fields.texts(value, place)


def _people(
    path: Path, size: tuple[int, int], file: YoloFile, remarks: Remarks
) -> Iterator[LabelledPerson]:
    try:
        lines = read_bytes(path).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text: {error.reason}") from error
    scale = np.array([size[1], size[0]], np.float64)
    for number, line in enumerate(lines, 1):
        place = f"{path}: line {number}"
        if not (words := line.split()):
            continue
        values = _numbers(words, place)
        if not values[0].is_integer() or values[0] < 0:
            raise DataError(f"{place}: {words[0]!r} is not the number of a class")
        if int(values[0]) != file.person:
            remarks.add("object of another class than person, left out", place)
            continue
        joints = values[HEAD:]
        wanted = HEAD + len(file.joints.names) * file.dimensions
        if len(values) != wanted:
            raise DataError(f"{place}: {len(values)} numbers, not {wanted}")
        sides = np.array(values[3:HEAD]) * scale
        box = np.concatenate([np.array(values[1:3]) * scale - sides / 2, sides])
        keypoints = _keypoints(np.array(joints).reshape(-1, file.dimensions), scale)
        ordered = file.joints.sorted(keypoints, place)
        yield LabelledPerson(fields.pixels(box.tolist(), place, 4), ordered)


def _numbers(words: list[str], place: str) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise DataError(f"{place}: not numbers: {error}") from error
    if not all(map(math.isfinite, values)) or len(values) < HEAD:
        raise DataError(f"{place}: must be a class, a box and joints, all of them finite numbers")
    if max(map(abs, values[1:])) > VISIBLE:
        raise DataError(f"{place}: places must be shares of the image, from 0 to 1")
    return values


def _keypoints(joints: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Joints in pixels with their visibility; without one (0, 0) means not labelled."""
    flags = joints[:, 2] if joints.shape[1] > 2 else VISIBLE * (joints != 0).any(axis=1)
    return np.column_stack([joints[:, :2] * scale, flags])


def _line(person: LabelledPerson, size: tuple[int, int]) -> str:
    scale = np.array([size[1], size[0]], np.float64)
    low = np.clip(person.box[:2], 0, scale)
    high = np.clip(person.box[:2] + person.box[2:], 0, scale)
    numbers = [*((low + high) / 2 / scale), *((high - low) / scale)]
    words = ["0", *(f"{number:.{DECIMALS}g}" for number in numbers)]
    for x, y, flag in person.keypoints:
        inside = flag > UNLABELLED and 0 <= x <= scale[0] and 0 <= y <= scale[1]
        place = np.array([x, y]) / scale if inside else np.zeros(2)
        words += [f"{number:.{DECIMALS}g}" for number in place]
        words.append(f"{flag:.0f}" if inside else "0")
    return " ".join(words)
