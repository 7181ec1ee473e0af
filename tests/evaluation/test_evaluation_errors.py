"""Matching of people, kinds of errors, plots, and the command line."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from test_evaluation_coco import assert_figures, dataset, detection, person
from test_evaluation_tracking import BOOKKEEPING, NOT_IMITATED, flat

from rmpe.cli import evaluate_images
from rmpe.cli.evaluate import evaluate
from rmpe.errors import DataError, RmpeError, UsageError
from rmpe.evaluation.benchmarks import PROTOCOLS, measure_of
from rmpe.evaluation.figures import plots
from rmpe.evaluation.figures.error_kinds import (
    error_kinds,
    joint_kinds,
    on_ignored,
    similarity_by_box_iou,
)
from rmpe.evaluation.files import pck as pck_files
from rmpe.evaluation.files.mpii import MpiiPerson
from rmpe.evaluation.files.submissions import check_people, check_results
from rmpe.evaluation.matching.people import match_people
from rmpe.files import read_json
from rmpe.skeletons import load_skeleton

pytest.importorskip("hotcoco")
COCO17 = load_skeleton("coco17")
FILES = {
    "coco": ("coco_gt.json", "coco_keypoint_dets.json"),
    "boxes": ("coco_gt.json", "coco_bbox_dets.json"),
    "crowdpose": ("crowdpose_gt.json", "crowdpose_dets.json"),
    "mpii": ("mpii_multiperson_ap.json", None),
    "posetrack": ("posetrack_eval.json", None),
    "pck": ("pckh_single.npz", None),
}


def matched(annotations, results, min_score=0.0):
    people = check_people(dataset(annotations))
    return match_people(
        people, check_results(results, people, "keypoints")[0], COCO17.sigmas, min_score
    )


def spread_person(identity, x, y, size=200.0, **more):
    """A person with joints far apart, so a wrong position never matches another joint by chance."""
    grid = [[x + size * (j % 5) / 4, y + size * (j // 5) / 3, 2] for j in range(17)]
    annotation = person(identity, 1, x, y, size)
    return annotation | {"keypoints": np.ravel(grid).tolist(), "area": size**2 / 4} | more


# Matching


def test_best_detection_takes_the_most_similar_free_person():
    one, two = spread_person(1, 0, 0), spread_person(2, 400, 0)
    near_one = detection(one, score=0.5, shift=5)
    match = matched([one, two], [near_one, detection(one, score=0.9), detection(two, score=0.1)])[0]
    assert [match.found[i]["score"] for i in match.detection] == [0.9, 0.1]
    assert matched([one, two], [detection(two, score=0.1)], min_score=0.2)[
        0
    ].detection.tolist() == [
        -1,
        -1,
    ]
    assert [len(m.truth) for m in matched([], [])] == [0, 0]


# Kinds of errors


def moved(annotation, joint, place):
    result = detection(annotation)
    result["keypoints"][3 * joint : 3 * joint + 2] = place
    return result


def place_of(annotation, joint):
    return annotation["keypoints"][3 * joint : 3 * joint + 2]


def kinds(found):
    """The error kind of the first person's left wrist, and the number of its good joints."""
    one, two = spread_person(1, 0, 0), spread_person(2, 400, 0)
    match = matched([one, two], [found(one, two), detection(two, score=0.95)])[0]
    flags = joint_kinds(match, COCO17)
    assert sum(f[0].sum() for f in flags.values()) == 17  # every joint has exactly one kind
    return next(kind for kind, f in flags.items() if f[0, 9]), int(flags["good"][0].sum())


@pytest.mark.parametrize(
    ("found", "kind", "good"),
    [
        (lambda one, two: detection(one), "good", 17),
        (lambda one, two: moved(one, 9, np.add(place_of(one, 9), [10, 0])), "jitter", 16),
        (lambda one, two: moved(one, 9, place_of(one, 10)), "inversion", 16),
        (lambda one, two: moved(one, 9, place_of(two, 9)), "swap", 16),
        (lambda one, two: moved(one, 9, place_of(two, 10)), "swap", 16),
        (lambda one, two: moved(one, 9, [-300, -300]), "miss", 16),
    ],
)
def test_kind_of_one_moved_wrist(found, kind, good):
    assert kinds(found) == (kind, good)


def test_nose_has_no_other_side():
    one = spread_person(1, 0, 0)
    flags = joint_kinds(matched([one], [moved(one, 0, [-300, -300])])[0], COCO17)
    assert flags["miss"][0, 0] and not flags["inversion"][0, 0]


def test_people_found_missed_redundant_invented():
    one, two = spread_person(1, 0, 0), spread_person(2, 400, 0)
    crowd = spread_person(3, 0, 800, iscrowd=1)
    nobody = detection(spread_person(9, 3000, 3000), score=0.7)
    matches = matched(
        [one, two, crowd], [detection(one), detection(one, score=0.4), nobody, detection(crowd)]
    )
    counts = error_kinds(matches, COCO17)
    assert counts["people"] == {"found": 1, "missed": 1, "redundant": 1, "invented": 1}
    assert counts["joints"]["good"] == 17 and sum(counts["joints"].values()) == 17
    assert on_ignored(
        matches[0],
        matches[0].found.index(
            next(
                f for f in matches[0].found if f["keypoints"][1] >= 800 and f["keypoints"][0] < 900
            )
        ),
        17,
    )
    assert error_kinds(matched([], []), COCO17)["people"]["found"] == 0


def test_similarity_by_box_iou():
    one = spread_person(1, 0, 0)
    tight = detection(one) | {"bbox": [0, 0, 200, 150]}  # IoU .75
    assert similarity_by_box_iou(matched([one], [tight])) == {"0.7-0.8": (pytest.approx(1), 1)}
    assert similarity_by_box_iou(matched([one], [detection(one)])) == {}


# Plots


def test_plots_without_matplotlib_are_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RmpeError, match=r"pip install 'rmpe\[eval\]'"):
        plots.bars({"a": 1.0}, "t", "y", tmp_path / "a.png")


# The command line


def run(*arguments, catch=True):
    return CliRunner().invoke(evaluate, [str(a) for a in arguments], catch_exceptions=catch)


def arguments_of(parity, name):
    annotations, results = FILES[name]
    given = [name, "--annotations", parity / annotations]
    return given if results is None else [*given, "--results", parity / results]


EXPECTED = {
    "coco": ("coco_expected.json", "keypoints"),
    "boxes": ("coco_expected.json", "bbox"),
    "crowdpose": ("crowdpose_expected.json", None),
    "mpii": ("mpii_multiperson_ap.json", "expected"),
    "posetrack": ("posetrack_eval.json", "expected"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_json_has_the_reference_names(parity, name):
    answer = json.loads(run(*arguments_of(parity, name), "--json", catch=False).stdout)
    file, key = EXPECTED[name]
    expected = read_json(parity / file)
    expected = expected[key] if key else expected
    nested = ("MOTA_per_sequence", "AP_printed_groups") if name == "posetrack" else ()
    assert_figures(flat(answer), flat(expected), 1e-6, (*NOT_IMITATED, *BOOKKEEPING, *nested))
    if name == "coco":
        sizes = {n: v for n, v in read_json(parity / file).items() if n.startswith("n_")}
        assert_figures(answer, sizes, 0)


@pytest.mark.parametrize("name", ["coco", "boxes", "mpii", "pck"])
def test_tables_and_plots(parity, tmp_path, name):
    pytest.importorskip("matplotlib")
    answer = run(*arguments_of(parity, name), "--plots", tmp_path, catch=False)
    assert answer.exit_code == 0 and "plot: " in answer.stdout
    assert all(path.stat().st_size > 5000 for path in tmp_path.iterdir())


def test_against(parity):
    given = arguments_of(parity, "coco")
    answer = json.loads(run(*given, "--against", given[-1], "--samples", 10, "--json").stdout)
    assert answer["against"]["figure"] == "AP"
    assert answer["against"]["difference"] == 0 and answer["against"]["first"] == answer["AP"]
    table = run(*given, "--against", given[-1], "--samples", 10).stdout
    assert all(name in table for name in ("difference", "low", "high"))


def test_unanswerable_questions(parity, tmp_path):
    truth = parity / "coco_gt.json"
    with pytest.raises(UsageError, match="give --results or --images"):
        run("coco", "--annotations", truth, catch=False)
    with pytest.raises(UsageError, match="exclude each other"):
        run("coco", "--annotations", truth, "--results", truth, "--images", tmp_path, catch=False)
    nameless = tmp_path / "nameless.json"
    nameless.write_text(json.dumps(read_json(parity / "crowdpose_gt.json") | {"categories": []}))
    with pytest.raises(DataError, match="14 joints a person are those of no skeleton that ships"):
        PROTOCOLS["coco"](nameless, parity / "crowdpose_dets.json")
    with pytest.raises(DataError, match="coco17 has 17 joints a person, the file has 14"):
        measure_of("coco", COCO17)(nameless, parity / "crowdpose_dets.json")
    with pytest.raises(UsageError, match="--skeleton is for coco"):
        measure_of("mpii", COCO17)
    with pytest.raises(DataError, match="not a NumPy file of arrays"):
        (tmp_path / "x.npz").write_bytes(b"nothing")
        PROTOCOLS["pck"](tmp_path / "x.npz", None)


def test_pck_from_mpii_json(tmp_path):
    joints = [[10.0 * j, 5.0] for j in range(16)]
    people = [
        {
            "image": "a.jpg",
            "scale": 1.0,
            "center": [50, 50],
            "joints": joints,
            "joints_vis": [1] * 15 + [0],
        }
    ]
    found = [
        {
            "keypoints": np.ravel(
                # MPII's files count pixels from 1.
                [[x - 1 + (13 if j == 0 else 12), y - 1, 1] for j, (x, y) in enumerate(joints)]
            ).tolist()
        }
    ]
    (tmp_path / "valid.json").write_text(json.dumps(people), "utf-8")
    (tmp_path / "found.json").write_text(json.dumps(found), "utf-8")
    measured = PROTOCOLS["pck"](tmp_path / "valid.json", tmp_path / "found.json")
    # Head size 25: 12 px is within half of it, 13 px is not.
    assert (
        measured.figures["pckh50_plain"][:2] == [0, 100]
        and measured.figures["n_annotated"][-1] == 0
    )
    assert measured.headline(np.ones(1)) == pytest.approx(measured.figures["pooled14"])
    (tmp_path / "found.json").write_text("[]", "utf-8")
    with pytest.raises(DataError, match="0 for 1"):
        pck_files.read_annotations(tmp_path / "valid.json", tmp_path / "found.json")


# From images


@pytest.fixture(scope="module")
def photos(data_root, tmp_path_factory):
    """Annotations of two photos as COCO, PoseTrack and MPII files, with command-line arguments."""
    folder = tmp_path_factory.mktemp("photos")
    whole = read_json(data_root / "data" / "coco-val" / "annotations.json")
    sizes = [(image["height"], image["width"]) for image in whole["images"]]
    size = max(set(sizes), key=sizes.count)  # frames of a video have one size
    alike = [image for image, one in zip(whole["images"], sizes, strict=True) if one == size]
    whole["images"] = alike[:2]
    kept = [image["id"] for image in whole["images"]]
    whole["annotations"] = [a for a in whole["annotations"] if a["image_id"] in kept]
    (folder / "coco.json").write_text(json.dumps(whole), "utf-8")
    names = [
        *(n.replace("upper_neck", "head_bottom") for n in load_skeleton("posetrack15").joints),
        "left_ear",
    ]
    person = {"bbox_head": [0, 0, 3, 4], "track_id": 1, "keypoints": [5.0, 5.0, 1.0] * 16}
    video = {
        "images": [
            {"id": image["id"], "vid_id": "v", "file_name": f"images/v/{image['file_name']}"}
            for image in whole["images"]
        ],
        "annotations": [person | {"image_id": image} for image in kept],
        "categories": [{"id": 1, "name": "person", "keypoints": names}],
    }
    (folder / "posetrack.json").write_text(json.dumps(video), "utf-8")
    joints = {"joints": [[50, 50]] * 16, "joints_vis": [1] * 16}
    mpii = [
        {"image": image["file_name"], "scale": 1.5, "center": [320, 220]} | joints
        for image in whole["images"]
    ]
    (folder / "mpii.json").write_text(json.dumps(mpii), "utf-8")
    models = data_root / "models"
    options = [
        "--images",
        data_root / "data" / "coco-val" / "images",
        "--detector",
        models / "yolox_nano.onnx",
    ]
    return folder, [*options, "--pose", models / "tinypose_256x192.onnx", "--json"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("coco", "coco"),
        ("boxes", "coco"),
        pytest.param("posetrack", "posetrack", marks=pytest.mark.slow),
        pytest.param("mpii", "mpii", marks=pytest.mark.slow),
        pytest.param("pck", "mpii", marks=pytest.mark.slow),
    ],
)
def test_from_images(photos, name, file):
    folder, options = photos
    saved = folder / f"{name}.results.json"
    answer = run(
        name,
        "--annotations",
        folder / f"{file}.json",
        *options,
        "--save-results",
        saved,
        catch=False,
    )
    figures = json.loads(answer.stdout)
    results = read_json(saved)
    assert results and all(
        len(result["keypoints"]) in (45, 48, 51) for result in results if "keypoints" in result
    )
    if name == "coco":
        assert figures["AP"] > 0.3
    if name == "boxes":
        assert figures["recall50"] > 0.3
    if name == "posetrack":
        assert "HOTA" in figures and all("track_id" in result for result in results)
    if name == "pck":
        assert len(results) == 2


def test_missing_image_is_one_clear_line(photos, tmp_path):
    folder, options = photos
    options = ["--images", tmp_path, *options[2:]]
    with pytest.raises(RmpeError, match="of the annotations is not there"):
        run("boxes", "--annotations", folder / "coco.json", *options, catch=False)


def test_pck_boxes_are_grown_once():
    """200 px a unit of MPII's scale: a crop of the usual 250 px is the model's own growth."""
    person = MpiiPerson("a.jpg", 2.0, (300.0, 250.0), np.full((16, 3), np.nan), 50.0)
    assert evaluate_images._box(person) == [100, 50, 500, 450]
    with pytest.raises(DataError, match="no 'center'"):
        evaluate_images._box(replace(person, center=(np.nan, np.nan)))
