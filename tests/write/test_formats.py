"""Every output format, read back as its readers do."""

import csv
import json
import sys

import numpy as np
import pytest
from test_journal import people, record

from rmpe.poses import Poses
from rmpe.skeletons import load_skeleton, skeleton_names
from rmpe.write import FORMATS, alphapose, coco, openpose, table
from rmpe.write.journal import JournalRecord

COCO17 = load_skeleton("coco17")
RECORDS = [record(3), record(7, 0), record(20, 3)]


def test_coco_is_read_by_the_coco_tools(tmp_path):
    pycocotools = pytest.importorskip("pycocotools.coco")
    path = coco.write(iter(RECORDS), COCO17, tmp_path)
    truth = pycocotools.COCO()
    truth.dataset = {
        "images": [{"id": item.image_id} for item in RECORDS],
        "categories": [{"id": 1}],
    }
    truth.createIndex()
    results = truth.loadRes(str(path))
    for item in RECORDS:
        found = results.loadAnns(results.getAnnIds(imgIds=[item.image_id]))
        assert len(found) == len(item.poses)
        for person, answer in enumerate(found):
            rows = np.array(answer["keypoints"]).reshape(17, 3)
            left, top, width, height = answer["bbox"]
            expected = np.nan_to_num(item.poses.keypoints[person])
            assert np.allclose(rows[:, :2], expected, atol=1e-3)
            assert np.allclose(rows[:, 2], item.poses.keypoint_scores[person], atol=1e-3)
            assert np.allclose(
                [left, top, left + width, top + height], item.poses.boxes[person], atol=2e-3
            )
            assert answer["score"] == pytest.approx(item.poses.scores[person], abs=1e-6)
            assert answer["category_id"] == 1


def test_coco_scores_its_own_annotations_perfectly(tmp_path, data_root):
    """Annotations written as results have AP 1 in pycocotools: ids, order and frame are right."""
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    from pycocotools.coco import COCO

    truth = COCO(str(data_root / "data/coco-val/annotations.json"))
    records = []
    for image_id in sorted(truth.imgs)[:60]:
        known = [
            person
            for person in truth.imgToAnns[image_id]
            if person["num_keypoints"] and not person["iscrowd"]
        ]
        rows = np.array([person["keypoints"] for person in known], float).reshape(-1, 17, 3)
        boxes = np.array([person["bbox"] for person in known], float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        seen = rows[..., 2] > 0
        points = np.where(seen[..., None], rows[..., :2], np.nan)
        poses = Poses(points, seen, np.full(len(known), 0.5), boxes, COCO17)
        size = truth.imgs[image_id]["height"], truth.imgs[image_id]["width"]
        records.append(
            JournalRecord(
                image_id, truth.imgs[image_id]["file_name"], str(image_id), "x", size, poses
            )
        )
    results = truth.loadRes(str(coco.write(records, COCO17, tmp_path)))
    score = evaluation.COCOeval(truth, results, "keypoints")
    score.params.imgIds = [item.image_id for item in records]
    score.evaluate()
    score.accumulate()
    score.summarize()
    assert score.stats[0] == pytest.approx(1)


def test_images_list_names_every_image(tmp_path):
    images = json.loads(coco.write_images(iter(RECORDS), tmp_path).read_text())
    assert [image["id"] for image in images] == [3, 7, 20]
    assert images[1] == {
        "id": 7, "file_name": "folder/ä 7.jpg", "path": "/photos/folder/ä 7.jpg",
        "height": 480, "width": 640,
    }  # fmt: skip


def test_alphapose_groups_by_file_name(tmp_path):
    people_of = {}
    for person in json.loads(alphapose.write(iter(RECORDS), COCO17, tmp_path).read_text()):
        people_of.setdefault(person["image_id"], []).append(person)
    assert {name: len(found) for name, found in people_of.items()} == {
        "folder/ä 3.jpg": 2,
        "folder/ä 20.jpg": 3,
    }
    poses = RECORDS[2].poses
    for index, person in enumerate(people_of["folder/ä 20.jpg"]):
        rows = np.array(person["keypoints"]).reshape(-1, 3)
        assert np.allclose(rows[:, :2], np.nan_to_num(poses.keypoints[index]), atol=1e-3)
        x, y, width, height = person["box"]
        assert np.allclose([x, y, x + width, y + height], poses.boxes[index], atol=2e-3)
        assert person["category_id"] == 1 and 0 <= person["score"] <= 1
        assert person.get("idx", -1) == poses.track_ids[index]


def test_openpose_has_one_file_an_image(tmp_path):
    folder = openpose.write(iter(RECORDS), COCO17, tmp_path)
    files = {
        path.relative_to(folder).as_posix(): json.loads(path.read_text())
        for path in folder.rglob("*.json")
    }
    assert sorted(files) == [f"folder/ä {number}_keypoints.json" for number in (20, 3, 7)]
    assert files["folder/ä 7_keypoints.json"]["people"] == []
    found = files["folder/ä 20_keypoints.json"]["people"]
    poses, rows = (
        RECORDS[2].poses,
        np.array([person["pose_keypoints_2d"] for person in found]).reshape(-1, 25, 3),
    )
    nose, right_wrist, left_ankle = 0, 4, 14  # BODY_25's own numbers
    for theirs, ours in ((nose, 0), (right_wrist, 10), (left_ankle, 15)):
        assert np.allclose(rows[:, theirs, :2], poses.keypoints[:, ours], atol=1e-3)
        assert np.allclose(rows[:, theirs, 2], poses.keypoint_scores[:, ours], atol=1e-3)
    neck, mid_hip = 1, 8
    assert np.allclose(rows[:, neck, :2], poses.keypoints[:, 5:7].mean(axis=1), atol=1e-3)
    assert np.allclose(rows[:, mid_hip, :2], poses.keypoints[:, 11:13].mean(axis=1), atol=1e-3)
    assert np.allclose(rows[:, neck, 2], poses.keypoint_scores[:, 5:7].min(axis=1), atol=1e-3)
    assert (
        not rows[:, 18].any() and not rows[:, 19:].any()
    )  # left ear is missing here, feet always are
    assert all(person["hand_left_keypoints_2d"] == [] for person in found)


@pytest.mark.parametrize("name", skeleton_names())
def test_openpose_takes_what_each_skeleton_has(name):
    skeleton = load_skeleton(name)
    joints = len(skeleton)
    points = np.arange(joints * 2, dtype=float).reshape(1, joints, 2) + 1
    poses = Poses(points, np.full((1, joints), 0.5), [1], [[0, 0, 9, 9]], skeleton)
    rows = openpose.body_25(poses)[0]
    for index, joint in enumerate(openpose.BODY_25):
        if joint in skeleton.joints:
            assert np.allclose(rows[index, :2], points[0, skeleton.joints.index(joint)])
    if name == "hand21":
        assert not rows.any()
        return
    neck = [index for index, joint in enumerate(skeleton.joints) if joint.endswith("neck")]
    shoulders = [skeleton.joints.index(f"{side}_shoulder") for side in ("left", "right")]
    assert np.allclose(rows[1, :2], points[0, neck or shoulders].mean(axis=0))


def test_openpose_middle_of_one_shoulder_is_missing():
    poses = people(1)
    points, scores = poses.keypoints.copy(), poses.keypoint_scores.copy()
    points[:, 5], scores[:, 5] = np.nan, 0
    rows = openpose.body_25(Poses(points, scores, poses.scores, poses.boxes, COCO17))
    assert not rows[:, 1].any() and rows[:, 8].any()


def test_table_has_one_row_a_person(tmp_path):
    path = table.write(iter(RECORDS), COCO17, tmp_path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 and len(rows[0]) == 12 + 3 * 17
    assert [(row["image_id"], row["person"]) for row in rows] == [
        ("3", "0"), ("3", "1"), ("20", "0"), ("20", "1"), ("20", "2")
    ]  # fmt: skip
    poses, last = RECORDS[2].poses, rows[-1]
    assert (
        last["file_name"] == "folder/ä 20.jpg"
        and last["track_id"] == "1"
        and rows[0]["track_id"] == ""
    )
    assert float(last["left_wrist_x"]) == pytest.approx(poses.keypoints[2, 9, 0], abs=1e-3)
    assert float(last["y2"]) == pytest.approx(poses.boxes[2, 3], abs=1e-3)
    assert last["left_ear_x"] == last["left_ear_y"] == "" and float(last["left_ear_score"]) == 0


@pytest.mark.parametrize("form", list(FORMATS))
@pytest.mark.parametrize("name", ["coco17", "mpii16"])
def test_nothing_to_write(tmp_path, form, name):
    path = FORMATS[form]([], load_skeleton(name), tmp_path)
    if path.suffix == ".json":
        data = json.loads(path.read_text())
        assert (data["annotations"] if isinstance(data, dict) else data) == []
    elif path.suffix == ".csv":
        assert len(path.read_text().splitlines()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("form", list(FORMATS))
def test_names_that_are_not_unicode_survive(tmp_path, form):
    """File names on Linux are bytes; Python shows those that are not UTF-8 as lone surrogates."""
    strange = JournalRecord(1, "p/\udcff.jpg", "p/\udcff", "/p/\udcff.jpg", (4, 4), people(1))
    FORMATS[form]([strange], COCO17, tmp_path)
    coco.write_images([strange], tmp_path)
    assert json.loads((tmp_path / "images.json").read_text())[0]["file_name"] == strange.file_name
