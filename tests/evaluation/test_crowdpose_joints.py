"""CrowdPose's joints from COCO's, and models measured by CrowdPose on photos."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_models import RGB3, spot_pose_model, spots

pytest.importorskip("hotcoco")

from rmpe.cli import rmpe as command
from rmpe.evaluation.files.crowdpose_joints import to_crowdpose
from rmpe.media.images import save_image
from rmpe.poses import Poses
from rmpe.skeletons import load_skeleton

COCO = load_skeleton("coco17")
CROWDPOSE = load_skeleton("crowdpose14")


def person(found, skeleton=COCO):
    """One pose with the joints of ``found``: x, y, score."""
    points = np.full((1, len(skeleton), 2), np.nan)
    scores = np.zeros((1, len(skeleton)))
    for name, (x, y, score) in found.items():
        joint = skeleton.joints.index(name)
        points[0, joint] = x, y
        scores[0, joint] = score
    return Poses(points, scores, [0.5], [[0, 0, 100, 200]], skeleton)


SHOULDERS = {"left_shoulder": (60, 40, 0.8), "right_shoulder": (40, 40, 0.6)}
REACH = 0.182 / 0.118


@pytest.mark.parametrize(
    ("found", "neck", "head"),
    [
        ({}, None, None),
        ({"nose": (50, 20, 0.9)}, None, None),
        ({"left_shoulder": (60, 40, 0.8), "nose": (50, 20, 0.9)}, None, None),
        (SHOULDERS, (50, 40, 0.6), None),
        (SHOULDERS | {"nose": (50, 20, 0.9)}, (50, 40, 0.6), (50, 40 - 20 * REACH, 0.6)),
        (
            SHOULDERS | {"left_ear": (56, 22, 0.3), "right_ear": (48, 18, 0.5)},
            (50, 40, 0.6),
            (50 + 2 * REACH, 40 - 20 * REACH, 0.4),
        ),
    ],
    ids=["nothing", "nose alone", "one shoulder", "shoulders", "nose", "ears"],
)
def test_head_and_neck(found, neck, head):
    moved = to_crowdpose(person(found), CROWDPOSE)
    for name, expected in (("upper_neck", neck), ("head_top", head)):
        joint = CROWDPOSE.joints.index(name)
        score = moved.keypoint_scores[0, joint]
        if expected is None:
            assert score == 0
            assert np.isnan(moved.keypoints[0, joint]).all()
        else:
            np.testing.assert_allclose([*moved.keypoints[0, joint], score], expected, rtol=1e-5)


def test_joints_that_are_there_stay():
    every = {
        name: (10 * place, 5 * place, 0.5) for place, name in enumerate(CROWDPOSE.joints, start=1)
    }
    poses = person(every, CROWDPOSE)
    np.testing.assert_array_equal(to_crowdpose(poses, CROWDPOSE).keypoints, poses.keypoints)
    back = poses.to_skeleton(COCO)
    assert int((back.keypoint_scores > 0).sum()) == 12
    assert len(to_crowdpose(Poses.empty(COCO), CROWDPOSE)) == 0


@pytest.mark.parametrize("associate", ["none", "paper", "released"])
def test_evaluate_models_by_crowdpose(tmp_path, associate):
    """A made model that finds three of the 14 joints where the annotations have them."""
    places = [(60.0, 50.0), (75.0, 90.0), (52.0, 110.0)]
    save_image(tmp_path / "000001.png", spots((160, 140), places, 5))
    model = spot_pose_model(tmp_path)
    names = ("left_shoulder", "right_hip", "left_ankle")
    skeleton = RGB3
    for old, new in zip(("left_red", "right_green", "blue"), names, strict=True):
        skeleton = skeleton.replace(old, new)
    (tmp_path / "rgb3.toml").write_text(skeleton)
    keypoints = np.zeros((14, 3))
    for name, place in zip(names, places, strict=True):
        keypoints[CROWDPOSE.joints.index(name)] = *place, 2
    box = [40, 30, 50, 100]
    truth = {
        "images": [
            {"id": 1, "file_name": "000001.png", "height": 160, "width": 140, "crowdIndex": 0.5}
        ],
        "annotations": [
            {
                "id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": box,
                "num_keypoints": 3, "keypoints": keypoints.ravel().tolist(),
            }
        ],
        "categories": [{"id": 1, "name": "person"}],
    }  # fmt: skip
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "boxes.json").write_text(
        json.dumps([{"image_id": 1, "category_id": 1, "bbox": box, "score": 0.9}])
    )
    done = CliRunner().invoke(
        command,
        [
            "evaluate", "crowdpose", "--annotations", str(tmp_path / "truth.json"), "--images",
            str(tmp_path), "--boxes", str(tmp_path / "boxes.json"), "--pose", str(model),
            "--associate", associate, "--json",
        ],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["AP"] == report["AP_medium"] == pytest.approx(1)
    assert report["AP_easy"] == report["AP_hard"] == -1
