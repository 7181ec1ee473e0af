"""Label Studio's JSON: a task for each image, with boxes, and joints that belong to them.

Places are percentages of the image. A joint names the region of its person's box as ``parentID``;
hidden joints have a choice ``hidden`` of their own.

Source: https://labelstud.io/guide/task_format, https://labelstud.io/tags/keypointlabels.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from rmpe import fields
from rmpe.annotations.image_names import ImageFolder, bare, parts_of
from rmpe.annotations.joints import plain_name
from rmpe.atomic import atomic
from rmpe.errors import DataError
from rmpe.exchange.labelled import (
    HIDDEN,
    UNLABELLED,
    VISIBLE,
    LabelledImage,
    LabelledPerson,
    LabelledSet,
    Remarks,
    by_name,
    size_of_file,
)
from rmpe.files import read_json
from rmpe.skeletons import Skeleton, load_skeleton, skeleton_names

TASKS = "tasks.json"
CONFIG = "config.xml"
PERSON = "person"
CROWD = "crowd"
HIDDEN_CHOICE = "hidden"
BOXES = "people"
JOINTS = "joints"
VISIBILITY = "visibility"
IMAGE = "image"
LOCAL_FILES = "/data/local-files/?d="
POINT = 0.5  # width of a point, percent of the image
DECIMALS = 7  # a thousandth of a pixel in any picture


@dataclass(frozen=True)
class _Joint:
    """A joint as a region: of whose box, its label, its place in pixels, and the region's id."""

    parent: str
    label: str
    x: float
    y: float
    region: str


@dataclass
class _Regions:
    """The regions of one image, by what they are.

    Attributes:
        boxes: Region id -> box xywh in pixels.
        crowds: Boxes of regions with many people.
        joints: The joints.
        hidden: Ids of regions with the choice ``hidden``.
    """

    boxes: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    crowds: list[NDArray[np.float64]] = field(default_factory=list)
    joints: list[_Joint] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)


def read_label_studio(path: Path, skeleton: Skeleton | None, images: Path | None) -> LabelledSet:
    """Read tasks, as Label Studio exports them ("JSON") or as they are imported.

    Args:
        path: The JSON file.
        skeleton: The joints; without it the smallest that ships and has all joints of the file,
            COCO's 17 if they will do.
        images: Folder of the images, for the sizes of those without any region.

    Raises:
        DataError: If it cannot be read, or is not what it should be.
    """
    source = str(path)
    remarks = Remarks(source)
    folder = None if images is None else ImageFolder(images)
    found: list[tuple[str, tuple[int, int] | None, _Regions]] = []
    models = []
    for number, value in enumerate(fields.items(read_json(path), source)):
        place = f"{source}: task {number}"
        task = fields.table(value, place)
        name = _image_name(task, place)
        results, by_model = _results(task, place, remarks)
        models.append(by_model)
        size, regions = _regions(results, f"{source}: {name}", remarks)
        found.append((name, size, regions))
    names = {joint.label for _, _, regions in found for joint in regions.joints}
    joints = skeleton or _skeleton_with(names, source)
    labelled = []
    for name, size, regions in found:
        file = None if folder is None else folder.find(name)
        sides = size or size_of_file(file, name, source)
        people = _people(regions, joints, f"{source}: {name}", remarks)
        labelled.append(LabelledImage(name, sides, tuple(people), path=file))
    by_name(labelled, source)
    predicted = bool(models) and all(models)
    return LabelledSet(joints, tuple(labelled), remarks.lines(), predicted)


def write_label_studio(
    labelled: LabelledSet, out: Path, image_url: str = LOCAL_FILES
) -> list[Path]:
    """Write ``tasks.json``, and ``config.xml``, which is the project's labelling interface.

    Args:
        labelled: The set; a predicted one becomes predictions, which Label Studio shows to be
            accepted or corrected.
        out: Folder.
        image_url: What stands before the name of an image.

    Raises:
        OutputError: If one cannot be written.
    """
    kind = "predictions" if labelled.predicted else "annotations"
    tasks = [
        {
            "data": {IMAGE: image_url + quote(image.name)},
            kind: [{"result": _result(image, labelled.skeleton)}],
        }
        for image in labelled.images
    ]
    with atomic(out / TASKS) as file:
        file.write(json.dumps(tasks).encode() + b"\n")
    with atomic(out / CONFIG) as file:
        file.write(config(labelled.skeleton).encode())
    return [out / TASKS, out / CONFIG]


def config(skeleton: Skeleton) -> str:
    """The labelling interface of a project: boxes, joints in the skeleton's order and colours."""
    colors = ["#" + "".join(f"{part:02x}" for part in color) for color in skeleton.colors]
    joints = [
        f'    <Label value={quoteattr(joint)} model_index="{at}" background="{color}"/>'
        for at, (joint, color) in enumerate(zip(skeleton.joints, colors, strict=True))
    ]
    lines = [
        "<View>",
        f'  <Image name="{IMAGE}" value="${IMAGE}" zoom="true" zoomControl="true"/>',
        f'  <RectangleLabels name="{BOXES}" toName="{IMAGE}">',
        f'    <Label value="{PERSON}" model_index="0" background="#2080f0"/>',
        f'    <Label value="{CROWD}" background="#f02020"/>',
        "  </RectangleLabels>",
        f'  <KeyPointLabels name="{JOINTS}" toName="{IMAGE}">',
        *joints,
        "  </KeyPointLabels>",
        f'  <Choices name="{VISIBILITY}" toName="{IMAGE}" perRegion="true" whenTagName="{JOINTS}">',
        f'    <Choice value="{HIDDEN_CHOICE}"/>',
        "  </Choices>",
        "</View>",
        "",
    ]
    return "\n".join(lines)


def _skeleton_with(names: set[str], source: str) -> Skeleton:
    known = [load_skeleton(name) for name in skeleton_names()]
    for skeleton in sorted(known, key=lambda one: (one.name != "coco17", len(one))):
        if {plain_name(name) for name in names} <= set(skeleton.joints):
            return skeleton
    said = ", ".join(sorted(names)[:4])
    raise DataError(
        f"{source}: its joints ({said}) are those of no skeleton that ships: say what they are with"
        " --skeleton FILE.toml"
    )


def _image_name(task: dict[str, Any], place: str) -> str:
    """The name of a task's image, without what an upload or a storage put before it."""
    data = fields.table(task.get("data"), f"{place}: 'data'")
    texts = [key for key, value in data.items() if isinstance(value, str)]
    key = IMAGE if IMAGE in texts else texts[0] if len(texts) == 1 else ""
    if not key:
        raise DataError(f"{place}: 'data' has no {IMAGE!r}")
    url = urlsplit(fields.name(data[key], f"{place}: {key!r}"))
    local = parse_qs(url.query).get("d")
    parts = parts_of(local[0] if local else unquote(url.path))
    if parts[:2] == ("data", "upload"):
        return bare(parts[-1])
    if not parts:
        raise DataError(f"{place}: {key!r} names no image")
    return "/".join(parts)


def _results(task: dict[str, Any], place: str, remarks: Remarks) -> tuple[list[Any], bool]:
    """The regions of a task, and whether a model made them: its newest annotation counts."""
    for key, by_model in (("annotations", False), ("predictions", True)):
        rows = [
            fields.table(row, f"{place}: {key!r}")
            for row in fields.items(task.get(key) or [], f"{place}: {key!r}")
        ]
        valid = [row for row in rows if not row.get("was_cancelled")]
        if not valid:
            continue
        if len(valid) > 1:
            remarks.add(f"task with several {key}, the newest is taken", place)
        newest = max(valid, key=lambda row: str(row.get("updated_at") or row.get("created_at")))
        return fields.items(newest.get("result") or [], f"{place}: 'result'"), by_model
    return [], False


def _regions(
    results: list[Any], place: str, remarks: Remarks
) -> tuple[tuple[int, int] | None, _Regions]:
    """The image's (height, width), if a region says, and the regions in pixels."""
    size = None
    regions = _Regions()
    for index, value in enumerate(results):
        where = f"{place}: region {index}"
        row = fields.table(value, where)
        kind = row.get("type")
        own = fields.table(row.get("value"), f"{where}: 'value'")
        number = str(row.get("id", index))
        if kind == "choices":
            if HIDDEN_CHOICE in fields.texts(own.get("choices"), f"{where}: 'choices'"):
                regions.hidden.add(number)
            continue
        if kind not in ("rectanglelabels", "keypointlabels"):
            remarks.add(f"region of the kind {fields.cut(str(kind))}, left out", where)
            continue
        if row.get("image_rotation") or own.get("rotation"):
            raise DataError(f"{where} is rotated: turn it upright in Label Studio")
        height, width = (
            fields.whole(row.get(key), f"{where}: {key!r}")
            for key in ("original_height", "original_width")
        )
        if min(height, width) < 1 or max(height, width) > fields.LARGEST_PIXEL:
            raise DataError(f"{where}: the image is {width} x {height} pixels")
        if size not in (None, (height, width)):
            raise DataError(f"{where}: the image has another size than in the regions before")
        size = (height, width)
        x, y = (fields.number(own.get(key), f"{where}: {key!r}") for key in "xy")
        x, y = x / 100 * width, y / 100 * height
        labels = fields.texts(own.get(kind), f"{where}: {kind!r}")
        if len(labels) != 1:
            raise DataError(f"{where}: {len(labels)} labels, not one")
        if kind == "keypointlabels":
            regions.joints.append(_Joint(str(row.get("parentID") or ""), labels[0], x, y, number))
            if own.get("hidden") is True:  # as Label Studio's converter from COCO writes it
                regions.hidden.add(number)
            continue
        sides = [fields.number(own.get(key), f"{where}: {key!r}") for key in ("width", "height")]
        box = [x, y, sides[0] / 100 * width, sides[1] / 100 * height]
        checked = fields.pixels(box, where, 4)
        if labels[0].casefold() == CROWD:
            regions.crowds.append(checked)
        elif labels[0].casefold() == PERSON:
            regions.boxes[number] = checked
        else:
            remarks.add("box of another label, left out", where)
    return size, regions


def _people(
    regions: _Regions, skeleton: Skeleton, place: str, remarks: Remarks
) -> Iterator[LabelledPerson]:
    names = [plain_name(joint) for joint in skeleton.joints]
    keypoints = {number: np.zeros((len(names), 3)) for number in regions.boxes}
    for joint in regions.joints:
        if plain_name(joint.label) not in names:
            raise DataError(
                f"{place}: unknown joint {fields.cut(joint.label)!r}: say what the joints are with"
                " --skeleton"
            )
        at = names.index(plain_name(joint.label))
        parent = joint.parent
        if parent not in keypoints:
            parent = _smallest_around(joint, at, regions.boxes, keypoints)
            if not parent:
                remarks.add("joint that belongs to no person's box, left out", place)
                continue
            remarks.add("joint without a parent, given to the smallest box around it", place)
        if keypoints[parent][at, 2] != UNLABELLED:
            raise DataError(f"{place}: a person has two joints {fields.cut(joint.label)!r}")
        flag = HIDDEN if joint.region in regions.hidden else VISIBLE
        keypoints[parent][at] = [*fields.pixels([joint.x, joint.y], place, 2), flag]
    for number, box in regions.boxes.items():
        yield LabelledPerson(box, keypoints[number])
    for box in regions.crowds:
        yield LabelledPerson(box, np.zeros((len(names), 3)), crowd=True)


def _smallest_around(
    joint: _Joint,
    at: int,
    boxes: dict[str, NDArray[np.float64]],
    keypoints: dict[str, NDArray[np.float64]],
) -> str:
    """The smallest box that a joint lies in and that lacks it; empty if there is none."""
    around = [
        (float(box[2] * box[3]), number)
        for number, box in boxes.items()
        if box[0] <= joint.x <= box[0] + box[2]
        and box[1] <= joint.y <= box[1] + box[3]
        and keypoints[number][at, 2] == UNLABELLED
    ]
    return min(around, default=(0.0, ""))[1]


def _result(image: LabelledImage, skeleton: Skeleton) -> list[dict[str, Any]]:
    height, width = image.size
    common = {
        "to_name": IMAGE,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
    }
    rows: list[dict[str, Any]] = []
    for number, person in enumerate(image.people):
        x, y, wide, high = person.box.tolist()
        parent = f"p{number}"
        value = {
            "x": round(100 * x / width, DECIMALS),
            "y": round(100 * y / height, DECIMALS),
            "width": round(100 * wide / width, DECIMALS),
            "height": round(100 * high / height, DECIMALS),
            "rotation": 0,
            "rectanglelabels": [CROWD if person.crowd else PERSON],
        }
        box = {"id": parent, "from_name": BOXES, "type": "rectanglelabels", "value": value} | common
        rows.append(box if person.score is None else box | {"score": round(person.score, 6)})
        for at, (left, top, flag) in enumerate(person.keypoints.tolist()):
            if flag == UNLABELLED:
                continue
            place = {
                "x": round(100 * left / width, DECIMALS),
                "y": round(100 * top / height, DECIMALS),
                "width": POINT,
            }
            region = {"id": f"{parent}j{at}", "parentID": parent} | common
            named = place | {"keypointlabels": [skeleton.joints[at]]}
            rows.append(region | {"from_name": JOINTS, "type": "keypointlabels", "value": named})
            if flag == HIDDEN:
                chosen = place | {"choices": [HIDDEN_CHOICE]}
                rows.append(region | {"from_name": VISIBILITY, "type": "choices", "value": chosen})
    return rows
