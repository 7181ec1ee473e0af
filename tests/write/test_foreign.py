"""Formats with joints of their own and skeletons that share none of them."""

import numpy as np
import pytest

from rmpe.errors import UsageError
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton, load_skeleton
from rmpe.write.foreign import require_joints
from rmpe.write.openpose import BODY_25, body_25


def skeleton(*joints):
    return Skeleton.from_dict(
        {"name": "own", "joints": list(joints), "limbs": [], "sigmas": [0.05] * len(joints)}
    )


GLOVE = skeleton("wrist", "left_tip", "right_tip")


@pytest.mark.parametrize("name", ["openpose", "posetrack"])
def test_no_joint_in_common_is_refused(name):
    with pytest.raises(UsageError, match=f"--format {name}: it has none of the joints"):
        require_joints(["coco", name], GLOVE)


def test_what_can_be_written_is():
    require_joints([], GLOVE)
    require_joints(["coco", "csv", "mot", "trc", "alphapose"], GLOVE)
    for name in ("coco17", "crowdpose14", "mpii16", "posetrack15", "lsp14"):
        require_joints(["openpose", "posetrack"], load_skeleton(name))
    require_joints(["openpose"], skeleton("Left Ankle", "x"))


def test_feet_are_written():
    feet = skeleton("left_ankle", "left_big_toe", "leftSmallToe", "left_heel", "right_heel")
    points = np.arange(10, dtype=np.float32).reshape(1, 5, 2)
    rows = body_25(Poses(points, np.full((1, 5), 0.5), [0.9], [[0, 0, 9, 9]], feet))
    written = [name for name, row in zip(BODY_25, rows[0], strict=True) if row[2] > 0]
    assert written == ["left_ankle", "left_big_toe", "left_small_toe", "left_heel", "right_heel"]
    assert rows[0, BODY_25.index("left_small_toe")].tolist() == [4, 5, 0.5]
