"""Labelled data sets go from format to format and come back as they were."""

import json
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from small_set import write_set

from rmpe.cli import rmpe
from rmpe.errors import DataError, OutputError, RmpeError
from rmpe.exchange.convert import FORMATS, ExchangeOptions, read_data_set, write_data_set
from rmpe.exchange.labelled import LabelledImage, LabelledPerson, LabelledSet
from rmpe.files import parse_xml, parse_yaml
from rmpe.skeletons import Skeleton, load_skeleton

COCO = load_skeleton("coco17")
GLOVE = Skeleton.from_dict(
    {
        "name": "glove",
        "joints": ["wrist", 'left <tip> & "nail"', "right_tip"],
        "limbs": [["wrist", "right_tip"]],
        "sigmas": [0.05, 0.05, 0.05],
    }
)
OPTIONS = ExchangeOptions()


def made_set(skeleton, folder, names=("a.png", "trip/ä b.png", "images/c.png"), predicted=False):
    """People with hidden and unlabelled joints, boxes only, crowds, an empty image; with files."""
    import cv2

    rng = np.random.default_rng(3)
    images = []
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imencode(".png", np.zeros((120, 160, 3), np.uint8))[1].tofile(path)
        people = []
        for place in range(2 * (number != 1)):
            box = np.array([10 + 70.0 * place, 15, 60, 90])
            points = np.zeros((len(skeleton), 3))
            points[:, :2] = (box[:2] + rng.random((len(skeleton), 2)) * box[2:]).round(2)
            points[:, 2] = [2, *rng.integers(0, 3, len(skeleton) - 1)]
            points[points[:, 2] == 0] = 0
            people.append(LabelledPerson(box, points, score=0.5 if predicted else None))
        if number == 2 and not predicted:
            nobody = np.zeros((len(skeleton), 3))
            people.append(LabelledPerson(np.array([1.0, 2, 30, 40]), nobody))
            people.append(LabelledPerson(np.array([5.0, 2, 130, 90]), nobody, crowd=True))
        images.append(LabelledImage(name, (120, 160), tuple(people), 7 + number, path))
    return LabelledSet(skeleton, tuple(images), predicted=predicted)


def assert_same(found, made, *, crowds=True):
    assert [image.name for image in found.images] == [image.name for image in made.images]
    for one, other in zip(found.images, made.images, strict=True):
        assert one.size == other.size
        wanted = [person for person in other.people if crowds or not person.crowd]
        key = lambda person: (person.crowd, not person.labelled, *person.box)  # noqa: E731
        for own, true in zip(sorted(one.people, key=key), sorted(wanted, key=key), strict=True):
            assert np.allclose(own.box, true.box, atol=0.006)
            assert np.allclose(own.keypoints, true.keypoints, atol=0.006)
            assert own.crowd == true.crowd


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("skeleton", [COCO, GLOVE, load_skeleton("wholebody133")], ids=str)
def test_every_format_gives_back_what_went_in(kind, skeleton, tmp_path):
    names = ("a.png", "trip/ä b.png", "d/c.png")
    made = made_set(skeleton, tmp_path / "photos", names)
    options = ExchangeOptions(
        skeleton=skeleton, images=tmp_path / "photos", copy_images=kind == "yolo"
    )
    files = write_data_set(made, kind, tmp_path / "out", options)
    found = read_data_set(files[0], options)
    if kind == "yolo":  # it lists what lies in the folder
        made = LabelledSet(skeleton, tuple(sorted(made.images, key=lambda one: one.path)))
    assert_same(found, made, crowds=kind != "yolo")
    assert not found.predicted
    assert not found.warnings


@pytest.mark.parametrize("kind", FORMATS)
def test_an_empty_set_and_an_image_with_nobody(kind, tmp_path):
    none = LabelledSet(COCO, ())
    files = write_data_set(none, kind, tmp_path / "none", OPTIONS)
    options = ExchangeOptions(skeleton=COCO, images=tmp_path)
    if kind == "yolo":
        with pytest.raises(DataError, match="no such folder"):
            read_data_set(files[0], options)
    else:
        assert read_data_set(files[0], options).images == ()
    alone = made_set(COCO, tmp_path / "photos", ("x.png", "y.png"))
    alone = LabelledSet(COCO, alone.images[1:])
    assert not alone.images[0].people
    options = ExchangeOptions(skeleton=COCO, images=tmp_path / "photos", copy_images=kind == "yolo")
    files = write_data_set(alone, kind, tmp_path / "alone", options)
    assert_same(read_data_set(files[0], options), alone)


def test_ids_return_by_name_or_number(tmp_path):
    made = made_set(COCO, tmp_path / "photos", ("000031.png", "000007.png"))
    files = write_data_set(made, "cvat", tmp_path / "cvat", OPTIONS)
    back = read_data_set(files[0], OPTIONS)
    write_data_set(back, "coco", tmp_path / "coco", OPTIONS)
    data = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert {image["file_name"]: image["id"] for image in data["images"]} == {
        "000031.png": 31,
        "000007.png": 7,
    }


def test_predictions_go_to_a_tool_and_come_back_to_train_and_evaluate(tmp_path, monkeypatch):
    """`rmpe predict`'s files, corrected in each tool, are a training set with the same ids."""
    monkeypatch.chdir(tmp_path)
    annotations, photos = write_set(tmp_path / "made", COCO)
    truth = json.loads(annotations.read_text())
    results = tmp_path / "results"
    results.mkdir()
    rows = [
        {
            "image_id": person["image_id"], "category_id": 1, "bbox": person["bbox"],
            "score": 0.9 if number else 0.1,
            "keypoints": [v / 2 if at % 3 == 2 else v for at, v in enumerate(person["keypoints"])],
        }
        for number, person in enumerate(truth["annotations"])
    ]  # fmt: skip
    (results / "coco.json").write_text(json.dumps(rows))
    images = [one | {"path": str(photos / one["file_name"])} for one in truth["images"]]
    (results / "images.json").write_text(json.dumps(images))
    for kind in FORMATS:
        convert("results", "--to", kind, "--out", kind, "--copy-images")
        convert(str(first_file(tmp_path / kind)), "--to", "coco", "--out", f"{kind}-back")
        back = json.loads((tmp_path / f"{kind}-back" / "annotations.json").read_text())
        assert [one["id"] for one in back["images"]] == [0, 1, 2]
        assert len(back["annotations"]) == len(rows) - 1  # the weak one is left out
        for person, true in zip(back["annotations"], truth["annotations"][1:], strict=True):
            assert np.allclose(person["keypoints"], true["keypoints"], atol=0.01)
            assert np.allclose(person["bbox"], true["bbox"], atol=0.01)
        measure = [
            "--annotations",
            f"{kind}-back/annotations.json",
            "--results",
            "results/coco.json",
        ]
        done = CliRunner().invoke(rmpe, ["evaluate", "coco", *measure, "--samples", "10", "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["AP"] == pytest.approx(1)


def convert(*arguments):
    done = CliRunner().invoke(rmpe, ["dataset", *arguments])
    assert done.exit_code == 0, (done.output, done.exception)


def first_file(folder):
    names = ("data.yaml", "annotations.xml", "tasks.json", "annotations.json")
    return next(folder / name for name in names if (folder / name).is_file())


def test_label_studio_gets_predictions_and_uploads_are_found(tmp_path):
    made = made_set(COCO, tmp_path / "photos", ("a.png",), predicted=True)
    write_data_set(made, "label-studio", tmp_path / "out", OPTIONS)
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert tasks[0]["data"] == {"image": "/data/local-files/?d=a.png"}
    assert "annotations" not in tasks[0]
    tasks[0]["data"] = {"image": "/data/upload/4/0a1b2c3d-a.png"}
    corrected = tasks[0]["predictions"][0]["result"]
    loose = [dict(row) for row in corrected]
    for row in loose:
        row.pop("parentID", None)  # as a joint that somebody adds
    tasks[0]["annotations"] = [
        {"result": [], "was_cancelled": True, "created_at": "2030"},
        {"result": [], "created_at": "2020"},
        {"result": loose, "created_at": "2021"},
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    back = read_data_set(tmp_path / "tasks.json", OPTIONS)
    assert_same(back, made)
    assert not back.predicted
    several, parents = (line.partition(": ")[2] for line in back.warnings)
    assert several.startswith("1 x task with several annotations, the newest is taken")
    joints = sum(row["type"] == "keypointlabels" for row in loose)
    assert parents.startswith(f"{joints} x joint without a parent")


def test_cvat_archives_and_plain_points(tmp_path):
    made = made_set(COCO, tmp_path / "photos", ("a.png",))
    write_data_set(made, "cvat", tmp_path, OPTIONS)
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.write(tmp_path / "annotations.xml", "annotations.xml")
    assert_same(read_data_set(tmp_path / "export.zip", OPTIONS), made)
    places = ";".join(f"{10 + at},{20 + at}" for at in range(17))
    (tmp_path / "points.xml").write_text(
        '<annotations><image id="0" name="a.png" width="160" height="120">'
        f'<points label="person" occluded="0" points="{places}"/></image></annotations>'
    )
    found = read_data_set(tmp_path / "points.xml", ExchangeOptions(skeleton=COCO))
    assert found.images[0].people[0].keypoints[16].tolist() == [26, 36, 2]
    assert "without a box" in found.warnings[0]
    assert np.allclose(found.images[0].people[0].box, [8.4, 18.4, 19.2, 19.2])


def test_yolo_is_laid_out_as_documented(tmp_path):
    made = made_set(COCO, tmp_path / "photos", ("a.png",))
    write_data_set(made, "yolo", tmp_path / "out", ExchangeOptions(copy_images=True))
    data = parse_yaml((tmp_path / "out" / "data.yaml").read_bytes(), "data.yaml")
    assert data["kpt_shape"] == [17, 3]
    assert data["flip_idx"] == [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    assert data["names"] == {0: "person"}
    assert (tmp_path / "out" / "images" / "a.png").is_file()
    line = (tmp_path / "out" / "labels" / "a.txt").read_text().splitlines()[0].split()
    assert len(line) == 5 + 17 * 3
    assert [float(word) for word in line[:5]] == [0, 40 / 160, 60 / 120, 60 / 160, 90 / 120]


def test_yolo_cuts_to_the_image_and_reads_two_dimensions(tmp_path):
    points = np.zeros((17, 3))
    points[:3] = [[-5, 10, 2], [20, 10, 2], [30, 10, 1]]
    person = LabelledPerson(np.array([-10.0, 0, 50, 130]), points)
    made = made_set(COCO, tmp_path / "photos", ("a.png",))
    made = LabelledSet(
        COCO, (LabelledImage("a.png", (120, 160), (person,), 1, made.images[0].path),)
    )
    write_data_set(made, "yolo", tmp_path / "out", ExchangeOptions(copy_images=True))
    found = read_data_set(tmp_path / "out", OPTIONS).images[0].people[0]
    assert np.allclose(found.box, [0, 0, 40, 120])
    assert np.allclose(found.keypoints[:3], [[0, 0, 0], [20, 10, 2], [30, 10, 1]], atol=1e-5)
    yaml = tmp_path / "out" / "data.yaml"
    yaml.write_text(yaml.read_text().replace("[17, 3]", "[17, 2]"))
    label = tmp_path / "out" / "labels" / "a.txt"
    label.write_text("0 .5 .5 .25 .5 " + " ".join(["0.5 0.25"] * 16 + ["0 0"]))
    found = read_data_set(tmp_path / "out", OPTIONS).images[0].people[0]
    assert found.keypoints[0].tolist() == [80, 30, 2]
    assert found.keypoints[16].tolist() == [0, 0, 0]


XML = '<annotations><image id="0" name="a" width="9" height="9">{}</image></annotations>'
REGION = {
    "id": "r", "type": "keypointlabels", "original_width": 10, "original_height": 10,
    "value": {"x": 1, "y": 1, "keypointlabels": ["nose"]},
}  # fmt: skip


def tasks(**change):
    row = REGION | change
    return json.dumps([{"data": {"image": "a"}, "annotations": [{"result": [row]}]}])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "", "not JSON"),
        ("a.json", "{}", "not COCO annotations"),
        ("a.json", "[1]", "task 0 is 1, not a table"),
        ("a.json", '[{"data": {}}]', "'data' has no 'image'"),
        ("a.json", tasks(value={"x": None}), "'x' is nothing"),
        ("a.json", tasks(original_width=0), "0 x 10 pixels"),
        ("a.json", tasks(image_rotation=90), "turn it upright"),
        ("a.json", tasks(value={"x": 1, "y": 1, "keypointlabels": ["fin"]}), "no skeleton that"),
        ("a.xml", "<a>", "not XML"),
        ("a.xml", "<a/>", "not a file of CVAT"),
        ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "document type"),
        ("a.xml", "<a>" * 200, "nested more than"),
        ("a.xml", "<annotations><track/></annotations>", "made for videos"),
        ("a.xml", XML.format(""), "no names"),
        ("a.xml", XML.format('<skeleton><points label="fin" points="1,1"/></skeleton>'), "fin"),
        ("a.zip", "PK\x03\x04", "damaged archive"),
        ("a.yaml", "a: *b", "aliases"),
        ("a.yaml", "a: [", "not YAML"),
        ("a.yaml", "[" * 100_000, "nested more than"),
        ("a.yaml", "- " * 5000 + "a", "nested more than"),
        ("a.yaml", "a: 1", "no 'kpt_shape'"),
        ("a.yaml", "kpt_shape: [5, 3]", "no skeleton that ships"),
        ("a.yaml", "kpt_shape: [17, 3]", "none of 'train'"),
        ("a.yaml", "kpt_shape: [17, 3]\ntrain: x\nnames: [a, b]", "no class is called person"),
    ],
)
def test_what_is_broken_is_one_line_that_names_the_file(name, text, message, tmp_path):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(RmpeError) as caught:
        read_data_set(file, OPTIONS)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 .5 .5 .1", "a class, a box and joints"),
        ("x", "not numbers"),
        ("0 .5 .5 .1 nan", "finite"),
        ("0 50 50 20 20", "shares of the image"),
        ("0 .5 .5 .1 .1 .5 .5", "7 numbers, not 56"),
        ("0.5 .5 .5 .1 .1", "not the number of a class"),
    ],
)
def test_a_broken_line_of_labels_is_named(line, message, tmp_path):
    made = made_set(COCO, tmp_path / "photos", ("a.png",))
    write_data_set(made, "yolo", tmp_path / "out", ExchangeOptions(copy_images=True))
    (tmp_path / "out" / "labels" / "a.txt").write_text(f"\n{line}\n")
    with pytest.raises(DataError, match=r"labels/a\.txt: line 2") as caught:
        read_data_set(tmp_path / "out", OPTIONS)
    assert message in str(caught.value)


def test_xml_keeps_text_and_attributes():
    root = parse_xml('<a b="ä &amp; c"><d>e</d></a>'.encode(), "x")
    assert root.get("b") == "ä & c"
    assert root.findtext("d") == "e"


def test_names_outside_the_folder_are_not_written(tmp_path):
    made = made_set(COCO, tmp_path / "photos", ("a.png",))
    bad = LabelledSet(COCO, (LabelledImage("../a.png", (9, 9), (), 1, made.images[0].path),))
    for kind in ("yolo", "coco"):
        with pytest.raises(RmpeError, match="outside the data set"):
            write_data_set(bad, kind, tmp_path / "out", ExchangeOptions(copy_images=True))


def test_photos_that_nobody_labelled_go_to_every_tool(tmp_path):
    photos = tmp_path / "photos"
    made_set(GLOVE, photos, ("a.png", "b.png"))
    with pytest.raises(DataError, match="--skeleton"):
        read_data_set(photos, OPTIONS)
    found = read_data_set(photos, ExchangeOptions(skeleton=GLOVE))
    assert [(image.name, image.size, image.people) for image in found.images] == [
        ("a.png", (120, 160), ()),
        ("b.png", (120, 160), ()),
    ]
    for kind in FORMATS:
        assert write_data_set(found, kind, tmp_path / kind, OPTIONS)[0].is_file()


def test_a_new_person_in_cvat_begins_as_the_people_of_the_set(tmp_path):
    points = np.zeros((3, 3))
    points[:2] = [[30, 40, 2], [60, 100, 1]]  # the third joint is nobody's
    person = LabelledPerson(np.array([10.0, 20, 100, 100]), points)
    made = LabelledSet(GLOVE, (LabelledImage("a.png", (200, 200), (person, person)),))
    write_data_set(made, "cvat", tmp_path, OPTIONS)
    svg = json.loads((tmp_path / "labels.json").read_text())[0]["svg"]
    root = parse_xml(f"<svg>{svg}</svg>".encode(), "svg")
    circles = [(float(one.get("cx")), float(one.get("cy"))) for one in root.iter("circle")]
    assert circles[:2] == [(26, 26), (50, 74)]
    assert np.hypot(circles[2][0] - 50, circles[2][1] - 50) == pytest.approx(40, abs=0.1)
    assert [one.get("data-label-name") for one in root.iter("circle")] == [*GLOVE.joints]
    assert [(one.get("data-node-from"), one.get("data-node-to")) for one in root.iter("line")] == [
        ("1", "3")
    ]


def test_labels_of_another_set_are_not_mixed_in(tmp_path):
    out = tmp_path / "out"
    stray = out / "labels" / "other.txt"
    stray.parent.mkdir(parents=True)
    stray.touch()
    with pytest.raises(OutputError, match=r"other\.txt: labels of another data set"):
        write_data_set(made_set(COCO, tmp_path), "yolo", out, OPTIONS)
