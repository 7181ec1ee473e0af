"""Figures that cannot be right are errors, and own skeletons are measured."""

import copy
import json

import numpy as np
import pytest
from click.testing import CliRunner
from fuzz import data_files

from rmpe.cli.evaluate import evaluate
from rmpe.errors import DataError, RmpeError
from rmpe.evaluation.benchmarks import PROTOCOLS

pytest.importorskip("hotcoco")
GLOVE = """name = "glove"
joints = ["wrist", "left_tip", "right_tip"]
limbs = [["wrist", "left_tip"]]
sigmas = [0.05, 0.05, 0.05]
"""


def put(folder, **files):
    paths = []
    for name, data in files.items():
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(json.dumps(data))
    return paths


def gloves(names=("wrist", "left_tip", "right_tip")):
    points = [65.0, 46.0, 2, 69.5, 40.0, 2, 60.5, 40.0, 2]
    image = {"id": 1, "file_name": "1.jpg", "width": 400, "height": 300}
    person = {"id": 1, "image_id": 1, "category_id": 0, "bbox": [20, 30, 90, 200], "area": 9000}
    annotations = {
        "images": [image],
        "annotations": [person | {"keypoints": points}],
        "categories": [{"id": 0, "name": "glove", "keypoints": list(names)}],
    }
    return annotations, [{"image_id": 1, "category_id": 1, "keypoints": points, "score": 0.9}]


def run(*arguments):
    return CliRunner().invoke(evaluate, [str(one) for one in arguments])


def test_own_skeleton(tmp_path):
    truth, found = put(tmp_path, truth=gloves()[0], found=gloves()[1])
    files = ("coco", "--annotations", truth, "--results", found, "--json")
    without = run(*files)
    assert isinstance(without.exception, RmpeError)
    assert "3 joints a person (wrist, left_tip, right_tip) are those of no skeleton" in str(
        without.exception
    )
    skeleton = tmp_path / "glove.toml"
    skeleton.write_text(GLOVE)
    done = run(*files, "--skeleton", skeleton)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["AP"] == pytest.approx(1)
    wrong = run(*files, "--skeleton", "coco17")
    assert "coco17 has 17 joints a person, the file has 3" in str(wrong.exception)
    other = run("crowdpose", "--annotations", truth, "--results", found, "--skeleton", skeleton)
    assert "crowdpose has joints of its own" in str(other.exception)


def test_joints_in_another_order_are_refused(tmp_path):
    annotations, results = gloves(("wrist", "right_tip", "left_tip"))
    truth, found = put(tmp_path, truth=annotations, found=results)
    skeleton = tmp_path / "glove.toml"
    skeleton.write_text(GLOVE)
    said = run("coco", "--annotations", truth, "--results", found, "--skeleton", skeleton).exception
    assert "in another order (right_tip in place 1, not left_tip)" in str(said)


def test_the_skeleton_of_the_annotations_is_taken(tmp_path):
    crowded = data_files.coco("crowdpose14")
    truth, found = put(tmp_path, truth=crowded, found=data_files.results(crowded))
    figures = PROTOCOLS["coco"](truth, found).figures
    assert 0 < figures["AP"] <= 1


def test_nobody_labelled_is_said(tmp_path):
    annotations = data_files.coco()
    for person in annotations["annotations"]:
        person.pop("keypoints", None)
    truth, found = put(tmp_path, truth=annotations, found=[])
    measured = PROTOCOLS["coco"](truth, found)
    assert measured.figures["AP"] == -1
    assert any("no person has a labelled joint" in line for line in measured.warnings)
    del annotations["categories"][0]["keypoints"]
    truth, found = put(tmp_path, truth=annotations, found=[])
    with pytest.raises(DataError, match="no person in it has 'keypoints'"):
        PROTOCOLS["coco"](truth, found)


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), "1", None, 1e9])
def test_mpii_scale(tmp_path, scale):
    people = data_files._mpii()
    people[1]["scale"] = scale
    for protocol, ids in (("mpii", True), ("pck", False)):
        truth, found = put(tmp_path, truth=people, found=data_files._mpii_results(ids))
        with pytest.raises(DataError, match="person 1: 'scale'"):
            PROTOCOLS[protocol](truth, found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annotations"][0].update(bbox_head=[5, 5, 0, 0]), "'bbox_head' has no size"),
        (lambda d: d["annotations"][0].update(bbox_head=[5, 5, -3, 4]), "'bbox_head' has no size"),
        (lambda d: d["annotations"][0].pop("bbox_head"), "no bbox_head of 4 numbers"),
        (lambda d: d["annotations"][0].update(bbox=[5, 5, -3, 4]), "'bbox' has a negative side"),
        (lambda d: d["images"].append(d["images"][0]), "image id 1 is there more than once"),
        (lambda d: d["images"][0].update(frame_id=2), "two images of video v have the same"),
        (lambda d: d["images"][0].update(ignore_regions_x=[[1]]), "are not equally long"),
        (lambda d: d["annotations"][0].update(track_id="a"), "'track_id' is text 'a'"),
        (lambda d: d["annotations"][0].update(scores=[1]), "needs 17 finite scores, got 1"),
        (lambda d: d["categories"][0].update(keypoints=["nose"]), "keypoints lack"),
    ],
)
def test_posetrack(tmp_path, change, message):
    data = copy.deepcopy(data_files._posetrack())
    change(data)
    truth, found = put(tmp_path, truth=data, found=data_files._posetrack_results())
    with pytest.raises(DataError) as error:
        PROTOCOLS["posetrack"](truth, found)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("annotated", (0, 0), np.nan, "'annotated' must be 0 or 1"),
        ("annotated", (0, 0), 0.5, "'annotated' must be 0 or 1"),
        ("head_size", (0,), 0, "'head_size' must be finite and above 0"),
        ("head_size", (0,), np.inf, "'head_size' must be finite and above 0"),
        ("gt", (0, 0, 0), np.nan, "'gt' must be finite where a joint is annotated"),
        ("pred", (0, 0, 0), np.inf, "'pred' must be finite"),
    ],
)
def test_pck_arrays(tmp_path, name, place, value, message):
    (arrays,) = data_files.npz_kinds()[0].seeds()
    changed = {key: np.array(array, float) for key, array in arrays.items()}
    changed[name][place] = value
    np.savez(tmp_path / "x.npz", **changed)
    with pytest.raises(DataError, match=message):
        PROTOCOLS["pck"](tmp_path / "x.npz", None)


def shifted(rows, key, change):
    return [row | {key: change(row[key])} for row in rows]


@pytest.mark.parametrize(("image", "category"), [(0, 0), (-5, 1), (1, -3), (2**63 - 9, 2**40)])
def test_ids_of_any_sign_and_size_are_measured(tmp_path, image, category):
    data, found = gloves()
    data["images"] = shifted(data["images"], "id", lambda _: image)
    data["annotations"] = shifted(data["annotations"], "image_id", lambda _: image)
    data["annotations"] = shifted(data["annotations"], "category_id", lambda _: category)
    data["categories"] = shifted(data["categories"], "id", lambda _: category)
    found = shifted(found, "image_id", lambda _: image)
    skeleton = tmp_path / "glove.toml"
    skeleton.write_text(GLOVE)
    truth, answer = put(tmp_path, truth=data, found=found)
    files = ("coco", "--annotations", truth, "--results", answer, "--json")
    figures = json.loads(run(*files, "--skeleton", skeleton).stdout)
    assert figures["AP"] == pytest.approx(1)
    assert figures["error_kinds"]["people"]["found"] == 1
    boxed = [{"image_id": image, "category_id": 1, "bbox": [20, 30, 90, 200], "score": 0.9}]
    truth, answer = put(tmp_path, truth=data, found=boxed)
    figures = PROTOCOLS["boxes"](truth, answer).figures
    assert figures["AP"] == pytest.approx(1)
    assert figures["recall50"] == pytest.approx(1)


# What is done to the keypoints of the results so that nobody is found.
NOWHERE = {
    "nothing": lambda numbers: [0] * len(numbers),
    "shares of the image": lambda numbers: [number / 400 for number in numbers],
    "another image's": lambda numbers: [number + 5000 for number in numbers],
}


@pytest.mark.parametrize("kind", NOWHERE)
def test_an_ap_of_0_says_why(tmp_path, kind):
    data, found = gloves()
    skeleton = tmp_path / "glove.toml"
    skeleton.write_text(GLOVE)
    truth, answer = put(tmp_path, truth=data, found=shifted(found, "keypoints", NOWHERE[kind]))
    done = run("coco", "--annotations", truth, "--results", answer, "--skeleton", skeleton)
    assert done.exit_code == 0
    assert "AP is 0, because no detection fits" in done.stderr


@pytest.mark.parametrize(
    ("truth_box", "found_box", "message"),
    [
        ([20, 30, 0, 200], [20, 30, 90, 200], "1 x 'bbox' without extent"),
        ([20, 30, 90, 200], [200, 30, 90, 200], "AP is 0, because no detection fits"),
        ([20, 30, 90, 200], [20, 30, -90, 200], "detection 0: 'bbox' has a negative side"),
    ],
)
def test_boxes_that_nothing_fits_say_why(tmp_path, truth_box, found_box, message):
    data, _ = gloves()
    data["annotations"] = shifted(data["annotations"], "bbox", lambda _: truth_box)
    found = [{"image_id": 1, "category_id": 1, "bbox": found_box, "score": 0.9}]
    truth, answer = put(tmp_path, truth=data, found=found)
    done = run("boxes", "--annotations", truth, "--results", answer)
    assert message in done.stderr + str(done.exception)


def test_figures_of_minus_one_are_explained(tmp_path):
    data, _ = gloves()
    found = [{"image_id": 1, "category_id": 1, "bbox": [20, 30, 90, 200], "score": 0.9}]
    truth, answer = put(tmp_path, truth=data, found=found)
    done = run("boxes", "--annotations", truth, "--results", answer)
    assert done.exit_code == 0
    assert "-1 = not defined, nobody of that kind is annotated: AP_small, AP_large" in done.stdout


def test_people_without_extent_are_counted(tmp_path):
    data, found = gloves()
    empty = data["annotations"][0] | {"id": 7, "area": 0, "bbox": [20, 30, 0, 0]}
    data["annotations"].append(empty)
    skeleton = tmp_path / "glove.toml"
    skeleton.write_text(GLOVE)
    truth, answer = put(tmp_path, truth=data, found=found)
    done = run("coco", "--annotations", truth, "--results", answer, "--skeleton", skeleton)
    assert "1 x 'area' and 'bbox' without extent" in done.stderr
    assert "first: annotation 7" in done.stderr
