"""CVAT's own format for images, ``CVAT for images 1.1``: people as skeletons, boxes beside them.

A skeleton of CVAT has no box, so a person's box is a rectangle of the label ``person_box`` in the
same group. Regions with many people are rectangles of the label ``crowd``.

Source: https://docs.cvat.ai/docs/manual/advanced/xml_format/ and CVAT's reader and writer of it,
which alone say how skeletons are written (cvat/apps/dataset_manager/formats/cvat.py).
"""

import io
import json
import math
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from rmpe import fields
from rmpe.atomic import atomic
from rmpe.errors import DataError
from rmpe.exchange.labelled import (
    HIDDEN,
    UNLABELLED,
    VISIBLE,
    JointOrder,
    LabelledImage,
    LabelledPerson,
    LabelledSet,
    Remarks,
    box_around,
    by_name,
    order_joints,
)
from rmpe.files import BROKEN_ARCHIVE, parse_xml, read_bytes
from rmpe.skeletons import Skeleton

FILE = "annotations.xml"
LABELS = "labels.json"
PERSON = "person"
BOX = "person_box"
CROWD = "crowd"
LARGEST_XML = 2**30  # bytes, unpacked


def read_cvat(path: Path, skeleton: Skeleton | None) -> LabelledSet:
    """Read annotations for images.

    Args:
        path: The XML file, or the ZIP archive with ``annotations.xml`` that CVAT exports.
        skeleton: The joints; without it one that ships and has joints of these names.

    Raises:
        DataError: If it cannot be read, or is of another kind.
    """
    source = str(path)
    root = parse_xml(_contents(path), source)
    if root.tag != "annotations":
        raise DataError(f"{source}: not a file of CVAT: it begins with <{fields.cut(root.tag)}>")
    if root.find("track") is not None:
        raise DataError(f"{source}: made for videos: export 'CVAT for images 1.1' from CVAT")
    joints = order_joints(_joint_names(root), skeleton, source)
    remarks = Remarks(source)
    images = [_image(one, joints, source, remarks) for one in root.iter("image")]
    by_name(images, source)
    said = [joints.remark] if joints.remark else []
    return LabelledSet(joints.skeleton, tuple(images), (*said, *remarks.lines()))


def write_cvat(labelled: LabelledSet, out: Path) -> list[Path]:
    """Write ``annotations.xml``, and ``labels.json``, which is pasted into a new task's labels.

    Raises:
        OutputError: If one cannot be written.
    """
    with atomic(out / FILE) as file:
        file.write(_xml(labelled).encode())
    with atomic(out / LABELS) as file:
        file.write(json.dumps(labels(labelled), indent=1).encode() + b"\n")
    return [out / FILE, out / LABELS]


def labels(labelled: LabelledSet) -> list[dict[str, Any]]:
    """The labels of a task, as the "Raw" tab of CVAT's label constructor takes them."""
    skeleton = labelled.skeleton
    parts = [
        {"name": joint, "type": "points", "color": _hex(color), "attributes": []}
        for joint, color in zip(skeleton.joints, skeleton.colors, strict=True)
    ]
    person = {
        "name": PERSON,
        "type": "skeleton",
        "color": "#2080f0",
        "attributes": [],
        "svg": _svg(skeleton, _places(labelled)),
        "sublabels": parts,
    }
    boxes = [
        {"name": name, "type": "rectangle", "color": color, "attributes": []}
        for name, color in ((BOX, "#a0a0a0"), (CROWD, "#f02020"))
    ]
    return [person, *boxes]


def _contents(path: Path) -> bytes:
    data = read_bytes(path)
    if not data.startswith(b"PK\x03\x04"):
        return data
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.endswith(".xml")]
            if len(names) != 1:
                raise DataError(f"{path}: {len(names)} XML files in the archive, not one")
            if archive.getinfo(names[0]).file_size > LARGEST_XML:
                raise DataError(f"{path}: {names[0]} is too large")
            return archive.read(names[0])
    except BROKEN_ARCHIVE as error:
        raise DataError(f"{path}: a damaged archive: {error}") from error


def _joint_names(root: Element) -> tuple[str, ...]:
    """The joints in the order of the labels, else of the first skeletons."""
    said = [
        label.findtext("name", "").strip()
        for label in root.iter("label")
        if label.findtext("parent", "").strip()
    ]
    drawn = [
        point.get("label", "") for one in root.iter("skeleton") for point in one.iter("points")
    ]
    return tuple(dict.fromkeys(said or drawn))


def _image(node: Element, joints: JointOrder, source: str, remarks: Remarks) -> LabelledImage:
    name = fields.name(node.get("name"), f"{source}: 'name' of an image")
    place = f"{source}: {name}"
    height, width = (int(_number(node, side, place)) for side in ("height", "width"))
    if min(height, width) < 1:
        raise DataError(f"{place}: 'width' and 'height' are {width} and {height} pixels")
    boxes: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    crowds = []
    for box in node.findall("box"):
        corners = np.array([_number(box, key, place) for key in ("xtl", "ytl", "xbr", "ybr")])
        xywh = np.concatenate([corners[:2], corners[2:] - corners[:2]])
        if box.get("label") == CROWD:
            crowds.append(xywh)
        elif box.get("label") in (BOX, PERSON):
            boxes[box.get("group_id", "0")].append(xywh)
        else:
            remarks.add("box of another label, left out", place)
    people = []
    for shape in node:
        if shape.tag == "skeleton":
            keypoints = _skeleton(shape, joints, place)
        elif shape.tag == "points":
            keypoints = joints.sorted(_points(shape, place), f"{place}: 'points'")
        elif shape.tag != "box":
            remarks.add(f"shape of the kind {fields.cut(shape.tag)}, left out", place)
            continue
        else:
            continue
        group = shape.get("group_id", "0")
        own = boxes[group].pop() if group != "0" and len(boxes[group]) == 1 else None
        if own is None:
            remarks.add("person without a box, taken around the joints", place)
            own = box_around(keypoints)
        people.append(LabelledPerson(own, keypoints))
    nothing = np.zeros((len(joints.skeleton), 3))
    people += [LabelledPerson(box, nothing) for left in boxes.values() for box in left]
    people += [LabelledPerson(box, nothing, crowd=True) for box in crowds]
    return LabelledImage(name, (height, width), tuple(people))


def _skeleton(node: Element, joints: JointOrder, place: str) -> NDArray[np.float64]:
    """A skeleton's joints: those outside are not labelled, those occluded are hidden."""
    keypoints = np.zeros((len(joints.names), 3))
    seen = set()
    for point in node.iter("points"):
        label = point.get("label", "")
        if label not in joints.names:
            raise DataError(f"{place}: unknown joint {fields.cut(label)!r}")
        if label in seen:
            raise DataError(f"{place}: a person has two joints {fields.cut(label)!r}")
        seen.add(label)
        places = _points(point, place)
        if len(places) != 1:
            raise DataError(f"{place}: joint {fields.cut(label)!r} is {len(places)} points")
        if point.get("outside") != "1":
            flag = HIDDEN if point.get("occluded") == "1" else VISIBLE
            keypoints[joints.names.index(label)] = [*places[0, :2], flag]
    return joints.sorted(keypoints, place)


def _points(node: Element, place: str) -> NDArray[np.float64]:
    """Points ``(N, 3)``, all of them visible."""
    numbers = []
    for pair in node.get("points", "").split(";"):
        try:
            numbers += [*map(float, pair.split(",")), float(VISIBLE)]
        except ValueError as error:
            raise DataError(f"{place}: 'points' are not numbers: {error}") from error
    return fields.triples(numbers, f"{place}: 'points'")


def _number(node: Element, key: str, place: str) -> float:
    try:
        value = float(node.get(key, ""))
    except ValueError as error:
        raise DataError(f"{place}: {key!r} of <{node.tag}> is missing or no number") from error
    if not math.isfinite(value) or abs(value) > fields.LARGEST_PIXEL:
        raise DataError(f"{place}: {key!r} of <{node.tag}> is {value:g}")
    return value


def _xml(labelled: LabelledSet) -> str:
    skeleton = labelled.skeleton
    source = "auto" if labelled.predicted else "manual"
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<annotations>",
        "  <version>1.1</version>",
        "  <meta>",
        "    <task>",
        "      <name>rmpe</name>",
        f"      <size>{len(labelled.images)}</size>",
        "      <mode>annotation</mode>",
        "      <labels>",
    ]
    for label in labels(labelled):
        lines += _label(label["name"], label["type"], label.get("svg", ""))
        for part in label.get("sublabels", ()):
            lines += _label(part["name"], part["type"], parent=label["name"])
    lines += ["      </labels>", "    </task>", "  </meta>"]
    group = 0
    for number, image in enumerate(labelled.images):
        height, width = image.size
        name = quoteattr(image.name)
        lines.append(f'  <image id="{number}" name={name} width="{width}" height="{height}">')
        for person in image.people:
            group += 1
            lines += _person(person, skeleton, group, source)
        lines.append("  </image>")
    return "\n".join([*lines, "</annotations>", ""])


def _label(name: str, kind: str, svg: str = "", parent: str = "") -> list[str]:
    return [
        "        <label>",
        f"          <name>{escape(name)}</name>",
        f"          <type>{kind}</type>",
        "          <attributes></attributes>",
        *([f"          <svg>{escape(svg)}</svg>"] if svg else []),
        *([f"          <parent>{escape(parent)}</parent>"] if parent else []),
        "        </label>",
    ]


def _person(person: LabelledPerson, skeleton: Skeleton, group: int, source: str) -> list[str]:
    low = person.box[:2]
    high = low + person.box[2:]
    corners = f'xtl="{low[0]:.2f}" ytl="{low[1]:.2f}" xbr="{high[0]:.2f}" ybr="{high[1]:.2f}"'
    label = CROWD if person.crowd else BOX
    shape = f'source="{source}" occluded="0" {corners} z_order="0" group_id="{group}"'
    lines = [f'    <box label="{label}" {shape}></box>']
    if person.crowd or not person.labelled:
        return lines
    lines.append(
        f'    <skeleton label="{PERSON}" source="{source}" z_order="0" group_id="{group}">'
    )
    middle = low + person.box[2:] / 2
    for joint, (x, y, flag) in zip(skeleton.joints, person.keypoints, strict=True):
        # A joint that is not labelled still has a place, from where it can be drawn to its own.
        place = middle if flag == UNLABELLED else np.array([x, y])
        lines.append(
            f'      <points label={quoteattr(joint)} source="{source}"'
            f' outside="{int(flag == UNLABELLED)}" occluded="{int(flag == HIDDEN)}"'
            f' points="{place[0]:.2f},{place[1]:.2f}"></points>'
        )
    return [*lines, "    </skeleton>"]


def _places(labelled: LabelledSet) -> list[list[float]]:
    """Where a new person's joints begin, in a square of 100: the mean of the set's people.

    A joint that nobody has begins on a circle.
    """
    count = len(labelled.skeleton)
    turn = 2 * np.pi * np.arange(count) / count
    places = 50 + 40 * np.stack([np.sin(turn), -np.cos(turn)], axis=1)
    people = [
        person
        for image in labelled.images
        for person in image.people
        if person.labelled and person.box[2:].min() > 0
    ]
    if people:
        points = np.stack([person.keypoints[:, :2] for person in people])
        seen = np.stack([person.keypoints[:, 2] > UNLABELLED for person in people])
        boxes = np.stack([person.box for person in people])[:, None]
        shares = np.clip((points - boxes[..., :2]) / boxes[..., 2:], 0, 1)
        times = seen.sum(axis=0)
        means = (shares * seen[..., None]).sum(axis=0) / np.maximum(times, 1)[:, None]
        places = np.where((times > 0)[:, None], 10 + 80 * means, places)
    found: list[list[float]] = places.round(2).tolist()
    return found


def _svg(skeleton: Skeleton, places: list[list[float]]) -> str:
    """The skeleton as CVAT's label constructor draws it: joints as circles, limbs as lines."""
    lines = [
        f'<line x1="{places[start][0]}" y1="{places[start][1]}" x2="{places[end][0]}"'
        f' y2="{places[end][1]}" stroke="black" data-type="edge" data-node-from="{start + 1}"'
        f' stroke-width="0.5" data-node-to="{end + 1}"></line>'
        for start, end in skeleton.limbs
    ]
    circles = [
        f'<circle r="1.5" stroke="black" fill="#b3b3b3" cx="{x}" cy="{y}" stroke-width="0.1"'
        f' data-type="element node" data-element-id="{at}" data-node-id="{at}"'
        f" data-label-name={quoteattr(joint)}></circle>"
        for at, (joint, (x, y)) in enumerate(zip(skeleton.joints, places, strict=True), 1)
    ]
    return "".join([*lines, *circles])


def _hex(color: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in color)
