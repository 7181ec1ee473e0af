"""The doors of labelling tools' and other trainers' data sets."""

import json
import random
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from rmpe.exchange.convert import ExchangeOptions, read_data_set, write_data_set
from rmpe.exchange.labelled import LabelledImage, LabelledPerson, LabelledSet
from rmpe.skeletons import load_skeleton

from .data_files import Consume, broken_by, coco, results
from .driver import Kind
from .structures import damaged, to_json

COCO = load_skeleton("coco17")
SIZE = (120, 160)
PNG = cv2.imencode(".png", np.zeros((*SIZE, 3), np.uint8))[1].tobytes()
WORDS = (
    b"nan", b"inf", b"-1", b"0", b"1e999", b"", b"x", b"99999999999", b"person", b"crowd", b"nose",
    b"1,2;3", b"1,2,3", b"\xc3\xa4", b"&amp;", b"..",
)  # fmt: skip


def labelled() -> LabelledSet:
    """Two images, a person with hidden joints, one with a box only, a crowd."""
    points = np.array([[20.0 + 3 * joint, 30.0 + 2 * joint, joint % 3] for joint in range(17)])
    points[points[:, 2] == 0] = 0
    nobody = np.zeros((17, 3))
    box = np.array([10.0, 20, 60, 80])
    people = (
        LabelledPerson(box, points),
        LabelledPerson(box + 5, nobody),
        LabelledPerson(box, nobody, crowd=True),
    )
    return LabelledSet(COCO, (LabelledImage("1.png", SIZE, people), LabelledImage("2.png", SIZE)))


def written(kind: Any, name: str) -> bytes:
    """A sound file as `rmpe dataset` writes it."""
    with tempfile.TemporaryDirectory() as folder:
        write_data_set(labelled(), kind, Path(folder), ExchangeOptions())
        return (Path(folder) / name).read_bytes()


def reworded(generator: random.Random, data: bytes) -> bytes:
    """Some words of a text changed, doubled or dropped; sometimes broken as bytes, too."""
    parts = data.replace(b'"', b' " ').split(b" ") if b'"' in data else data.split(b" ")
    for _ in range(generator.choice((0, 1, 1, 2, 5))):
        at = generator.randrange(len(parts))
        parts[at] = generator.choice((*WORDS, parts[at] * 2, generator.choice(parts)))
    result = b" ".join(parts).replace(b' " ', b'"')
    return damaged(generator, result) if generator.random() < 0.2 else result


def _use(folder: Path, source: Path) -> None:
    """Read a set and write it in every format."""
    options = ExchangeOptions(images=folder)
    found = read_data_set(source, options)
    for kind in ("coco", "yolo", "cvat", "label-studio"):
        write_data_set(found, kind, folder / "out" / kind, options)


def _file(name: str, folder: Path, data: bytes) -> None:
    path = folder / name
    (folder / "2.png").write_bytes(PNG)  # nothing else says how large it is
    path.write_bytes(data)
    _use(folder, path)


def _predicted(folder: Path, data: bytes) -> None:
    images = [{"id": n, "file_name": f"{n}.png", "height": 120, "width": 160} for n in (1, 2, 3)]
    (folder / "images.json").write_text(json.dumps(images))
    (folder / "coco.json").write_bytes(data)
    _use(folder, folder)


def _yolo(which: str, folder: Path, data: bytes) -> None:
    files = {
        "data.yaml": written("yolo", "data.yaml"),
        "labels/1.txt": written("yolo", "labels/1.txt"),
    }
    for name, contents in (files | {which: data, "images/1.png": PNG}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(contents)
    _use(folder, folder / "data.yaml")


def to_yaml(data: Any) -> bytes:
    """YAML of a document."""
    return yaml.safe_dump(data, allow_unicode=True).encode("utf-8", "surrogatepass")


def exchange_kinds() -> list[Kind]:
    """All formats that `rmpe dataset` reads."""
    tasks = json.loads(written("label-studio", "tasks.json"))
    described = yaml.safe_load(written("yolo", "data.yaml"))

    def made(name: str, seed: Any, write: Callable[[Any], bytes], consume: Consume) -> Kind:
        return Kind(name, lambda: [seed], partial(broken_by, write), consume)

    def text(name: str, seed: bytes, consume: Consume) -> Kind:
        return Kind(name, lambda: [seed], reworded, consume)

    return [
        made("dataset-coco", coco(), to_json, partial(_file, "a.json")),
        made("dataset-predicted", results(coco()), to_json, _predicted),
        made("dataset-label-studio", tasks, to_json, partial(_file, "a.json")),
        made("dataset-yaml", described, to_yaml, partial(_yolo, "data.yaml")),
        text("dataset-labels", written("yolo", "labels/1.txt"), partial(_yolo, "labels/1.txt")),
        text("dataset-cvat", written("cvat", "annotations.xml"), partial(_file, "a.xml")),
    ]
