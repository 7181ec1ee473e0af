"""COCO files as people really have them: read as meant and counted, or one line with the place."""

import copy
import json

import cv2
import numpy as np
import pytest

from rmpe.annotations.coco import parse_coco
from rmpe.datasets.coco import read_coco
from rmpe.detect.recorded import RecordedBoxes
from rmpe.errors import DataError
from rmpe.evaluation.files.submissions import check_people, check_results
from rmpe.skeletons import Skeleton, load_skeleton

COCO = load_skeleton("coco17")
GLOVE = Skeleton.from_dict(
    {
        "name": "glove",
        "joints": ["wrist", "left_tip", "right_tip"],
        "limbs": [["wrist", "left_tip"]],
        "sigmas": [0.05] * 3,
    }
)
BLANK = np.zeros((300, 400, 3), np.uint8)


def person(number, image=1, joints=17, **changes):
    points = [[20.0 + 3 * joint, 40.0 + 2 * joint, 2] for joint in range(joints)]
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [10.0 * number, 20, 90, 200],
        "area": 9000,
        "num_keypoints": joints,
        "keypoints": [one for point in points for one in point],
    } | changes


def file_of(*people, **changes):
    images = [
        {"id": number, "file_name": f"{number}.jpg", "width": 400, "height": 300}
        for number in (1, 2, 3)
    ]
    categories = [{"id": 1, "name": "person", "keypoints": list(COCO.joints)}]
    return {"images": images, "annotations": list(people), "categories": categories} | changes


def everybody(**changes):
    return file_of(*(person(number, number, **copy.deepcopy(changes)) for number in (1, 2, 3)))


@pytest.fixture
def photos(tmp_path):
    for number in (1, 2, 3):
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), BLANK + 90)
    return tmp_path


def written(folder, data):
    path = folder / "annotations.json"
    path.write_text(json.dumps(data))
    return path


# Values


def test_nobody_and_no_images():
    file = parse_coco({"images": [], "annotations": []}, "a.json")
    assert (file.images, file.people, file.warnings) == ((), (), ())
    said = check_people(file_of()).warnings
    assert len(said) == 1 and "lists no person" in said[0]


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({}, None),
        ({"id": None}, "'id' missing or null"),
        ({"iscrowd": None}, "'iscrowd' null, taken as 0"),
        ({"iscrowd": False}, None),
        ({"area": None}, None),
        ({"area": 0}, "'area' 0, taken as 0.53 times the box"),
        ({"keypoints": None}, None),
        ({"keypoints": []}, None),
        ({"category_id": None}, None),
        ({"num_keypoints": 0}, "'num_keypoints' 0 although joints are labelled: counted anew"),
    ],
)
def test_read_as_meant(changes, warning):
    people = check_people(everybody(**changes))
    assert len(people.annotations) == 3
    assert len({one["id"] for one in people.annotations}) == 3
    if "area" in changes:
        assert people.annotations[0]["area"] == pytest.approx(0.53 * 90 * 200)
    assert all(len(one["keypoints"]) == 51 for one in people.annotations)
    assert (people.warnings == []) if warning is None else (warning in people.warnings[0])
    if warning:
        assert "3 x" in people.warnings[0] and len(people.warnings) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"area": "9000"}, "annotation 1: 'area' is text '9000', not a number"),
        ({"area": -5}, "annotation 1: 'area' is -5"),
        ({"area": float("nan")}, "annotation 1: 'area' has a number that is not finite"),
        ({"area": [1]}, "annotation 1: 'area' is a list of 1, not a number"),
        ({"bbox": None}, "annotation 1 has no 'bbox'"),
        ({"bbox": ["20", "30", "90", "200"]}, "annotation 1: 'bbox' must hold numbers only"),
        ({"bbox": [1, 2, 3]}, "annotation 1: 'bbox' must be 4 numbers, got 3"),
        ({"bbox": [1, 2, -3, 4]}, "annotation 1: 'bbox' has a negative side"),
        ({"bbox": [1, 2, 10**400, 4]}, "annotation 1: 'bbox' has a number that is not finite"),
        ({"bbox": [1, 2, 1e30, 4]}, "larger than any picture"),
        ({"iscrowd": "false"}, "annotation 1: 'iscrowd' is text 'false', not 0 or 1"),
        ({"image_id": None}, "annotation 1 has no 'image_id'"),
        ({"image_id": "frame_1"}, "image id 'frame_1' is not a whole number"),
        ({"image_id": 9}, "image id 9, which is not in 'images'"),
        ({"keypoints": ["1"] * 51}, "annotation 1: 'keypoints' must hold numbers only"),
        ({"keypoints": [1.0] * 48}, "annotation 1: 'keypoints' has 48 numbers"),
        ({"keypoints": [1.0] * 50}, "must be 3 numbers a joint"),
        ({"keypoints": 5}, "annotation 1: 'keypoints' is 5, not a list"),
        ({"num_keypoints": "x"}, "annotation 1: 'num_keypoints' is text 'x'"),
        ({"category_id": "1"}, "'category_id' is text '1'"),
    ],
)
def test_one_line_names_annotation_and_field(changes, message):
    data = everybody()
    data["annotations"][0] |= changes
    with pytest.raises(DataError, match=r"a\.json") as error:
        check_people(data, "a.json")
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["images"][0].update(id="frame_1"), "image id 'frame_1' is not a whole number"),
        (lambda d: d["images"][0].pop("id"), "image 0 has no 'id'"),
        (lambda d: d["images"][0].update(width="400"), "image 1: 'width' is text '400'"),
        (lambda d: d["images"][0].update(width=0), "'width' and 'height' are 0 and 300"),
        (lambda d: d["images"][1].update(file_name="1.jpg"), "image 1.jpg is there more than once"),
        (lambda d: d["images"][1].update(id=1), "image id 1 is there more than once"),
        (lambda d: d["images"][0].update(crowdIndex="x"), "'crowdIndex' is text 'x'"),
        (lambda d: d["images"].append(3), "image 3 is 3, not a table"),
        (lambda d: d["annotations"].append("x"), "annotation 3 is text 'x', not a table"),
        (lambda d: d["annotations"].append(person(1)), "annotation id 1 is there more than once"),
        (lambda d: d.update(categories=[1]), "category 0 is 1, not a table"),
        (lambda d: d.update(categories=[{"name": "person"}]), "category 0 has no 'id'"),
        (lambda d: d.pop("annotations"), "the lists 'images' and 'annotations' are needed"),
        (lambda d: d.update(images={"a": 1}), "it needs 'images'"),
    ],
)
def test_broken_files(change, message):
    data = everybody()
    data["annotations"][0]["bbox"][0] = 77
    change(data)
    with pytest.raises(DataError) as error:
        check_people(data, "a.json")
    assert message in str(error.value)


def test_doubled_annotations_are_counted_and_dropped(photos):
    data = everybody()
    data["annotations"] *= 2
    people = check_people(data)
    assert len(people.annotations) == 3
    assert "3 x annotation there twice" in people.warnings[0]
    read = read_coco(written(photos, data), photos, COCO)
    assert len(read) == 3 and "3 x annotation there twice" in read.report()


def test_some_declared_without_joints_are_left_out_as_the_tools_do():
    data = everybody()
    data["annotations"][1]["num_keypoints"] = 0
    people = check_people(data)
    assert [one["num_keypoints"] for one in people.annotations] == [17, 0, 17]
    assert (
        "1 x 'num_keypoints' 0 although joints are labelled: these people are" in people.warnings[0]
    )


def test_the_same_person_under_another_id_is_kept_and_said(photos):
    data = everybody()
    data["annotations"].append(data["annotations"][0] | {"id": 77})
    people = check_people(data)
    assert len(people.annotations) == 4
    (said,) = people.warnings
    assert "1 x a person of the same box and joints under another id, kept" in said
    assert "first: annotation 77" in said
    assert said.partition(": ")[2] in read_coco(written(photos, data), photos, COCO).report()


@pytest.mark.parametrize(
    ("box", "crowd", "message"),
    [
        ([10, 10, 0, 5], 0, "nothing but boxes without extent"),
        ([10, 10, 5, 5], 1, "nothing but crowds"),
        ([10, 10, -5, 5], 0, "'bbox' has a negative side"),
    ],
)
def test_boxes_that_hold_nobody_are_refused(photos, box, crowd, message):
    data = everybody()
    for one in data["annotations"]:
        one.update(bbox=box, iscrowd=crowd)
    with pytest.raises(DataError, match=message):
        RecordedBoxes(written(photos, data))


def test_some_boxes_without_extent_are_counted(photos):
    data = everybody()
    data["annotations"][0]["bbox"] = [10, 10, 0, 5]
    boxes = RecordedBoxes(written(photos, data))
    assert len(boxes(BLANK, "1.jpg")) == 0
    assert len(boxes(BLANK, "2.jpg")) == 1
    assert "1 x 'bbox' without extent, left out" in boxes.warnings[0]


# Categories


@pytest.mark.parametrize(
    ("number", "name"), [(0, "person"), (1, "Person"), (7, "PERSON "), (0, "glove")]
)
def test_the_person_category_is_found_by_name_or_joints(photos, number, name):
    joints = list(COCO.joints)
    other = {"id": 50, "name": "ball", "keypoints": ["top", "bottom"]}
    data = everybody(category_id=number) | {
        "categories": [{"id": number, "name": name, "keypoints": joints}, other]
    }
    people = check_people(data)
    assert (people.category_id, len(people.annotations)) == (number, 3)
    path = written(photos, data)
    assert len(read_coco(path, photos, COCO)) == 3
    assert len(RecordedBoxes(path)(BLANK, "1.jpg")) == 1


def test_a_person_label_that_nobody_has_gives_way_to_the_skeleton(photos):
    joints = list(COCO.joints)
    data = everybody(category_id=2) | {
        "categories": [
            {"id": 1, "name": "person"},
            {"id": 2, "name": "skeleton", "keypoints": joints},
        ]
    }
    people = check_people(data)
    assert (people.category_id, people.joints, len(people.annotations)) == (2, 17, 3)
    assert len(read_coco(written(photos, data), photos, COCO)) == 3


def test_other_categories_are_left_out_and_counted(photos):
    data = everybody()
    data["categories"].append({"id": 5, "name": "cat", "keypoints": [f"j{k}" for k in range(17)]})
    data["annotations"].append(person(50, category_id=5))
    people = check_people(data)
    assert len(people.annotations) == 3
    assert (
        "1 annotations of other categories than 1 (person) were left out: 5 (cat)"
        in people.warnings[0]
    )
    read = read_coco(written(photos, data), photos, COCO)
    assert len(read) == 3 and "5 (cat)" in read.report()
    assert len(RecordedBoxes(photos / "annotations.json")(BLANK, "1.jpg")) == 1


def test_nobody_of_the_category_is_an_error_that_names_what_is_there(photos):
    data = everybody(category_id=5)
    data["categories"].append({"id": 5, "name": "dog"})
    path = written(photos, data)
    for read in (lambda: read_coco(path, photos, COCO), lambda: RecordedBoxes(path)):
        with pytest.raises(DataError, match=r"5 \(dog\)"):
            read()


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}], "no category is called person"),
        ([{"id": 1, "name": "person"}, {"id": 2, "name": "Person"}], "2 categories are called"),
        ([], "no list of categories says which of the ids 2, 3"),
    ],
)
def test_a_category_that_cannot_be_told(categories, message):
    numbers = (1, 2) if categories else (2, 3)
    people = [person(place, 1, category_id=number) for place, number in enumerate(numbers)]
    with pytest.raises(DataError, match=message):
        check_people(file_of(*people, categories=categories))


@pytest.mark.parametrize(
    ("wanted", "given", "found"),
    [(0, 1, 3), (1, 1, 3), (3, 0, 3)],
)
def test_results_with_a_number_of_their_own(wanted, given, found):
    people = check_people(
        everybody(category_id=wanted)
        | {"categories": [{"id": wanted, "name": "person", "keypoints": list(COCO.joints)}]}
    )
    results = [person(number, number, category_id=given, score=0.9) for number in (1, 2, 3)]
    checked, said = check_results(results, people, "keypoints")
    assert len(checked) == found
    assert {one["category_id"] for one in checked} == {wanted}
    assert any("taken for" in line for line in said) == (wanted != given)


def test_results_of_another_category_name_both():
    categories = [
        {"id": 0, "name": "person", "keypoints": list(COCO.joints)},
        {"id": 1, "name": "dog"},
    ]
    people = check_people(everybody(category_id=0) | {"categories": categories})
    results = [person(1, category_id=1, score=0.9)]
    with pytest.raises(DataError, match=r"\(category 0 \(person\)\); they are of 1 \(dog\)"):
        check_results(results, people, "keypoints")


def test_boxes_of_another_category_name_the_ids(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text(
        json.dumps([{"image_id": 1, "category_id": 0, "bbox": [1, 2, 3, 4], "score": 1}])
    )
    with pytest.raises(
        DataError, match=r"no detection is of a person \(category 1\); they are of 0"
    ):
        RecordedBoxes(path)


# Joints


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["right_tip", "left_tip", "palm"],
            "it has palm, which the skeleton lacks, and lacks wrist",
        ),
        (["palm", "left_tip", "right_tip"], "it has palm"),
        (["a", "b"], "are not those of"),
        (["wrist", "wrist", "left_tip"], "two of its joints are called 'wrist'"),
    ],
)
def test_joints_of_other_names_are_refused(photos, names, message):
    data = file_of(
        person(1, joints=len(names)), categories=[{"id": 1, "name": "glove", "keypoints": names}]
    )
    with pytest.raises(DataError, match=message):
        read_coco(written(photos, data), photos, GLOVE)


@pytest.mark.parametrize(
    ("names", "order", "note"),
    [
        (["wrist", "left_tip", "right_tip"], [0, 1, 2], ""),
        (["Right Tip", "leftTip", "WRIST"], [2, 1, 0], ""),
        (["elbow", "right_tip", "wrist", "left_tip"], [2, 3, 1], "elbow are left out"),
        (["wrist", "right_tip"], [0, None, 1], "has no left_tip"),
        (["a", "b", "c"], [0, 1, 2], "matched by their place: a is taken for wrist"),
    ],
)
def test_joints_are_matched_by_name(photos, names, order, note):
    data = file_of(
        person(1, joints=len(names)), categories=[{"id": 1, "name": "glove", "keypoints": names}]
    )
    people = read_coco(written(photos, data), photos, GLOVE)
    for joint, place in enumerate(order):
        if place is None:
            assert people.visibility[0, joint] == 0
        else:
            assert people.keypoints[0, joint].tolist() == [20 + 3 * place, 40 + 2 * place]
    assert note in people.report()
    assert (people.notes == ()) == (note == "")


# Images


def test_missing_size_is_read_from_the_image(photos):
    data = everybody()
    for image in data["images"]:
        del image["width"], image["height"]
    assert len(read_coco(written(photos, data), photos, COCO)) == 3


def test_images_without_names_are_refused_where_names_are_needed(photos):
    data = everybody()
    del data["images"][1]["file_name"]
    assert len(check_people(data).annotations) == 3
    with pytest.raises(DataError, match="image 2 has no 'file_name'"):
        read_coco(written(photos, data), photos, COCO)


@pytest.mark.parametrize("prefix", ["upload/4/", "..\\upload\\4\\", "/data/set/", "sub/"])
def test_images_are_found_whatever_stands_before_their_name(photos, prefix):
    data = everybody()
    for image in data["images"]:
        image["file_name"] = prefix + image["file_name"]
    path = written(photos, data)
    assert len(read_coco(path, photos, COCO)) == 3
    assert len(RecordedBoxes(path)(BLANK, "photos/2.jpg")) == 1


def test_the_one_file_below_the_folder_is_found(photos):
    (photos / "deep").mkdir()
    (photos / "1.jpg").rename(photos / "deep" / "1.jpg")
    assert len(read_coco(written(photos, everybody()), photos, COCO)) == 3
