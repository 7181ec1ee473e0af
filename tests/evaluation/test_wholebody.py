"""COCO-WholeBody: figures equal those of a slow plain evaluation; writers and skeletons agree."""

import json

import numpy as np
import pytest

pytest.importorskip("hotcoco")

from rmpe.draw import draw_poses, joint_thickness
from rmpe.errors import DataError, OutputError
from rmpe.evaluation.benchmarks import wholebody_keypoints
from rmpe.evaluation.protocols.wholebody import REPORTED
from rmpe.poses import Poses
from rmpe.skeletons import load_skeleton
from rmpe.write import coco_wholebody, openpose
from rmpe.write.coco_wholebody import PARTS, split_parts
from rmpe.write.journal import JournalRecord

WHOLE = load_skeleton("wholebody133")
SIGMAS = np.array(WHOLE.sigmas)
SIZES = {key: part.stop - part.start for key, part in PARTS.items()}


def made_files(folder, seed, images=12):
    """Annotations and results: some people unfound, some parts unlabelled, a crowd, false ones."""
    chance = np.random.default_rng(seed)
    annotations, results = [], []
    for image in range(1, images + 1):
        for _ in range(chance.integers(0, 4)):
            area = float(chance.uniform(2000, 40000))
            points = chance.uniform(0, 400, (133, 2))
            seen = (chance.random(133) < 0.8).astype(int) * 2
            for part in PARTS.values():
                seen[part] *= chance.random() < 0.7
            crowd = int(chance.random() < 0.1)
            rows = np.concatenate([points * (seen[:, None] > 0), seen[:, None]], axis=1)
            whole = {"keypoints": rows.ravel().tolist()}
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": 1, "area": area}
                | {"bbox": [0.0, 0.0, 400.0, 400.0], "iscrowd": crowd}
                | split_parts(whole)
            )
            for _ in range(chance.integers(0, 3)):
                noise = chance.normal(0, chance.uniform(0.5, 4), (133, 2))
                scores = chance.random((133, 1)) * (chance.random(133) < 0.95)[:, None]
                found = np.concatenate([points + noise * np.sqrt(area) * 0.02, scores], axis=1)
                result = {"image_id": image, "category_id": 1, "score": float(chance.random())}
                results.append(result | split_parts({"keypoints": found.ravel().tolist()}))
                if chance.random() < 0.3:
                    results[-1]["foot_score"] = float(chance.random())
                if chance.random() < 0.2:
                    results[-1]["face_kpts"] = [0.0] * 204
    data = {
        "images": [{"id": i, "width": 400, "height": 400, "file_name": f"{i}.jpg"}
                   for i in range(1, images + 1)],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }  # fmt: skip
    truth = folder / "truth.json"
    answers = folder / "answers.json"
    truth.write_text(json.dumps(data))
    answers.write_text(json.dumps(results))
    return truth, answers


def plain_ap(truth, answers, keys, score):
    """AP as COCO's paper pages say it, one loop a step."""
    data = json.loads(truth.read_text())
    sigmas = np.concatenate([SIGMAS[PARTS[key]] for key in keys])
    take = lambda row: np.array([n for key in keys for n in row[key]]).reshape(-1, 3)  # noqa: E731
    precisions = []
    for threshold in np.linspace(0.5, 0.95, 10):
        marks = []
        people = 0
        for image in data["images"]:
            persons = [a for a in data["annotations"] if a["image_id"] == image["id"]]
            ignored = [a["iscrowd"] or not (take(a)[:, 2] > 0).any() for a in persons]
            order = np.argsort(ignored, kind="stable")
            people += len(persons) - sum(ignored)
            found = [r for r in json.loads(answers.read_text()) if r["image_id"] == image["id"]]
            if keys != ("keypoints",):
                found = [r for r in found if (take(r)[:, 2] > 0).any()]
            found.sort(key=lambda r: -r.get(score, r["score"]))
            taken = set()
            for result in found[:20]:
                best, match = min(threshold, 1 - 1e-10), None
                for index in order:
                    if index in taken and not persons[index]["iscrowd"]:
                        continue
                    if match is not None and not ignored[match] and ignored[index]:
                        break
                    similarity = plain_oks(
                        take(persons[index]), take(result), persons[index], sigmas
                    )
                    if similarity >= best:
                        best, match = similarity, index
                if match is not None:
                    taken.add(match)
                if match is None or not ignored[match]:
                    marks.append((result.get(score, result["score"]), match is not None))
        if not people:
            return -1.0
        marks.sort(key=lambda mark: -mark[0])
        hits = np.cumsum([hit for _, hit in marks])
        precision = hits / np.arange(1, len(marks) + 1)
        recall = hits / people
        precisions.append(
            np.mean(
                [max(precision[recall >= r - 1e-15], default=0) for r in np.linspace(0, 1, 101)]
            )
        )
    return float(np.mean(precisions))


def plain_oks(truth, points, person, sigmas):
    labelled = truth[:, 2] > 0
    difference = points[:, :2] - truth[:, :2]
    if not labelled.any():  # distance to twice the box
        x, y, width, height = person["bbox"]
        low = np.array([x - width, y - height])
        high = np.array([x + 2 * width, y + 2 * height])
        inside = np.maximum(low - points[:, :2], 0) + np.maximum(points[:, :2] - high, 0)
        difference, labelled = inside, np.ones(len(points), bool)
    squared = (difference**2).sum(axis=1)
    error = squared / (2 * sigmas) ** 2 / (person["area"] + np.spacing(1)) / 2
    return np.exp(-error[labelled]).mean()


@pytest.mark.parametrize("seed", [0, 1])
def test_figures_are_those_of_a_plain_evaluation(tmp_path, seed):
    truth, answers = made_files(tmp_path, seed)
    measured = wholebody_keypoints(truth, answers)
    expected = {part: plain_ap(truth, answers, (key,), score)
                for part, (key, score) in REPORTED.items()}  # fmt: skip
    got = measured.figures["by_part"]["AP"]
    assert got == pytest.approx(
        expected | {"hands": (expected["left_hand"] + expected["right_hand"]) / 2}, abs=1e-9
    )
    whole = plain_ap(truth, answers, tuple(PARTS), "wholebody_score")
    assert measured.figures["AP"] == pytest.approx(whole, abs=1e-9)
    assert measured.headline(np.ones(measured.units)) == pytest.approx(whole, abs=1e-9)
    assert 0.01 < whole < 0.95


def test_figures_are_those_of_a_library(tmp_path):
    library = pytest.importorskip("xthotcoco")
    truth, answers = made_files(tmp_path, 3)
    figures = wholebody_keypoints(truth, answers).figures
    kinds = {"feet": "foot", "face": "face", "left_hand": "lefthand", "right_hand": "righthand"}
    for part, kind in {"whole": "wholebody", **kinds}.items():
        sigmas = SIGMAS if part == "whole" else SIGMAS[PARTS[REPORTED[part][0]]]
        reference = library.COCO(str(truth))
        run = library.COCOeval(
            reference, reference.loadRes(str(answers)), f"keypoints_{kind}", sigmas
        )
        run.evaluate()
        run.accumulate()
        run.summarize()
        got = figures["AP"] if part == "whole" else figures["by_part"]["AP"][part]
        assert got == pytest.approx(run.stats[0], abs=1e-12)


@pytest.mark.parametrize("broken", ["annotations", "results"])
def test_a_part_that_is_missing_is_named(tmp_path, broken):
    truth, answers = made_files(tmp_path, 0)
    file = truth if broken == "annotations" else answers
    data = json.loads(file.read_text())
    del (data["annotations"] if broken == "annotations" else data)[0]["face_kpts"]
    file.write_text(json.dumps(data))
    with pytest.raises(DataError, match=f"{file.name}: record 0: 'face_kpts' must be 204 numbers"):
        wholebody_keypoints(truth, answers)


def poses(skeleton):
    count = len(skeleton)
    points = np.stack([np.arange(count), np.arange(count) + 0.5], axis=1)[None] * 2
    return Poses(points, np.full((1, count), 0.9), [0.8], [[0, 0, 300, 300]], skeleton)


def record(skeleton, found=None):
    return JournalRecord(
        7, "a.jpg", "a", "a.jpg", (300, 300), poses(skeleton) if found is None else found
    )


def test_the_writer_and_the_evaluation_speak_one_layout(tmp_path):
    file = coco_wholebody.write([record(WHOLE)], WHOLE, tmp_path)
    (person,) = json.loads(file.read_text())
    assert {key: len(person[key]) // 3 for key in PARTS} == SIZES
    assert person["lefthand_kpts"][:2] == [182.0, 183.0]
    truth = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 300, "height": 300}],
        "annotations": [
            person | {"id": 1, "area": 9e4}
            | {key: np.where(np.arange(len(person[key])) % 3 == 2, 2, person[key]).tolist()
               for key in PARTS}
        ],
        "categories": [{"id": 1, "name": "person"}],
    }  # fmt: skip
    annotations = tmp_path / "truth.json"
    annotations.write_text(json.dumps(truth))
    assert wholebody_keypoints(annotations, file).figures["AP"] == pytest.approx(1)
    one_key = tmp_path / "one.json"
    one_key.write_text(json.dumps(poses(WHOLE).to_coco(7)))
    assert wholebody_keypoints(annotations, one_key).figures["AP"] == pytest.approx(1)
    with pytest.raises(OutputError, match="hand21 has no joint"):
        coco_wholebody.write([], load_skeleton("hand21"), tmp_path)
    body = load_skeleton("coco17")
    (person,) = json.loads(coco_wholebody.write([record(body)], body, tmp_path).read_text())
    assert person["keypoints"][3:5] == [2.0, 3.0] and not any(person["face_kpts"])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("wholebody133", {"face": 70, "hand_left": 21, "hand_right": 21}),
        ("coco17", {"face": 0, "hand_left": 0, "hand_right": 0}),
        ("halpe26", {"face": 0, "hand_left": 0, "hand_right": 0}),
        ("hand21", {"face": 0, "hand_left": 0, "hand_right": 0}),
    ],
)
def test_openpose_has_hands_and_face(tmp_path, name, found):
    skeleton = load_skeleton(name)
    folder = openpose.write([record(skeleton)], skeleton, tmp_path)
    (person,) = json.loads((folder / "a_keypoints.json").read_text())["people"]
    assert {key: len(person[f"{key}_keypoints_2d"]) // 3 for key in found} == found
    body = np.array(person["pose_keypoints_2d"]).reshape(25, 3)
    if name == "wholebody133":
        assert person["face_keypoints_2d"][:3] == [46.0, 47.0, 0.9]
        assert person["face_keypoints_2d"][-6:] == [0] * 6
        assert person["hand_right_keypoints_2d"][:2] == [224.0, 225.0]
        assert (body[:, 2] > 0).all()
    if name == "halpe26":
        assert body[8, 0] == 2 * skeleton.joints.index("hip")
        assert (body[:, 2] > 0).all()


def test_the_skeletons():
    assert [len(load_skeleton(name)) for name in ("halpe26", "wholebody133", "hand21")] == [
        26, 133, 21,
    ]  # fmt: skip
    hand = load_skeleton("hand21")
    start = WHOLE.joints.index("left_hand_root")
    assert tuple(f"left_{joint}" for joint in hand.joints) == WHOLE.joints[start : start + 21]
    assert hand.sigmas == WHOLE.sigmas[start : start + 21]
    order = WHOLE.flip_order
    np.testing.assert_array_equal(order[order], np.arange(133))
    # Only those in the middle of the face stay where they are, and the nose.
    assert {WHOLE.joints[i] for i in np.flatnonzero(order == np.arange(133))} == {
        "nose", *(f"face_{i}" for i in (8, 27, 28, 29, 30, 33, 51, 57, 62, 66)),
    }  # fmt: skip


def test_fingers_and_faces_are_drawn_finer():
    shares = dict(zip(WHOLE.joints, joint_thickness(WHOLE), strict=True))
    assert shares["left_knee"] == shares["left_big_toe"] == 1
    assert shares["face_8"] < shares["left_thumb1"] < 1
    assert set(joint_thickness(load_skeleton("hand21"))) == {1.0}
    assert set(joint_thickness(load_skeleton("coco17"))) == {1.0}
    drawn = draw_poses(np.zeros((300, 300, 3), np.uint8), poses(WHOLE))
    assert drawn.any()
