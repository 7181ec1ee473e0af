"""COCO keypoints and boxes, CrowdPose, match lists, bootstrap and broken submissions."""

import copy
import json
import subprocess
import sys

import numpy as np
import pytest

from rmpe.errors import DataError, RmpeError
from rmpe.evaluation.figures.bootstrap import compare
from rmpe.evaluation.figures.box_recall import box_recall
from rmpe.evaluation.files.submissions import check_people, check_results, read_people, read_results
from rmpe.evaluation.matching.ranked import Ranked
from rmpe.evaluation.protocols import coco, crowdpose
from rmpe.evaluation.protocols.crowding import crowd_index, image_crowding
from rmpe.files import read_json

pytest.importorskip("hotcoco")
SETS = {"keypoints": "coco_keypoint_dets.json", "bbox": "coco_bbox_dets.json"}


def assert_figures(figures, expected, tolerance, leave_out=()):
    for name, value in expected.items():
        if name not in leave_out:
            np.testing.assert_allclose(figures[name], value, atol=tolerance, rtol=0, err_msg=name)


@pytest.fixture(scope="module")
def coco_people(parity):
    return read_people(parity / "coco_gt.json")


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
@pytest.mark.parametrize("kind", ["keypoints", "bbox"])
def test_coco_parity(parity, coco_people, kind, engine):
    pytest.importorskip(engine)
    results, _ = read_results(parity / SETS[kind], coco_people, kind)
    evaluation = coco.evaluate_coco(coco_people, results, kind, engine=engine)
    assert_figures(evaluation.figures, read_json(parity / "coco_expected.json")[kind], 1e-6)
    for size, ranked in evaluation.ranked.items():  # our own sums over the library's match lists
        name = "AP" if size == "all" else f"AP_{size}"
        assert ranked.coco_ap() == pytest.approx(evaluation.figures[name], abs=1e-12), size


def test_crowdpose_parity(parity):
    people = read_people(parity / "crowdpose_gt.json")
    results, _ = read_results(parity / "crowdpose_dets.json", people, "keypoints")
    figures, _ = crowdpose.evaluate_crowdpose(people, results)
    assert_figures(figures, read_json(parity / "crowdpose_expected.json"), 1e-6)


def test_crowd_index_is_near_the_released_one(parity):
    data = read_json(parity / "crowdpose_gt.json")
    given = image_crowding(check_people(data))
    for image in data["images"]:
        del image["crowdIndex"]
    # The released index saw people that the released annotations lack, so only most images agree.
    assert np.median(np.abs(image_crowding(check_people(data)) - given)) < 0.005


def person(identity, image, x, y, side=100.0, joints=17, **more):
    points = [
        [x + side * (j + 1) / (joints + 1), y + side * (j + 1) / (joints + 1), 2]
        for j in range(joints)
    ]
    flat = [number for point in points for number in point]
    box = [x, y, side, side]
    return {
        "id": identity,
        "image_id": image,
        "category_id": 1,
        "bbox": box,
        "area": side**2,
        "keypoints": flat,
    } | more


def dataset(annotations, images=(1, 2)):
    records = [{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in images]
    return {
        "images": records,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }


def detection(annotation, score=0.9, shift=0.0):
    points = np.array(annotation["keypoints"], float).reshape(-1, 3) + np.array([shift, 0, 0])
    return {
        "image_id": annotation["image_id"],
        "category_id": 1,
        "keypoints": points.ravel().tolist(),
        "score": score,
    }


def test_crowd_index_by_hand():
    one, two = (
        person(1, 1, 0, 0, iscrowd=0, num_keypoints=17),
        person(2, 1, 50, 50, iscrowd=0, num_keypoints=17),
    )
    # Joint j of the second lies at 50 + 100 (j + 1) / 18; it is in the first one's box up to j = 8:
    # 9 of 17. Just so the first one's joints from 50 on, j = 8 ... 16, are in the second's box: 9
    # of 17.
    assert crowd_index([one, two]) == pytest.approx(9 / 17)
    assert crowd_index([one]) == 0
    assert crowd_index([]) == 0


def test_no_detections_and_nobody():
    people = check_people(dataset([person(1, 1, 0, 0)]))
    assert coco.evaluate_coco(people, []).figures["AP"] == 0
    nobody = check_people(dataset([]))
    assert coco.evaluate_coco(nobody, []).figures["AP"] == -1


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
def test_annotation_id_zero_counts_as_found(engine):
    pytest.importorskip(engine)
    annotation = person(0, 1, 0, 0)
    evaluation = coco.evaluate_coco(
        check_people(dataset([annotation])), [detection(annotation)], engine=engine
    )
    assert evaluation.figures["AP"] == pytest.approx(1)
    assert evaluation.found[0].all()


@pytest.mark.parametrize("engine", ["hotcoco", "pycocotools"])
def test_box_of_a_pose_does_not_change_its_area(parity, coco_people, engine):
    pytest.importorskip(engine)
    results, _ = read_results(parity / SETS["keypoints"], coco_people, "keypoints")
    boxed = [result | {"bbox": [0.0, 0.0, 5.0, 5.0]} for result in results]
    figures = coco.evaluate_coco(coco_people, boxed, engine=engine).figures
    assert_figures(figures, read_json(parity / "coco_expected.json")["keypoints"], 1e-6)


def test_neither_library_is_one_clear_line(monkeypatch):
    def absent(name, *_):
        raise ImportError(name)

    monkeypatch.setattr(coco, "import_module", absent)
    with pytest.raises(RmpeError, match=r"pip install 'rmpe\[eval\]'"):
        coco.evaluate_coco(check_people(dataset([])), [])


def test_evaluation_imports_no_heavy_library():
    protocols = ["coco", "mpii", "posetrack", "pck"]
    names = [f"protocols.{name}" for name in protocols]
    names += ["figures.bootstrap", "figures.plots", "figures.error_kinds"]
    code = "import sys; " + "; ".join(f"import rmpe.evaluation.{n}" for n in names)
    heavy = ("torch", "scipy", "matplotlib", "hotcoco", "pycocotools")
    code += f"; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


# Weights


def test_weights_equal_repeated_images(parity, coco_people):
    """Weight 2 equals two copies of an image, and weight 0 equals leaving it out."""
    results, _ = read_results(parity / SETS["keypoints"], coco_people, "keypoints")
    evaluation = coco.evaluate_coco(coco_people, results)
    weights = np.random.default_rng(3).integers(0, 3, len(coco_people.image_ids))
    data, repeated = dataset([], images=()), []
    for image, weight in zip(coco_people.image_ids, weights, strict=True):
        for copy_number in range(weight):
            new = image * 10 + copy_number
            data["images"].append({"id": new, "width": 1, "height": 1})
            mine = [a for a in coco_people.annotations if a["image_id"] == image]
            data["annotations"] += [
                a | {"image_id": new, "id": a["id"] * 10 + copy_number} for a in mine
            ]
            repeated += [r | {"image_id": new} for r in results if r["image_id"] == image]
    expected = coco.evaluate_coco(check_people(data), repeated).figures
    assert evaluation.ranked["all"].coco_ap(weights) == pytest.approx(expected["AP"], abs=1e-9)
    assert evaluation.ranked["medium"].coco_ap(weights) == pytest.approx(
        expected["AP_medium"], abs=1e-9
    )


def test_area_under_curve_by_hand():
    ranked = Ranked.sort([0.9, 0.8, 0.7], [0, 0, 1], [[True, False, True]], np.ones((1, 3)), [1, 1])
    # Recall .5 at precision 1, recall 1 at precision 2/3.
    assert ranked.area_under_curve()[0] == pytest.approx(0.5 + 0.5 * 2 / 3)
    empty = Ranked.sort([], [], np.zeros((1, 0)), np.zeros((1, 0)), [3])
    assert empty.area_under_curve().tolist() == [0] and empty.coco_ap() == 0


# Bootstrap


def test_bootstrap_of_a_file_against_itself_is_zero(parity, coco_people):
    results, _ = read_results(parity / SETS["keypoints"], coco_people, "keypoints")
    ap = coco.evaluate_coco(coco_people, results).ranked["all"].coco_ap
    same = compare(ap, ap, len(coco_people.images), samples=20)
    assert (same.difference, same.low, same.high, same.share_better) == (0, 0, 0, 0.5)


def test_bootstrap_interval_is_that_of_a_mean():
    """The interval of the mean of n numbers is known: mean difference -+ 1.96 standard errors."""
    generator = np.random.default_rng(0)
    base = generator.normal(size=400)
    better = base + 0.3 + generator.normal(size=400)
    result = compare(
        lambda w: w @ better / w.sum(), lambda w: w @ base / w.sum(), 400, samples=2000
    )
    error = np.std(better - base) / 20
    np.testing.assert_allclose(
        [result.low, result.high], result.difference + np.array([-1.96, 1.96]) * error, atol=0.02
    )
    assert result.share_better > 0.99


# Boxes


def test_box_recall_by_hand():
    alone, left, right = person(1, 1, 0, 0, 100), person(2, 2, 0, 0, 100), person(3, 2, 20, 0, 100)
    crowd = person(4, 2, 300, 300, 50, iscrowd=1)
    people = check_people(dataset([alone, left, right, crowd]))
    boxes = [{"image_id": a["image_id"], "score": 0.9, "bbox": a["bbox"]} for a in (alone, left)]
    boxes[0]["bbox"] = [0, 0, 100, 60]  # IoU .6: found at .5, not at .7
    checked, _ = check_results(boxes, people, "bbox")
    figures = box_recall(people, coco.evaluate_coco(people, checked, "bbox"))
    assert figures["n_all"] == 3 and figures["n_alone"] == 1 and figures["n_crowded"] == 2
    assert (figures["recall50"], figures["recall70"]) == (
        pytest.approx(2 / 3),
        pytest.approx(1 / 3),
    )
    assert (figures["recall50_alone"], figures["recall70_alone"]) == (1, 0)
    assert figures["recall50_crowded"] == 0.5 and figures["recall50_small"] == -1


# Broken files


def broken_people(key, value):
    data = dataset([person(1, 1, 0, 0), person(2, 2, 0, 0)])
    data["annotations"][1][key] = value
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "lists 'images' and 'annotations'"),
        (dataset([], images=(1, 1)), "image id 1 is there more than once"),
        (dataset([], images=("a",)), "not a whole number"),
        (broken_people("id", 1), "annotation id 1 is there more than once"),
        (broken_people("image_id", 77), "image id 77"),
        (broken_people("bbox", [0, 0, float("nan"), 1]), "'bbox' has a number that is not finite"),
        (broken_people("bbox", ["a", 0, 1, 1]), "'bbox' must hold numbers"),
        (broken_people("keypoints", [0] * 42), "must all be as long"),
    ],
)
def test_broken_annotations(data, message):
    with pytest.raises(DataError, match=message):
        check_people(data)


def broken_result(**changes):
    result = detection(person(1, 1, 0, 0)) | changes
    return [{key: value for key, value in result.items() if value is not None}]


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({}, "COCO results are a list"),
        (broken_result(image_id=99), "image id 99 is not in the annotations"),
        (broken_result(score=None), "detection 0 has no 'score'"),
        (broken_result(score=float("inf")), "'score' has a number that is not finite"),
        (broken_result(keypoints=[1.0] * 42), "must be 51 numbers, got 42"),
        (broken_result(keypoints=[float("nan")] * 51), "not finite"),
        (broken_result(keypoints="all"), "got no list"),
    ],
)
def test_broken_results(results, message):
    with pytest.raises(DataError, match=message):
        check_results(results, check_people(dataset([person(1, 1, 0, 0)])), "keypoints")


def test_counted_warnings():
    annotation = person(1, 1, 0, 0)
    results = [
        detection(annotation),
        detection(annotation),
        detection(annotation) | {"category_id": 3},
    ]
    checked, warnings = check_results(
        results, check_people(dataset([annotation])), "keypoints", "r.json"
    )
    assert len(checked) == 2
    assert [w.split(": ")[1][:20] for w in warnings] == [
        "1 of 2 images have n",
        "1 detections of othe",
        "1 detections are the",
    ]


def test_results_may_name_the_file():
    annotation = person(1, 1, 0, 0)
    named = detection(annotation) | {"image_id": "1.jpg"}
    assert (
        check_results([named], check_people(dataset([annotation])), "keypoints")[0][0]["image_id"]
        == 1
    )


def test_evaluation_does_not_edit_its_input(tmp_path):
    annotation = person(1, 1, 0, 0)
    data, results = dataset([annotation]), [detection(annotation)]
    before = copy.deepcopy((data, results))
    people = check_people(data)
    coco.evaluate_coco(people, check_results(results, people, "keypoints")[0], engine="pycocotools")
    assert (data, results) == before
    (tmp_path / "x.json").write_text("{", "utf-8")
    with pytest.raises(DataError, match="not JSON"):
        read_people(tmp_path / "x.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_people(tmp_path / "none.json")
    (tmp_path / "x.json").write_text(json.dumps(data), "utf-8")
    assert read_people(tmp_path / "x.json").joints == 17
