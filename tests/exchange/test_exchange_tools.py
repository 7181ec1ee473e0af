"""The files of `rmpe dataset`, read by the labelling tools' and trainers' own libraries.

The libraries want other versions of numpy, pandas and OpenCV than rmpe's, so they are in no extra:
install them in an environment of their own beside ``rmpe[exchange]`` and pytest, one or all:
``pip install label-studio-sdk datumaro cvat-sdk ultralytics``.
"""

import json

import numpy as np
import pytest
from test_exchange import COCO, GLOVE, made_set

from rmpe.exchange.convert import ExchangeOptions, write_data_set

OPTIONS = ExchangeOptions(copy_images=True)
NAMES = ("a.png", "b.png", "c.png")
each_skeleton = pytest.mark.parametrize("skeleton", [COCO, GLOVE], ids=str)


def numbers(path):
    return [[float(word) for word in line.split()] for line in path.read_text().splitlines()]


@each_skeleton
def test_label_studio_exports_our_tasks_as_we_do(skeleton, tmp_path):
    """Its converter makes YOLO files of our tasks by our interface: the same as our own."""
    converter = pytest.importorskip("label_studio_sdk.converter")
    made = made_set(skeleton, tmp_path / "photos", NAMES)
    write_data_set(made, "label-studio", tmp_path / "tasks", OPTIONS)
    write_data_set(made, "yolo", tmp_path / "yolo", OPTIONS)
    file = tmp_path / "tasks" / "tasks.json"
    tasks = [task | {"id": number} for number, task in enumerate(json.loads(file.read_text()))]
    file.write_text(json.dumps(tasks))  # a project numbers its tasks
    config = (tmp_path / "tasks" / "config.xml").read_text()
    theirs = converter.Converter(config, str(tmp_path), download_resources=False)
    theirs.convert_to_yolo(str(file), str(tmp_path / "theirs"), is_dir=False)
    for image in made.images:
        stem = image.name.removesuffix(".png")
        own = numbers(tmp_path / "yolo" / "labels" / f"{stem}.txt")
        found = numbers(next((tmp_path / "theirs" / "labels").glob(f"*{stem}.txt")))
        found = [row for row in found if row[0] == 0]  # the others are crowds
        for ours in own:
            ours[7::3] = [2.0 if flag else 0.0 for flag in ours[7::3]]  # it does not export hidden
        assert np.allclose(np.array(found), np.array(own), atol=1e-6)
        assert len(found) == len(own)


def test_datumaro_reads_coco(tmp_path):
    datumaro = pytest.importorskip("datumaro")
    made = made_set(COCO, tmp_path / "photos", NAMES)
    folder = tmp_path / "set" / "annotations"
    write_data_set(made, "coco", folder, OPTIONS)
    (folder / "annotations.json").rename(folder / "person_keypoints_default.json")
    (folder / "images").rename(tmp_path / "set" / "images")
    found = datumaro.Dataset.import_from(str(tmp_path / "set"), "coco_person_keypoints")
    assert list(found.categories()[datumaro.AnnotationType.points].items[0].labels) == [
        *COCO.joints
    ]
    for image in made.images:
        item = found.get(image.name.removesuffix(".png"))
        people = [one for one in item.annotations if one.type == datumaro.AnnotationType.points]
        labelled = [person for person in image.people if person.labelled]
        there = [np.reshape(one.points, (-1, 2)) for one in people if any(one.points)]
        key = lambda points: points.tolist()  # noqa: E731
        wanted = sorted((person.keypoints[:, :2] for person in labelled), key=key)
        for one, other in zip(sorted(there, key=key), wanted, strict=True):
            assert np.allclose(one, other, atol=0.01)


def test_datumaro_reads_cvat(tmp_path):
    """Its reader of CVAT's XML knows boxes and points; it takes a skeleton's joints one by one."""
    datumaro = pytest.importorskip("datumaro")
    made = made_set(COCO, tmp_path / "photos", NAMES)
    write_data_set(made, "cvat", tmp_path / "cvat", OPTIONS)
    found = datumaro.Dataset.import_from(str(tmp_path / "cvat"), "cvat")
    labels = [label.name for label in found.categories()[datumaro.AnnotationType.label]]
    assert labels[0] == "person"
    items = {item.id: item for item in found}
    for image in made.images:
        item = items[image.name.removesuffix(".png")]
        boxes = [one for one in item.annotations if one.type == datumaro.AnnotationType.bbox]
        there = sorted([*one.get_bbox(), labels[one.label] == "crowd"] for one in boxes)
        wanted = sorted([*person.box, person.crowd] for person in image.people)
        assert np.allclose(np.array(there), np.array(wanted), atol=0.01)


@each_skeleton
def test_cvat_takes_our_labels(skeleton, tmp_path):
    models = pytest.importorskip("cvat_sdk.models")
    made = made_set(skeleton, tmp_path / "photos", NAMES)
    write_data_set(made, "cvat", tmp_path / "cvat", OPTIONS)
    labels = json.loads((tmp_path / "cvat" / "labels.json").read_text())
    taken = [models.PatchedLabelRequest._from_openapi_data(**label) for label in labels]
    assert [str(label.type) for label in taken] == ["skeleton", "rectangle", "rectangle"]
    assert [part["name"] for part in taken[0].sublabels] == [*skeleton.joints]


@each_skeleton
def test_ultralytics_reads_yolo(skeleton, tmp_path, monkeypatch):
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    utils = pytest.importorskip("ultralytics.data.utils")
    made = made_set(skeleton, tmp_path / "photos", NAMES)
    write_data_set(made, "yolo", tmp_path / "yolo", OPTIONS)
    data = utils.check_det_dataset(str(tmp_path / "yolo" / "data.yaml"), autodownload=False)
    assert data["kpt_shape"] == [len(skeleton), 3]
    assert data["kpt_names"] == {0: [*skeleton.joints]}
    files = [str(tmp_path / "yolo" / "images" / image.name) for image in made.images]
    for file, image in zip(files, made.images, strict=True):
        label = utils.img2label_paths([file])[0]
        found = utils.verify_image_label((file, label, "", True, 1, len(skeleton), 3, False))
        assert found[9] == "", found[9]  # what it has to say
        boxes, joints = found[1], found[4]
        people = [person for person in image.people if not person.crowd]
        assert len(boxes) == len(people)
        scale = np.array([160, 120])
        middles = [person.box[:2] + person.box[2:] / 2 for person in people]
        if people:
            assert np.allclose(boxes[:, 1:3] * scale, middles, atol=0.01)
            found_joints = joints * [*scale, 1]
            wanted = np.array([person.keypoints for person in people])
            assert np.allclose(found_joints, wanted, atol=0.01)
