"""The made crowds of the benchmarks: who is where, and that a seed decides everything."""

import cv2
import numpy as np
import pytest

from benchmarks.crowds.collages import IOUS, SKELETON, Pool, make
from rmpe.boxes import Boxes, iou
from rmpe.datasets.persons import ABSENT, HIDDEN, PersonReader
from rmpe.files import read_json

COLORS = [(255, 40, 40), (40, 255, 40), (40, 40, 255), (255, 255, 40), (40, 255, 255)]
SHAPE = {  # shares of a box
    "nose": (0.5, 0.08), "left_shoulder": (0.75, 0.25), "right_shoulder": (0.25, 0.25),
    "left_elbow": (0.9, 0.4), "right_elbow": (0.1, 0.4), "left_hip": (0.65, 0.55),
    "right_hip": (0.35, 0.55), "left_knee": (0.7, 0.75), "right_knee": (0.3, 0.75),
    "left_ankle": (0.7, 0.95), "right_ankle": (0.3, 0.95),
}  # fmt: skip


@pytest.fixture
def people(tmp_path):
    """One person a photo, each of one colour; the last photo also has a neighbour."""
    reader = PersonReader(SKELETON)
    for number, color in enumerate(COLORS):
        path = tmp_path / f"{number}.png"
        photo = np.full((400, 500, 3), 20, np.uint8)
        boxes = [(200, 100, 290, 300)] + ([(230, 120, 320, 300)] if number == 4 else [])
        for place, box in enumerate(boxes):
            keypoints = np.zeros((17, 3))
            for name, share in SHAPE.items():
                x, y = np.array(box[:2]) + share * (np.array(box[2:]) - box[:2])
                keypoints[SKELETON.joints.index(name)] = x, y, 2
                cv2.circle(photo, (round(x), round(y)), 9, color[::-1], -1)
            if place == 0:
                reader.add_image(_written(path, photo), photo.shape[:2])
            reader.add_person(path, box, keypoints, 10 * number + place)
    return reader.finish()


def _written(path, photo):
    cv2.imwrite(str(path), photo)
    return path


def test_only_people_who_stand_alone_are_used(people):
    assert [int(people.ids[person]) for person in Pool(people).alone] == [0, 10, 20, 30]


def test_a_made_photo_knows_its_people(people, tmp_path):
    data = read_json(make(Pool(people), tmp_path / "out", 12, seed=3))
    assert len(data["images"]) == 12
    sizes = set()
    hidden = seen = 0
    for image in data["images"]:
        photo = cv2.imread(str(tmp_path / "out/images" / image["file_name"]))[..., ::-1].astype(int)
        assert photo.shape[:2] == (image["height"], image["width"])
        group = [one for one in data["annotations"] if one["image_id"] == image["id"]]
        sizes.add(len(group))
        boxes = Boxes.from_xywh([one["bbox"] for one in group]).xyxy
        overlaps = np.triu(iou(boxes, boxes), 1)
        assert overlaps.max() <= IOUS[1] + 0.01
        # Whoever is pasted lies beside somebody who was there before.
        assert (overlaps.max(axis=0)[1:] >= IOUS[0] - 0.01).all()
        for one in group:
            joints = np.array(one["keypoints"]).reshape(17, 3)
            hidden += int((joints[:, 2] == HIDDEN).sum())
            known = joints[joints[:, 2] > HIDDEN]
            assert one["num_keypoints"] == (joints[:, 2] > ABSENT).sum() == len(SHAPE)
            inside = (known[:, :2] >= 0).all(axis=1) & (known[:, :2] < photo.shape[1::-1]).all(
                axis=1
            )
            colors = np.array([photo[round(y), round(x)] for x, y, _ in known[inside]])
            nearest = np.abs(colors[:, None] - COLORS).sum(axis=2).argmin(axis=1)
            seen += np.mean(nearest == np.bincount(nearest).argmax()) > 0.8
    assert sizes == {2, 3}
    assert hidden > 10
    assert seen > 0.9 * len(data["annotations"])


def test_a_seed_makes_the_same_photos(people, tmp_path):
    pool = Pool(people)
    files = [make(pool, tmp_path / name, 2, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    first, again, other = (file.read_bytes() for file in files)
    assert first == again
    assert first != other
    photo = "images/000001.jpg"
    assert (tmp_path / "a" / photo).read_bytes() == (tmp_path / "b" / photo).read_bytes()
