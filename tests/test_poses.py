import json

import numpy as np
import pytest

from rmpe.errors import DataError
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton, load_skeleton, skeleton_names

COCO = load_skeleton("coco17")


def some_poses(count, skeleton=COCO, seed=0, ids=None):
    rng = np.random.default_rng(seed)
    joints = len(skeleton)
    return Poses(
        rng.uniform(0, 300, (count, joints, 2)),
        rng.uniform(0, 1, (count, joints)),
        rng.uniform(0, 1, count),
        np.sort(rng.uniform(0, 300, (count, 2, 2)), axis=1).reshape(count, 4),
        skeleton,
        ids,
    )


def same(a, b):
    return all(
        np.array_equal(getattr(a, name), getattr(b, name), equal_nan=name == "keypoints")
        for name in ("keypoints", "keypoint_scores", "scores", "boxes", "track_ids")
    )


def test_nobody_is_fine():
    nobody = Poses.empty(COCO)
    assert len(nobody) == 0
    assert nobody.to_coco(7) == []
    assert same(Poses.from_dict(nobody.to_dict(), COCO), nobody)
    assert len(Poses.merge([nobody, nobody])) == 0
    assert len(nobody[:1]) == 0
    assert nobody.to_skeleton(load_skeleton("mpii16")).keypoints.shape == (0, 16, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"keypoints": np.zeros((2, 16, 2))},
            r"keypoints of 2 poses .* \(2, 17, 2\), got \(2, 16, 2\)",
        ),
        ({"keypoint_scores": np.zeros((1, 17))}, "keypoint_scores"),
        ({"scores": [0.5, 1.5]}, r"\[0, 1\]"),
        ({"scores": [0.5, np.nan]}, r"\[0, 1\]"),
        ({"boxes": np.full((2, 4), np.nan)}, "finite"),
        ({"track_ids": [1]}, "track_ids"),
        ({"keypoints": np.full((2, 17, 2), np.nan)}, "finite coordinates"),
    ],
)
def test_wrong_arrays_are_refused(change, message):
    arrays = {
        "keypoints": np.zeros((2, 17, 2)),
        "keypoint_scores": np.ones((2, 17)),
        "scores": np.ones(2),
        "boxes": np.zeros((2, 4)),
    }
    with pytest.raises(ValueError, match=message):
        Poses(**(arrays | change), skeleton=COCO)


def test_slices_and_merges_are_poses():
    poses = some_poses(4, ids=[3, -1, 5, 6])
    assert same(Poses.merge([poses[:1], poses[1:]]), poses)
    assert poses[2].track_ids.tolist() == [5]
    assert poses[-1].track_ids.tolist() == [6]
    assert poses[poses.track_ids > 4].track_ids.tolist() == [5, 6]
    assert "4 x coco17" in repr(poses)
    with pytest.raises(ValueError, match="different skeletons"):
        Poses.merge([poses, some_poses(1, load_skeleton("mpii16"))])


def test_people_one_by_one():
    poses = some_poses(3)
    assert [person.scores[0] for person in poses] == poses.scores.tolist()
    with pytest.raises(IndexError):
        poses[3]


def test_dict_round_trip_is_exact_through_json():
    poses = some_poses(3).to_skeleton(load_skeleton("crowdpose14"))  # has missing joints
    assert np.isnan(poses.keypoints).any()
    assert same(Poses.from_dict(json.loads(json.dumps(poses.to_dict())), poses.skeleton), poses)


def test_coco_rows():
    row = some_poses(1, ids=[4]).to_coco(12)[0]
    assert (row["image_id"], row["category_id"], row["track_id"]) == (12, 1, 4)
    assert len(row["keypoints"]) == 51
    x, y, w, h = row["bbox"]
    np.testing.assert_allclose([x, y, x + w, y + h], some_poses(1).boxes[0], atol=2e-3)


@pytest.mark.parametrize("name", skeleton_names())
def test_shipped_skeletons_are_sound(name):
    skeleton = load_skeleton(name)
    assert len(skeleton.sigmas) == len(skeleton.colors) == len(skeleton)
    assert len(skeleton.pairs) >= (0 if name.startswith("hand") else 6)
    assert np.array_equal(skeleton.flip_order[skeleton.flip_order], np.arange(len(skeleton)))
    joined = {joint for limb in skeleton.limbs for joint in limb}
    alone = {joint for joint in range(len(skeleton)) if joint not in joined}
    assert all("face_" in skeleton.joints[joint] for joint in alone)


def test_conversion_keeps_joints_of_the_same_name():
    coco, mpii = some_poses(2), load_skeleton("mpii16")
    converted = coco.to_skeleton(mpii)
    left_knee = converted.keypoints[:, mpii.joints.index("left_knee")]
    np.testing.assert_array_equal(left_knee, coco.keypoints[:, COCO.joints.index("left_knee")])
    assert np.all(converted.keypoint_scores[:, mpii.joints.index("pelvis")] == 0)
    assert np.isnan(converted.keypoints[:, mpii.joints.index("pelvis")]).all()


def test_a_skeleton_of_ones_own(tmp_path):
    file = tmp_path / "arrow.toml"
    file.write_text(
        'name = "arrow"\njoints = ["tip", "left_end"]\n'
        'limbs = [["tip", "left_end"]]\nsigmas = [0.1, 0.2]\n'
    )
    skeleton = load_skeleton(str(file))
    assert (skeleton.limbs, skeleton.pairs) == (((0, 1),), ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 1 2", "not TOML"),
        ('name = "a"', "needs"),
        ('name = "a"\njoint = []', "unknown key 'joint'"),
        ('name = "a"\njoints = ["x", "x"]\nlimbs = []\nsigmas = [1, 1]', "different names"),
        ('name = "a"\njoints = ["x", "y"]\nlimbs = [["x", "z"]]\nsigmas = [1, 1]', "limb"),
        ('name = "a"\njoints = ["x", "y"]\nlimbs = []\nsigmas = [1]', "2 positive sigmas"),
    ],
)
def test_wrong_skeleton_files_are_named(tmp_path, text, message):
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        load_skeleton(str(file))
    assert "wrong.toml" in str(caught.value)


def test_unknown_skeleton_lists_the_known():
    with pytest.raises(DataError, match="coco17"):
        load_skeleton("coco18")
    with pytest.raises(DataError, match=r"gone\.toml"):
        load_skeleton("gone.toml")


def test_skeleton_is_a_value():
    assert load_skeleton("coco17") == Skeleton.from_dict(
        {
            "name": COCO.name,
            "joints": list(COCO.joints),
            "limbs": [[COCO.joints[a], COCO.joints[b]] for a, b in COCO.limbs],
            "sigmas": list(COCO.sigmas),
        }
    )
