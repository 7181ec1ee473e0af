"""The two releases compared with their own outputs; OKS-NMS and soft OKS-NMS with plain loops."""

import math

import numpy as np
import pytest

from rmpe.poses import Poses
from rmpe.skeletons import load_skeleton
from rmpe.suppress import SUPPRESSORS
from rmpe.suppress.oks import oks_nms, pairwise_oks
from rmpe.suppress.released import alphapose, rmpe2016, similarity_2016, similarity_alphapose
from rmpe.suppress.soft_oks import soft_oks_nms

COCO = load_skeleton("coco17")


def cases(path):
    data = np.load(path)
    for case in range(len(data["n"])):
        names = [name for name in data.files if name.startswith(f"c{case:03d}_")]
        values = {name[5:]: data[name] for name in names}
        yield (
            case,
            {
                key: array.astype(np.float64) if array.dtype.kind == "f" else array
                for key, array in values.items()
            },
        )


def test_release_of_2016(parity):
    count = 0
    for _, case in cases(parity / "pose_nms_rmpe2017.npz"):
        arguments = case["boxes"], case["poses"], case["scores"]
        soft, spatial = similarity_2016(*arguments)
        np.testing.assert_allclose(soft, case["K_sim"], rtol=0, atol=1e-4)
        np.testing.assert_allclose(spatial, case["H_sim"], rtol=0, atol=1e-4)
        result = rmpe2016(*arguments)
        np.testing.assert_array_equal(result.picks, case["cluster_pick"])
        np.testing.assert_array_equal(result.labels, case["cluster_label"])
        np.testing.assert_array_equal(result.kept, case["cluster_kept"])
        np.testing.assert_allclose(result.keypoints, case["out_poses"], rtol=0, atol=1e-3)
        np.testing.assert_allclose(result.keypoint_scores, case["out_scores"], rtol=0, atol=1e-5)
        count += 1
    assert count == 41


def test_release_of_2016_when_both_ankles_are_weak(parity):
    data = np.load(parity / "pose_nms_rmpe2017.npz")
    for case in ("q000", "q001"):
        result = rmpe2016(
            *(data[f"{case}_{name}"].astype(np.float64) for name in ("boxes", "poses", "scores"))
        )
        assert len(result.kept) == int(data[f"{case}_out_count_plain_reading"])


def test_later_release(parity):
    thresholds = np.load(parity / "pose_nms_alphapose.npz")["area_thres"]
    count = 0
    for number, case in cases(parity / "pose_nms_alphapose.npz"):
        soft, spatial = similarity_alphapose(case["poses"], case["scores"])
        np.testing.assert_allclose(soft, case["K_sim"], rtol=0, atol=1e-4)
        np.testing.assert_allclose(spatial, case["H_sim"], rtol=0, atol=1e-4)
        arguments = case["boxes"], case["box_scores"], case["poses"], case["scores"]
        before = [array.copy() for array in arguments]
        result, proposal_scores = alphapose(*arguments, min_area=float(thresholds[number]))
        survivor = np.full(len(result.picks), -1)
        survivor[result.kept] = np.arange(len(result.kept))
        np.testing.assert_array_equal(result.picks[result.kept], case["out_pick"])
        np.testing.assert_array_equal(survivor[result.labels], case["out_label"])
        np.testing.assert_allclose(result.keypoints, case["out_keypoints"], rtol=0, atol=1e-3)
        np.testing.assert_allclose(result.keypoint_scores, case["out_kp_score"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(proposal_scores, case["out_proposal_score"], rtol=0, atol=1e-5)
        for array, old in zip(arguments, before, strict=True):
            np.testing.assert_array_equal(array, old)
        count += 1
    assert count == 41


def people(seed, count=8):
    rng = np.random.default_rng(seed)
    base = rng.uniform(0, 100, (1, 17, 2)) + rng.normal(0, 3, (count, 17, 2))
    scores = rng.uniform(0.3, 1, (count, 17))
    base[0, :3], scores[0, :3] = np.nan, 0
    return Poses(
        base, scores, rng.uniform(0.1, 1, count), np.tile([0, 0, 90, 100.0], (count, 1)), COCO
    )


def plain_oks(poses, i, j):
    values = []
    for joint, sigma in enumerate(COCO.sigmas):
        if poses.keypoint_scores[i, joint] > 0 and poses.keypoint_scores[j, joint] > 0:
            squared = float(np.sum((poses.keypoints[i, joint] - poses.keypoints[j, joint]) ** 2))
            values.append(math.exp(-squared / (2 * 9000 * (2 * sigma) ** 2)))
    return sum(values) / len(values)


@pytest.mark.parametrize("seed", range(3))
def test_oks_nms_is_a_plain_loop(seed):
    poses = people(seed)
    expected = np.array([[plain_oks(poses, i, j) for j in range(8)] for i in range(8)])
    np.testing.assert_allclose(pairwise_oks(poses), expected, atol=1e-6)
    kept = []
    for i in np.argsort(-poses.scores):
        if all(expected[j, i] <= 0.7 for j in kept):
            kept.append(i)
    assert 1 <= len(kept) <= 8
    np.testing.assert_array_equal(oks_nms(poses, 0.7).scores, poses.scores[kept])


@pytest.mark.parametrize("seed", range(3))
def test_soft_oks_nms_is_a_plain_loop(seed):
    poses = people(seed)
    scores, rest, taken = poses.scores.astype(np.float64), list(range(8)), []
    while rest:
        best = max(rest, key=lambda index: scores[index])
        rest.remove(best)
        taken.append(best)
        for other in rest:
            scores[other] *= math.exp(-(plain_oks(poses, best, other) ** 2) / 0.5)
    found = soft_oks_nms(poses, sigma=0.5)
    np.testing.assert_allclose(found.scores, scores[taken], atol=1e-6)
    np.testing.assert_array_equal(found.boxes, poses.boxes[taken])


@pytest.mark.parametrize("name", ["rmpe2016", "alphapose"])
def test_releases_survive_missing_joints(name):
    found = SUPPRESSORS[name](people(0))
    assert len(found) == 1
    assert np.isfinite(found.keypoints[found.keypoint_scores > 0]).all()
