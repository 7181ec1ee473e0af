"""Training with other people's joints in the crop."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

from small_set import write_set

from rmpe.boxes import Boxes
from rmpe.datasets.packed import CropSpec, pack
from rmpe.datasets.persons import PersonSet, union
from rmpe.datasets.sets import SetConfig, read_set
from rmpe.files import read_json
from rmpe.skeletons import load_skeleton
from rmpe.training.pose.augment import AugmentConfig, Augmenter
from rmpe.training.pose.losses import gaussian_targets, heatmap_loss, joint_candidate_targets
from rmpe.training.pose.others import Others

COCO = load_skeleton("coco17")
SIZE = (64, 48)
CELLS = (16, 12)
WILD = AugmentConfig("jitter", flip=0.5, rotate=1, rotation=40, scale=0.3, half_body=0.3)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """Pairs of people whose boxes overlap, and a crowd region in the first photo."""
    folder = tmp_path_factory.mktemp("others")
    annotations, images = write_set(folder, COCO, images=4)
    data = read_json(annotations)
    for person in data["annotations"]:
        x, y, width, height = person["bbox"]
        person["bbox"] = [x - 20 * (person["id"] % 10), y, width + 20, height]
    data["annotations"].append(
        data["annotations"][0] | {"id": 99, "iscrowd": 1, "bbox": [0, 0, 40, 50]}
    )
    annotations.write_text(json.dumps(data))
    people = read_set(SetConfig(annotations, images))
    return pack(people, CropSpec(SIZE, 1.3, 1.5), folder / "cache")


def batch_of(packed, config, *, others, seed=0, share=slice(None)):
    augmenter = Augmenter(packed, config, 1.3, others=others)
    people = np.arange(16) % len(packed)
    return augmenter(people, np.random.default_rng(seed), SIZE, share), people


def test_readers_keep_crowd_regions_apart(crowded):
    people = crowded.people
    assert len(people) == 8
    assert_array_equal(people.crowds, [[0, 0, 40, 50]])
    assert_array_equal(people.crowd_images, [0])
    both = union([people, people], COCO)
    assert_array_equal(both.crowd_images, [0, 4])
    assert len(both[np.arange(3)].crowds) == 2


def test_without_others_a_batch_is_as_before(crowded):
    plain, _ = batch_of(crowded, WILD, others=False)
    with_others, _ = batch_of(crowded, WILD, others=True)
    assert plain.others is None
    for name in ("images", "keypoints", "visible", "theta"):
        assert torch.equal(getattr(plain, name), getattr(with_others, name))


@pytest.mark.parametrize("config", [WILD, replace(WILD, paste=0.5)])
def test_others_are_where_they_would_be_as_oneself(crowded, config):
    """A neighbour's joints in my crop, moved back into the photo, are the neighbour's own."""
    batch, rows = batch_of(crowded, config, others=True)
    people = crowded.people
    seen = 0
    for row, person in enumerate(rows):
        mine = people.keypoints[person]
        known = (batch.visible[row] > 0).numpy()
        other = next(
            one
            for one in range(len(people))
            if one != person and people.image_index[one] == people.image_index[person]
        )
        flip = mirrored(batch, people, row, person, known)
        order = COCO.flip_order if flip else np.arange(17)
        source = mine[order][known]
        target = batch.keypoints[row].numpy()[known]
        if known.sum() < 4:
            continue
        design = np.concatenate([source, np.ones((len(source), 1))], axis=1)
        to_crop = np.linalg.lstsq(design, target, rcond=None)[0]
        points = np.concatenate([people.keypoints[other][order], np.ones((17, 1))], axis=1)
        there = (batch.others.visible[row, 0] > 0).numpy()
        assert_allclose(
            batch.others.keypoints[row, 0].numpy()[there], (points @ to_crop)[there], atol=0.05
        )
        seen += there.sum()
    assert seen > 50


def mirrored(batch, people, row, person, known):
    """Whether left and right changed places: the fit that leaves less."""
    errors = []
    for order in (np.arange(17), COCO.flip_order):
        source = people.keypoints[person][order]
        usable = known & np.isfinite(source).all(axis=1)
        design = np.concatenate([source[usable], np.ones((usable.sum(), 1))], axis=1)
        target = batch.keypoints[row].numpy()[usable]
        residual = design @ np.linalg.lstsq(design, target, rcond=None)[0] - target
        errors.append(np.abs(residual).max() if len(residual) else np.inf)
    return errors[1] < errors[0]


def test_processes_share_the_others(crowded):
    whole, _ = batch_of(crowded, WILD, others=True)
    half, _ = batch_of(crowded, WILD, others=True, share=slice(8, None))
    for name in ("keypoints", "visible", "regions"):
        assert torch.equal(getattr(whole.others, name)[8:], getattr(half.others, name))


def test_smaller_crops_hold_the_same_people(crowded):
    batch, _ = batch_of(crowded, WILD, others=True)
    small = batch.shrunk((32, 24))
    half = torch.tensor([0.5, 0.5])
    assert_allclose(small.others.keypoints, (batch.others.keypoints + 0.5) * half - 0.5)
    point = torch.tensor([20.0, 30.0])
    shrunk = (point + 0.5) / 2 - 0.5
    before = batch.others.regions[..., :2] @ point + batch.others.regions[..., 2]
    after = small.others.regions[..., :2] @ shrunk + small.others.regions[..., 2]
    assert_allclose(before, after, atol=1e-4)


def made(own, own_visible, others, regions=()):
    """Targets of one person with one joint."""
    keypoints = torch.tensor([[own]], dtype=torch.float32)
    visible = torch.tensor([[own_visible]], dtype=torch.float32)
    targets = gaussian_targets(keypoints, SIZE, CELLS, 1.0)
    found = Others(
        torch.tensor([[[point[:2]] for point in others]], dtype=torch.float32).reshape(1, -1, 1, 2),
        torch.tensor([[[point[2]] for point in others]], dtype=torch.float32).reshape(1, -1, 1),
        torch.tensor([regions], dtype=torch.float32).reshape(1, -1, 2, 3),
    )
    return joint_candidate_targets(targets, visible, found, 0.5, SIZE, 1.0), targets


AT = (13.5, 21.5)  # the middle of cell (3, 5)
AWAY = (33.5, 41.5)  # of cell (8, 10)


@pytest.mark.parametrize(
    ("visible", "others", "at", "away", "weight"),
    [
        (1, [], 1.0, 0.0, 1),
        (1, [(*AWAY, 1)], 1.0, 0.5, 1),
        (1, [(*AWAY, 0)], 1.0, 0.0, 1),
        (1, [(*AT, 1)], 1.0, 0.0, 1),
        (1, [(*AWAY, 1), (*AWAY, 1)], 1.0, 0.5, 1),
        (0.6, [(*AWAY, 1)], 1.0, 0.5, 0.6),
        (0, [(*AWAY, 1)], 0.0, 0.5, 1),
        (0, [(*AWAY, 0)], 0.0, 0.0, 0),
        (0, [], 0.0, 0.0, 0),
    ],
    ids=["alone", "another", "unseen", "same", "two", "pseudo", "unknown", "nobody", "none"],
)  # fmt: skip
def test_targets_by_hand(visible, others, at, away, weight):
    (targets, weights, cells), _ = made(AT, visible, others)
    assert targets[0, 0, 5, 3] == pytest.approx(at, abs=1e-4)
    assert targets[0, 0, 10, 8] == pytest.approx(away, abs=1e-4)
    assert weights[0, 0] == pytest.approx(weight)
    assert cells.min() == 1


def test_crowd_regions_cost_nothing_but_for_the_own_joint():
    region = [[1 / 24, 0, 0.0], [0, 1 / 32, 0.0]]  # the upper left quarter of the crop
    (targets, weights, cells), _ = made(AT, 1, [(*AWAY, 1)], [region])
    assert cells[0, 0, 0, 0] == 0
    assert cells[0, 0, 5, 3] == 1  # own joint, in the region
    assert cells[0, 0, 12, 3] == cells[0, 0, 0, 7] == 1  # outside
    anything = targets.clone()
    anything[0, 0, 0, 0] = 7
    total = weights.sum()
    assert heatmap_loss([anything], targets, weights, 1.0, total, cells) == 0
    assert heatmap_loss([anything], targets, weights, 1.0, total) > 0


def test_nobody_elses_photo(tmp_path):
    """A set of single people, as LSP's, has no others."""
    people = PersonSet(
        COCO, (tmp_path / "a.png",), np.zeros(1, np.int64), Boxes([[5, 5, 60, 60]]).xyxy,
        np.full((1, 17, 2), 30, np.float32), np.full((1, 17), 2, np.uint8), np.zeros(1, np.int64),
    )  # fmt: skip
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((70, 70, 3), np.uint8))
    packed = pack(people, CropSpec(SIZE), tmp_path / "cache")
    batch, _ = batch_of(packed, WILD, others=True)
    assert batch.others.keypoints.shape == (16, 0, 17, 2)
    targets = gaussian_targets(batch.keypoints, SIZE, CELLS, 1.0)
    made_targets, weights, _ = joint_candidate_targets(
        targets, batch.visible, batch.others, 0.5, SIZE, 1.0
    )
    assert_array_equal(weights, batch.visible)
    assert_array_equal(made_targets[batch.visible > 0], targets[batch.visible > 0])
