"""Made people who swing their limbs: the truth moves exactly as the pixels do."""

import cv2
import numpy as np
import pytest

from benchmarks.video.articulation import Walker
from benchmarks.video.cutouts import COCO, Cutout
from benchmarks.video.sequences import ZOOM, sequence

# Legs and arms apart, so that no limb hides a joint of another.
SPREAD = np.array(
    [
        *([100, 30], [106, 24], [94, 24], [114, 28], [86, 28]),
        *([130, 70], [70, 70], [165, 100], [35, 100], [190, 135], [10, 135]),
        *([120, 150], [80, 150], [140, 210], [60, 210], [150, 270], [50, 270]),
    ],
    np.float32,
)
SIZE = (300, 200)
MARGIN = 100


def person(dot=None):
    """Dark on its limbs, with a bright dot at one joint."""
    mask = np.zeros(SIZE, np.uint8)
    for a, b in COCO.limbs:
        cv2.line(mask, *SPREAD[[a, b]].astype(int).tolist(), 255, 30)
    cv2.fillConvexPoly(mask, cv2.convexHull(SPREAD[[5, 6, 12, 11]].astype(np.int32)), 255)
    cv2.circle(mask, (100, 28), 25, 255, -1)
    image = np.full((*SIZE, 3), 40, np.uint8)
    if dot is not None:
        cv2.circle(image, SPREAD[dot].astype(int).tolist(), 3, (255, 255, 255), -1)
    return Cutout(image, mask / np.float32(255), SPREAD, np.ones(17, bool))


def painted(walker, seconds):
    canvas = np.zeros((SIZE[0] + 2 * MARGIN, SIZE[1] + 2 * MARGIN), np.float32)
    for piece, place in walker.pieces(seconds):
        there = place + np.array([[0, 0, MARGIN], [0, 0, MARGIN]])
        color, mask = (
            cv2.warpAffine(each, there, canvas.shape[::-1])
            for each in (piece.image[..., 0].astype(np.float32), piece.mask)
        )
        canvas += mask * (color - canvas)
    return canvas


def walker(cutout, seed=0):
    return Walker(cutout, strides=1.0, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("joint", range(17), ids=COCO.joints)
@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.45, 0.8])
def test_a_dot_painted_at_a_joint_stays_at_the_joint(joint, seconds):
    walks = walker(person(joint))
    x, y = walks.joints(seconds)[joint] + MARGIN
    canvas = painted(walks, seconds)
    bright = canvas > 150
    assert bright.sum() >= 9
    rows, columns = np.nonzero(bright)
    assert (columns.mean(), rows.mean()) == pytest.approx((x, y), abs=0.8)


def test_every_limb_swings_and_the_trunk_stays():
    walks = walker(person())
    places = np.stack([walks.joints(seconds) for seconds in np.linspace(0, 1, 16)])
    travel = np.ptp(places, axis=0).max(axis=1)
    trunk = [5, 6, 11, 12]
    assert np.all(travel[trunk] == 0)
    assert np.all(travel[7:11] > 10)
    assert np.all(travel[13:] > 10)
    assert np.all(travel[:5] > 1)
    assert np.allclose(places[0], places[-1])  # a stride later


@pytest.mark.parametrize("missing", [(), (15,), (13,), (11,), (5,), (0, 1, 2, 3, 4)])
def test_bones_keep_their_length_whatever_is_labelled(missing):
    cutout = person()
    cutout.labelled[list(missing)] = False
    walks = walker(cutout)
    a, b = np.array(COCO.limbs).T
    inside = [k for k in range(len(a)) if not {a[k], b[k]} & {0, 1, 2, 3, 4}]

    def lengths(points):
        return np.linalg.norm(points[a] - points[b], axis=1)[inside]

    assert np.allclose(lengths(walks.joints(0.3)), lengths(SPREAD), atol=1e-3)
    assert (painted(walks, 0.3) > 20).sum() > 5000


def test_at_rest_the_parts_make_up_the_person():
    walks = walker(person(9))
    walks.swing = dict.fromkeys(walks.swing, 0.0)
    whole = person(9)
    expected = whole.mask * whole.image[..., 0]
    inside = cv2.erode((whole.mask > 0.9).astype(np.uint8), np.ones((9, 9))) > 0
    found = painted(walks, 0.3)[MARGIN:-MARGIN, MARGIN:-MARGIN]
    # Where parts meet, both have a soft edge.
    assert np.abs(found - expected)[inside].mean() < 1
    assert np.percentile(np.abs(found - expected)[inside], 99) < 15


def clip(motion="articulated", seed=3, fps=5.0, seconds=1.0):
    rng = np.random.default_rng(0)
    back = [cv2.resize(rng.integers(0, 255, (20, 40, 3), np.uint8), (400, 200)) for _ in range(2)]
    scene = {"actors": 2, "fps": fps, "seconds": seconds, "size": (240, 320)}
    return list(sequence([person(0)] * 3, back, seed=seed, motion=motion, **scene))


def test_a_seed_gives_the_same_clip_and_the_same_people_as_stiff_boards():
    one, other, stiff = clip(), clip(), clip("stiff")
    assert len(one) == len(stiff) == 5
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(one[2].image, stiff[2].image)


def trunk_lengths(frame):
    """Of everybody whose shoulder and hip can be seen: {id: pixels}."""
    points = frame.truth.keypoints
    lengths = np.linalg.norm(points[:, 5] - points[:, 11], axis=1)
    return {
        int(number): length
        for number, length in zip(frame.truth.track_ids, lengths, strict=True)
        if np.isfinite(length)
    }


def test_the_camera_zooms_in_or_out():
    seen = []
    for seed in range(8):
        frames = clip(seed=seed)
        first, last = trunk_lengths(frames[0]), trunk_lengths(frames[-1])
        # The last of five frames comes a fifth before the end.
        seen += [np.log(last[n] / first[n]) / (0.8 * np.log(ZOOM)) for n in first.keys() & last]
    assert np.allclose(np.abs(seen), 1, atol=0.1)
    assert min(seen) < 0 < max(seen)


def test_a_longer_exposure_blurs_more():
    def sharpness(fps):
        (image,) = (frame.image for frame in clip(fps=fps)[:1])
        return np.abs(np.diff(image[..., 1].astype(float), axis=1)).mean()

    assert sharpness(2) < 0.9 * sharpness(60)
