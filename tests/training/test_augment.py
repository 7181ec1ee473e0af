"""Augmentation and losses: image, joints and true theta are consistent."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

from small_set import COLORS, write_set

from rmpe import affine
from rmpe.boxes import Boxes
from rmpe.datasets.coco import read_coco
from rmpe.datasets.packed import CropSpec, pack
from rmpe.estimate.crops import cut
from rmpe.estimate.heatmaps import decode_dark
from rmpe.nets import PIXEL_MEAN, PIXEL_SD
from rmpe.nets.sstn import normalise_points, stn, transform_points
from rmpe.propose.regions import grow_proposals
from rmpe.skeletons import load_skeleton
from rmpe.training.pose.augment import AugmentConfig, Augmenter
from rmpe.training.pose.distill import PseudoLabels, TeacherHeatmaps
from rmpe.training.pose.losses import gaussian_targets, heatmap_loss

COCO = load_skeleton("coco17")
SIZE = (64, 48)
PLAIN = AugmentConfig("true", flip=0, rotate=0, scale=0, half_body=0, occlusion=0, color=0)
WILD = AugmentConfig(
    "jitter", flip=0.5, rotate=1, rotation=40, scale=0.3, half_body=0.3, occlusion=0, color=0
)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("augment")
    people = read_coco(*write_set(folder, COCO, images=8), COCO)
    return pack(people, CropSpec(SIZE, 1.3, 1.5), folder / "cache")


def draw(packed, config, seed=0, pseudo=None, count=16, share=slice(None)):
    augmenter = Augmenter(packed, config, 1.3, pseudo)
    return augmenter(
        np.arange(count) % len(packed), np.random.default_rng(seed), SIZE, share, source=True
    )


def test_plain_crop_is_what_inference_cuts(packed):
    """Without augmentation, the crop equals one from the photo, up to resampling."""
    batch = draw(packed, PLAIN)
    maps = affine.boxes_to_crops(grow_proposals(packed.people.boxes, 1.3), SIZE, "center")
    assert_allclose(
        np.where(batch.visible[..., None] > 0, batch.keypoints, 0),
        np.where(packed.visibility[..., None] > 0, affine.apply(maps, packed.people.keypoints), 0),
        atol=1e-3,
    )
    seen = batch.images.permute(0, 2, 3, 1).numpy() * PIXEL_SD + PIXEL_MEAN
    for row in range(len(packed)):
        stored = cut(
            packed.crops[row],
            affine.compose(maps[row], affine.invert(packed.image_to_stored[row]))[None],
            SIZE,
        )
        assert np.abs(seen[row] - stored[0]).max() < 12  # OpenCV rounds positions to 1/32 pixel
        assert np.abs(seen[row] - stored[0]).mean() < 0.5
    assert_allclose(batch.theta, np.tile(np.eye(2, 3), (16, 1, 1)), atol=1e-5)
    assert_allclose(
        batch.source(batch.theta, SIZE), batch.images, atol=0.03
    )  # a float32 theta is off by 1e-7


@pytest.mark.parametrize("config", [WILD, replace(WILD, policy="true", sub_patch=1.0, half_body=0)])
def test_theta_moves_points_and_pictures(packed, config):
    """STN(disturbed crop, true theta) is the centred crop wherever the disturbed one saw it."""
    batch = draw(packed, config)
    both = (batch.visible > 0) & (batch.centred_visible > 0)
    moved = transform_points(batch.theta, normalise_points(batch.centred_keypoints, SIZE))
    assert both.sum() > 50
    assert_allclose(moved[both], normalise_points(batch.keypoints, SIZE)[both], atol=1e-4)
    again = stn(batch.images, batch.theta, SIZE)
    inside = stn(torch.ones_like(batch.images), batch.theta, SIZE) > 0.999
    error = (again - batch.source(batch.theta, SIZE)).abs()[inside]
    assert inside.float().mean() > 0.3
    assert error.mean() < 0.1  # a second resampling of noisy pictures, nothing more


def test_a_batch_is_sampled_again_through_any_map(packed):
    """The identity gives the disturbed crops exactly; true theta gives those of the true boxes."""
    batch = draw(
        packed,
        AugmentConfig("jitter", flip=0, rotate=0, scale=0, half_body=0, occlusion=0, color=0),
    )
    identity = torch.eye(2, 3).expand(16, 2, 3)
    assert torch.equal(batch.source(identity, SIZE), batch.images)
    true = draw(packed, PLAIN)  # nothing but the boxes differs
    assert not torch.allclose(batch.images, true.images, atol=0.5)
    assert_allclose(batch.source(batch.theta, SIZE), true.images, atol=0.03)
    theta = identity.clone().requires_grad_()
    (batch.source(theta, SIZE) - true.images).square().mean().backward()
    assert (theta.grad.abs().amax(dim=(1, 2)) > 0).all()


def test_occlusion_and_colour_follow_the_map(packed):
    """An occluder covers the same part of the person for any theta."""
    wild = replace(WILD, occlusion=1.0, color=0.4)
    batch = draw(packed, wild)
    again = stn(batch.images, batch.theta, SIZE)
    inside = stn(torch.ones_like(batch.images), batch.theta, SIZE) > 0.999
    error = (again - batch.source(batch.theta, SIZE)).abs()[inside]
    assert error.mean() < 0.15  # edges of the patches are resampled too
    covered = (
        (batch.images != draw(packed, replace(wild, occlusion=0)).images)
        .any(dim=1)
        .float()
        .mean(dim=(1, 2))
    )
    assert (covered > 0.005).all()


@pytest.mark.parametrize("frame", ["disturbed", "centred"])
def test_joints_stay_on_their_dots(packed, frame):
    """In rotated, scaled and mirrored crops, every joint lies on the dot of its own colour."""
    batch = draw(packed, replace(WILD, half_body=0), seed=3)
    centred = batch.source(batch.theta, SIZE), batch.centred_keypoints, batch.centred_visible
    images, keypoints, visible = (
        (batch.images, batch.keypoints, batch.visible) if frame == "disturbed" else centred
    )
    images = images * PIXEL_SD + PIXEL_MEAN
    hits, mirrored = [], 0
    for row in range(16):
        flip = is_mirrored(batch, packed, row)
        mirrored += flip
        for joint in np.flatnonzero(visible[row]):
            drawn = COCO.flip_order[joint] if flip else joint
            x, y = (int(value) for value in keypoints[row, joint].round())
            patch = images[row, :, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].reshape(3, -1).T
            color = torch.tensor(
                COLORS[drawn % len(COLORS)][::-1], dtype=torch.float
            )  # drawn as BGR
            hits.append(bool((patch - color).abs().amax(dim=1).min() < 90))
    assert 3 < mirrored < 13
    assert len(hits) > 100
    assert np.mean(hits) > 0.85  # some dots were painted over by others


def is_mirrored(batch, packed, row):
    """Whether the map from stored to crop joints, found by least squares, turns left into right."""
    fits = []
    for order in (np.arange(17), COCO.flip_order):
        points = packed.keypoints[row % len(packed)][order]
        known = (batch.centred_visible[row].numpy() > 0) & np.isfinite(points).all(axis=1)
        source = np.concatenate([points[known], np.ones((known.sum(), 1))], axis=1)
        target = batch.centred_keypoints[row].numpy()[known]
        solution = np.linalg.lstsq(source, target, rcond=None)[0]
        fits.append((np.abs(source @ solution - target).max(), np.linalg.det(solution[:2])))
    error, determinant = min(fits)
    assert error < 1e-2
    return determinant < 0


def test_same_generator_same_batch_and_shares(packed):
    config = AugmentConfig("jitter", occlusion=0.5)
    whole, again, other = draw(packed, config), draw(packed, config), draw(packed, config, seed=1)
    assert torch.equal(whole.images, again.images)
    assert not torch.equal(whole.images, other.images)
    half = draw(packed, config, share=slice(8, 16))
    assert torch.equal(half.images, whole.images[8:])
    assert torch.equal(half.theta, whole.theta[8:])
    assert torch.equal(half.source(half.theta, SIZE), whole.source(whole.theta, SIZE)[8:])


def test_pasted_and_spoiled_pictures_agree_between_processes(packed):
    config = replace(WILD, paste=0.6, contrast=0.3, grey=0.3, blur=0.5, noise=0.5)
    whole, again = draw(packed, config), draw(packed, config)
    assert torch.equal(whole.images, again.images)
    half = draw(packed, config, share=slice(8, 16))
    assert_allclose(half.images, whole.images[8:], atol=1e-4)
    assert_array_equal(half.visible, whole.visible[8:])
    plain = draw(packed, replace(config, paste=0, contrast=0, grey=0, blur=0, noise=0))
    assert (whole.visible <= plain.visible).all()
    assert (whole.visible < plain.visible).any()  # what a piece covers is not learnt from labels


def test_a_pasted_piece_shows_another_person(packed):
    """Only a part of the picture changes."""
    before, after = draw(packed, PLAIN).images, draw(packed, replace(PLAIN, paste=1.0)).images
    changed = ((before - after).abs() > 1e-3).any(dim=1).float().mean(dim=(1, 2))
    assert (changed > 0.02).all()
    assert (changed < 0.6**2 + 0.05).all()


def test_color_and_occlusion(packed):
    plain = draw(packed, PLAIN)
    tinted = draw(packed, replace(PLAIN, color=0.4))
    raw, seen = (
        b.images.permute(0, 2, 3, 1).numpy() * PIXEL_SD + PIXEL_MEAN for b in (plain, tinted)
    )
    bright = (raw > 20) & (seen < 254)
    gains = np.array([[np.median((s / np.maximum(r, 1))[..., c][ok[..., c]]) for c in range(3)]
                      for r, s, ok in zip(raw, seen, bright, strict=True)])  # fmt: skip
    assert 0.59 < gains.min() < 0.75
    assert 1.25 < gains.max() < 1.41
    covered = draw(packed, replace(PLAIN, occlusion=1.0))
    changed = (covered.images != plain.images).any(dim=1).float().mean(dim=(1, 2))
    assert ((changed > 0.005) & (changed < 0.2)).all()
    assert_array_equal(covered.visible, plain.visible)


def test_joints_outside_the_crop_do_not_count(packed):
    batch = draw(packed, replace(PLAIN, sub_patch=1.0))
    known = torch.from_numpy(packed.visibility > 0)
    lost = known & (batch.visible == 0)
    assert lost.any()
    assert (batch.visible[~known] == 0).all()
    assert torch.isfinite(batch.keypoints).all()


def test_teacher_fills_in_what_is_missing_and_nothing_else(packed):
    rng = np.random.default_rng(0)
    scores = rng.random(packed.visibility.shape).astype(np.float32)
    answers = packed.boxes[:, None, :2] + rng.random((len(packed), 17, 2)) * 20
    batch = draw(packed, PLAIN, pseudo=PseudoLabels(answers.astype(np.float32), scores))
    plain = draw(packed, PLAIN)
    missing = packed.visibility == 0
    used = missing & (scores >= 0.4)
    assert_allclose(batch.visible.numpy()[used], scores[used])
    assert (batch.visible.numpy()[missing & ~used] == 0).all()
    assert_allclose(batch.keypoints.numpy()[~missing], plain.keypoints.numpy()[~missing])


def test_a_teachers_heatmaps_become_the_students_targets(packed):
    """Heatmaps of a perfect teacher with narrower Gaussians are transformed to our targets."""
    size, cells, sigma = (96, 96), (48, 48), 1.2
    stored_to_crop = affine.boxes_to_crops(Boxes(packed.boxes).grow(1.5).xyxy, size, "center")
    stored_to_cells = affine.compose(affine.crop_to_heatmap(size, cells, "center"), stored_to_crop)
    points = torch.from_numpy(
        affine.apply(stored_to_cells, packed.keypoints).astype(np.float32)
    ).nan_to_num(-99)
    maps = (255 * gaussian_targets(points, cells, cells, sigma)).round().byte().numpy()
    augmenter = Augmenter(packed, WILD, 1.3, teacher=TeacherHeatmaps(maps, stored_to_cells, sigma))
    batch = augmenter(np.arange(16), np.random.default_rng(0), SIZE)
    moved = batch.teacher((32, 24), 2.0)
    targets = gaussian_targets(batch.keypoints, SIZE, (32, 24), 2.0)
    deep = (batch.keypoints > 8).all(dim=-1) & (batch.keypoints < torch.tensor([40, 56])).all(
        dim=-1
    )
    sure = (batch.visible > 0) & deep
    assert sure.sum() > 50
    error = (moved - targets).abs().amax(dim=(2, 3))[sure]
    assert error.max() < 0.15
    assert error.mean() < 0.05
    assert draw(packed, WILD).teacher is None


def test_refused_values():
    with pytest.raises(ValueError, match=r"flip = 1\.5"):
        AugmentConfig(flip=1.5)


def test_targets_decode_to_the_joints():
    points = torch.tensor([[[10.0, 20.0], [30.3, 40.6], [5.2, 60.9]]])
    targets = gaussian_targets(points, (128, 96), (32, 24), 1.5)
    cells, scores = decode_dark(targets.numpy())
    back = affine.apply(affine.invert(affine.crop_to_heatmap((128, 96), (32, 24), "center")), cells)
    assert_allclose(back, points, atol=0.05)
    assert (scores > 0.8).all()


def test_loss_of_an_empty_answer_is_one_a_stack_and_unknown_joints_are_free():
    points = torch.full((2, 3, 2), 60.0)
    targets = gaussian_targets(points, (128, 128), (32, 32), 2.0)
    weights = torch.tensor([[1.0, 1.0, 0.0], [0.5, 0.0, 0.0]])
    empty = torch.zeros_like(targets)
    total = weights.sum()
    assert_allclose(heatmap_loss([empty], targets, weights, 2.0, total), 1, rtol=1e-3)
    assert_allclose(heatmap_loss([empty, empty], targets, weights, 2.0, total), 2, rtol=1e-3)
    assert heatmap_loss([targets], targets, weights, 2.0, total) == 0
    wrong = targets + 5 * (weights == 0)[..., None, None]
    assert heatmap_loss([wrong], targets, weights, 2.0, total) == 0
