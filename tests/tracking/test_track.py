"""Trackers, smoothing and the detection interval on small synthetic videos with known poses."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stick_people import COCO, people, pose

from rmpe.boxes import Boxes
from rmpe.errors import ImageError, UsageError
from rmpe.estimate.score import pose_scores
from rmpe.media.video import VideoFrame
from rmpe.poses import Poses
from rmpe.tracking.assignment import match_edges, max_weight_matching
from rmpe.tracking.belief import EVERYTHING, MOVED, Belief, BeliefParameters
from rmpe.tracking.features import follow, joint_features, limb_colors, matched_share, shrink
from rmpe.tracking.interval import DetectionInterval, last_boxes, moved_boxes
from rmpe.tracking.motion import Motion, places
from rmpe.tracking.oks_tracker import OksTracker
from rmpe.tracking.poseflow import PoseFlow, PoseFlowParameters, worth
from rmpe.tracking.smooth import OneEuro
from rmpe.video import follow as follow_video
from rmpe.video import load_tracker

SIZE = (240, 320)


def texture(seed, size, tint):
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.uniform(-1, 1, (*size, 1)).astype(np.float32), (0, 0), 2)
    return np.clip(np.asarray(tint) + 160 * noise.reshape(*size, 1), 0, 255).astype(np.uint8)


BACKGROUND = texture(0, SIZE, (120, 120, 120))
SHIRTS = [
    texture(1, (120, 48), (200, 60, 60)),
    texture(2, (120, 48), (60, 80, 210)),
    texture(3, (120, 48), (60, 190, 80)),
]


def paint(places_of):
    """An image with person ``n`` (a textured board 48 x 120) at ``places_of[n]``, last in front."""
    image = BACKGROUND.copy()
    for person, (x, y) in places_of.items():
        left, top = round(x - 24), round(y - 60)
        x1, x2, y1, y2 = max(left, 0), min(left + 48, SIZE[1]), max(top, 0), min(top + 120, SIZE[0])
        if x2 > x1 and y2 > y1:
            image[y1:y2, x1:x2] = SHIRTS[person][y1 - top : y2 - top, x1 - left : x2 - left]
    return image


def run(tracker, frames):
    """The track ids of every frame; ``frames`` are (image, poses) pairs."""
    done = []
    for number, (image, poses) in enumerate(frames, 1):
        done += tracker.update(image, poses)
        assert len(done) == max(0, number - tracker.latency)
    done += tracker.flush()
    assert len(done) == len(frames)
    return done


TRACKERS = {
    "oks": OksTracker,
    "poseflow": PoseFlow,
    "poseflow ahead": lambda: PoseFlow(PoseFlowParameters(lookahead=3)),
}
each_tracker = pytest.mark.parametrize("make", TRACKERS.values(), ids=TRACKERS)
each_tracker_of_poseflow = pytest.mark.parametrize(
    "make", [TRACKERS["poseflow"], TRACKERS["poseflow ahead"]], ids=["at once", "ahead"]
)


# Assignment


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_match_of_nothing(shape):
    rows, columns = max_weight_matching(np.zeros(shape))
    assert len(rows) == len(columns) == 0


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 8), st.booleans())
def test_match_is_as_good_as_scipy(seed, height, width, whole):
    linear_sum_assignment = pytest.importorskip("scipy.optimize").linear_sum_assignment
    rng = np.random.default_rng(seed)
    weights = rng.integers(-3, 4, (height, width)) if whole else rng.normal(size=(height, width))
    rows, columns = max_weight_matching(weights)
    assert len(set(columns)) == len(columns)
    assert np.all(np.diff(rows) > 0)
    assert np.all(weights[rows, columns] > 0)
    best = np.maximum(weights, 0)
    expected = best[linear_sum_assignment(best, maximize=True)].sum()
    assert weights[rows, columns].sum() == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(1000))
def test_match_of_edges_is_as_good_as_scipy(seed):
    linear_sum_assignment = pytest.importorskip("scipy.optimize").linear_sum_assignment
    rng = np.random.default_rng(seed)
    shape = rng.integers(0, 20, 2)
    weights = rng.uniform(-0.2, 1, shape) if seed % 3 else rng.integers(-1, 4, shape).astype(float)
    rows, columns = np.nonzero(rng.random(shape) < rng.uniform(0.05, 1))
    mixed = rng.permutation(len(rows))
    rows, columns = rows[mixed], columns[mixed]
    taken = match_edges(rows, columns, weights[rows, columns])
    assert len(set(rows[taken])) == len(set(columns[taken])) == len(taken)
    assert np.all(weights[rows, columns][taken] > 0)
    best = np.zeros(shape)
    best[rows, columns] = np.maximum(weights[rows, columns], 0)
    expected = best[linear_sum_assignment(best, maximize=True)].sum()
    assert weights[rows, columns][taken].sum() == pytest.approx(expected)


# Features


def test_features_follow_the_person_and_not_the_background():
    before, after = pose((100, 120)), pose((109, 117))
    moved = follow(
        shrink(paint({0: (100, 120)})), shrink(paint({0: (109, 117)})), joint_features(before)
    )
    # Only joints well inside the board: at its edge a feature belongs to both.
    inner = [11, 12, 13, 14]
    shift = moved[0, inner] - joint_features(before)[0, inner]
    assert np.allclose(np.nanmedian(shift.reshape(-1, 2), axis=0), (9, -3), atol=0.5)
    share = matched_share(before, moved, people(after, pose((200, 120))))
    assert share[0, 0] > 0.6
    assert share[0, 1] == 0


def test_large_pictures_are_followed_on_a_small_one():
    big = cv2.resize(paint({0: (100, 120)}), (1280, 960))
    small = shrink(big)
    assert max(small.grey.shape) == 640
    assert small.scale == pytest.approx(0.5)
    assert small.size == (960, 1280)


def test_missing_joints_are_followed_nowhere():
    points = pose((100, 120)).keypoints.copy()
    points[0, 3] = np.nan
    points[0, 4] = (-50, -50)
    scores = np.full((1, 17), 0.9)
    scores[0, 3] = 0
    poses = Poses(points, scores, [0.9], [[80, 60, 124, 180]], COCO)
    small = shrink(paint({0: (100, 120)}))
    moved = follow(small, small, joint_features(poses))
    assert np.isnan(moved[0, 3:5]).all()
    share = matched_share(poses, moved, poses)
    assert 0.7 < share[0, 0] <= 16 / 17
    assert matched_share(Poses.empty(COCO), np.zeros((0, 17, 3, 2), np.float32), poses).shape == (
        0,
        1,
    )


@pytest.mark.parametrize("after", [(480, 640), (960, 1280), (120, 320)])
def test_nothing_is_followed_into_a_picture_of_another_size(after):
    small = shrink(paint({0: (100, 120)}))
    other = shrink(cv2.resize(paint({0: (100, 120)}), after[::-1]))
    assert np.isnan(follow(small, other, joint_features(pose((100, 120))))).all()


def test_limb_colours_tell_people_apart_and_ignore_what_is_outside():
    image = paint({0: (100, 120), 1: (200, 120)})
    colors, trust = limb_colors(image, people(pose((100, 120)), pose((200, 120)), pose((-500, 0))))
    trunk = [i for i, (a, b) in enumerate(COCO.limbs) if a >= 11 and b >= 11]
    assert np.linalg.norm(colors[0, trunk] - colors[1, trunk], axis=1).min() > 30
    assert np.all(trust[2] == 0)
    assert np.all(trust[:2] > 0)
    empty, none = limb_colors(image, Poses.empty(COCO))
    assert empty.shape == (0, len(COCO.limbs), 3)
    assert none.shape == (0, len(COCO.limbs))


# Motion


def test_motion_learns_speed_and_grows_unsure_while_unseen():
    motion = Motion(places(pose((100, 120)))[0])
    for step in range(1, 25):
        motion.step()
        motion.correct(places(pose((100 + 5 * step, 120)))[0])
    assert motion.speed[:2] == pytest.approx((5, 0), abs=0.1)
    spread = motion.spread
    for _ in range(5):
        motion.step()
    assert motion.place[:2] == pytest.approx((245, 120), abs=1)
    assert motion.spread > 2 * spread
    assert np.allclose(motion.covariance, motion.covariance.T)
    assert np.all(np.linalg.eigvalsh(motion.covariance) > 0)


def test_motion_carries_a_pose_along():
    seen = pose((100, 120))
    motion = Motion(places(pose((130, 110), height=240))[0])
    carried = motion.carry(seen, places(seen)[0])
    np.testing.assert_allclose(carried.keypoints, pose((130, 110), height=240).keypoints, atol=1e-3)
    np.testing.assert_allclose(carried.boxes, pose((130, 110), height=240).boxes, atol=1e-3)


# Trackers


@each_tracker
def test_nobody_is_legal(make):
    done = run(make(), [(BACKGROUND, Poses.empty(COCO))] * 5)
    assert [len(poses) for poses in done] == [0] * 5


@each_tracker
def test_no_frames_are_legal(make):
    assert make().flush() == []


@each_tracker
def test_one_person_keeps_one_id_whatever_the_order(make):
    frames = []
    for step in range(12):
        where = {0: (60 + 8 * step, 120), 1: (260 - 2 * step, 130)}
        both = [pose(where[0]), pose(where[1])]
        frames.append((paint(where), people(*(both if step % 2 else both[::-1]))))
    done = run(make(), frames)
    first = [
        poses.track_ids[np.argmin(np.abs(poses.boxes[:, 0] - (60 + 8 * i - 24)))]
        for i, poses in enumerate(done)
    ]
    assert len(set(first)) == 1
    assert sorted({*np.concatenate([poses.track_ids for poses in done])}) == [0, 1]


def crossing():
    """Two people cross; the one behind is not detected while hidden."""
    frames, truth = [], []
    for step in range(24):
        where = {0: (40 + 10 * step, 120), 1: (280 - 10 * step, 122)}
        hidden = abs(where[0][0] - where[1][0]) < 34
        seen = [1] if hidden else [0, 1]
        frames.append((paint(where), people(*(pose(where[person]) for person in seen))))
        truth.append(seen)
    return frames, truth


@each_tracker
def test_people_who_cross_keep_their_ids(make):
    frames, truth = crossing()
    given_to = {0: set(), 1: set()}
    for poses, seen in zip(run(make(), frames), truth, strict=True):
        for person, track_id in zip(seen, poses.track_ids, strict=True):
            given_to[person].add(int(track_id))
    assert all(len(ids) == 1 for ids in given_to.values()), given_to
    assert given_to[0] != given_to[1]


@pytest.mark.parametrize("back", [0, 1])
def test_poseflow_knows_people_again_by_their_colours(back):
    """Two people vanish, and one of them returns halfway between their positions."""
    both = (paint({0: (80, 120), 1: (170, 120)}), people(pose((80, 120)), pose((170, 120))))
    one = (paint({back: (125, 120)}), people(pose((125, 120))))
    done = run(PoseFlow(), [both] * 8 + [(BACKGROUND, Poses.empty(COCO))] * 20 + [one] * 8)
    assert done[7].track_ids.tolist() == [0, 1]
    assert {int(poses.track_ids[0]) for poses in done[28:]} == {back}


@each_tracker
def test_who_is_away_for_too_long_is_somebody_else(make):
    tracker = make()
    gap = (tracker.memory if isinstance(tracker, OksTracker) else tracker.parameters.memory) + 2
    frame = (paint({0: (100, 120)}), people(pose((100, 120))))
    done = run(tracker, [frame] * 5 + [(BACKGROUND, Poses.empty(COCO))] * gap + [frame] * 5)
    assert done[0].track_ids.tolist() == [0]
    assert done[-1].track_ids.tolist() == [1]


@each_tracker
@pytest.mark.parametrize("wider", [0, 40])
def test_ids_survive_a_change_of_the_image_size(make, wider):
    """The frame grows by a strip on the right and shrinks again: people keep their ids."""

    def image(step):
        added = wider if 4 <= step < 8 else 0
        return cv2.copyMakeBorder(
            paint({0: (60 + step, 120), 1: (200, 120)}), 0, 0, 0, added, cv2.BORDER_REPLICATE
        )

    frames = [(image(step), people(pose((60 + step, 120)), pose((200, 120)))) for step in range(12)]
    assert [list(found.track_ids) for found in run(make(), frames)] == [[0, 1]] * 12


@each_tracker
def test_weak_poses_get_no_id_but_stay(make):
    done = run(make(), [(BACKGROUND, people(pose((100, 120), score=0.1)))] * 6)
    assert [poses.track_ids.tolist() for poses in done] == [[-1]] * 6


@each_tracker
def test_one_bright_joint_makes_nobody_a_person(make):
    ghost = pose((100, 120), score=0.15).replace(
        keypoint_scores=np.where(np.arange(17) == 3, 0.95, 0.35)[None]
    )
    done = run(make(), [(BACKGROUND, people(ghost))] * 6)
    assert [poses.track_ids.tolist() for poses in done] == [[-1]] * 6


@each_tracker
def test_a_weak_pose_continues_a_flow(make):
    frames = [
        (paint({0: (100, 120)}), people(pose((100, 120), score=0.9 if n < 4 else 0.15)))
        for n in range(8)
    ]
    assert [poses.track_ids.tolist() for poses in run(make(), frames)] == [[0]] * 8


def test_looking_ahead_a_ghost_of_one_frame_gets_no_id():
    frames = [(paint({0: (80, 120)}), people(pose((80, 120)))) for _ in range(10)]
    frames[5] = (frames[5][0], people(pose((80, 120)), pose((240, 120))))
    ahead = run(PoseFlow(PoseFlowParameters(lookahead=3)), frames)
    assert ahead[5].track_ids.tolist() == [0, -1]
    at_once = run(PoseFlow(), frames)
    assert at_once[5].track_ids.tolist() == [0, 1]


NO_FEATURES = {
    "a blank wall": lambda step: np.full((*SIZE, 3), 200, np.uint8),
    "black frames": lambda step: np.zeros((*SIZE, 3), np.uint8),
    "cuts": lambda step: texture(100 + step, SIZE, (120, 120, 120)),
}


@pytest.mark.parametrize("image", NO_FEATURES.values(), ids=NO_FEATURES)
@pytest.mark.parametrize("stride", [0, 5, 60], ids=["standing", "walking", "one frame a second"])
@each_tracker_of_poseflow
def test_people_are_born_and_linked_without_features(make, stride, image):
    """Two people of 120 px; the stride is in pixels a frame, at 60 half a body a frame."""
    frames = [
        (image(step), people(pose((60 + stride * step, 100)), pose((260, 160))))
        for step in range(4)
    ]
    ids = [poses.track_ids.tolist() for poses in run(make(), frames)]
    assert ids == [[0, 1]] * 4


@each_tracker_of_poseflow
def test_features_that_are_found_again_still_unmask_a_ghost(make):
    """A pose of one frame on a wall with texture: its features stay, and no pose does."""
    alone = pose((60, 100))
    frames = [(BACKGROUND, people(alone)) for _ in range(6)]
    frames[1] = (BACKGROUND, people(alone, pose((250, 100))))
    ids = [poses.track_ids.tolist() for poses in run(make(), frames)]
    ghost = -1 if make().latency else 1
    assert ids == [[0], [0, ghost], *[[0]] * 4]


@pytest.mark.parametrize("lookahead", [0, 3])
def test_two_flows_on_one_person_become_one_and_sharpen_it(lookahead):
    frames = []
    for step in range(8):
        here = (100 + 4 * step, 120)
        noisy = pose((here[0] + 2, here[1]), score=0.5)
        frames.append((paint({0: here}), people(pose(here), noisy, pose((250, 120)))))
    done = run(PoseFlow(PoseFlowParameters(lookahead=lookahead)), frames)
    assert all(poses.track_ids.tolist() == done[0].track_ids.tolist() for poses in done)
    assert len(done[0]) == 2
    offset = done[-1].keypoints[0, 11, 0] - frames[-1][1].keypoints[0, 11, 0]
    assert offset == pytest.approx(2 * 0.5 / 1.4, abs=0.01)


def test_confidence_is_unified_along_a_flow():
    scores = [0.9, 0.5, 0.7, 0.9]
    frames = [(paint({0: (100, 120)}), people(pose((100, 120), score=score))) for score in scores]
    done = run(PoseFlow(), frames)
    expected = [np.mean(scores[: index + 1]) for index in range(4)]
    assert [float(poses.scores[0]) for poses in done] == pytest.approx(expected, abs=1e-6)


def test_worth_of_a_pose():
    joints = np.array([[0.2, 0.4, 0.9] + [0.5] * 14])
    poses = Poses(np.zeros((1, 17, 2)), joints, [0.6], [[0, 0, 1, 1]], COCO)
    assert worth(poses) == pytest.approx([0.6 + joints.mean() + 0.9])
    assert worth(Poses.empty(COCO)).shape == (0,)


@each_tracker
def test_input_is_left_as_it_was(make):
    frame = people(pose((100, 120)), pose((102, 120)))
    before = [
        getattr(frame, name).copy()
        for name in ("keypoints", "keypoint_scores", "scores", "boxes", "track_ids")
    ]
    run(make(), [(paint({0: (100, 120)}), frame)] * 3)
    after = [
        getattr(frame, name)
        for name in ("keypoints", "keypoint_scores", "scores", "boxes", "track_ids")
    ]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@each_tracker
def test_a_tracker_starts_afresh_after_flush(make):
    tracker = make()
    frame = (paint({0: (100, 120)}), people(pose((100, 120))))
    assert run(tracker, [frame] * 5)[-1].track_ids.tolist() == [0]
    assert run(tracker, [frame] * 5)[-1].track_ids.tolist() == [1]


def test_unknown_trackers_and_settings_are_refused():
    with pytest.raises(UsageError, match="poseflow, oks"):
        load_tracker("deep", 25)
    with pytest.raises(UsageError, match="lookahead"):
        PoseFlowParameters(lookahead=-1)
    assert load_tracker("poseflow", 30, live=True).latency == 0
    assert load_tracker("poseflow", 30).latency == 6


# Smoothing


def tracked(center, track_id=0):
    return pose(center).replace(track_ids=np.array([track_id]))


def test_smoothing_takes_jitter_out_and_keeps_up():
    rng = np.random.default_rng(0)
    smooth, raw_steps, smooth_steps = OneEuro(), [], []
    previous = None
    for step in range(60):
        raw = tracked((100 + rng.normal(0, 1.5), 120 + rng.normal(0, 1.5)))
        done = smooth.update(raw, step / 30)
        if previous is not None:
            raw_steps.append(np.abs(raw.keypoints - previous[0].keypoints).mean())
            smooth_steps.append(np.abs(done.keypoints - previous[1].keypoints).mean())
        previous = (raw, done)
    assert np.mean(smooth_steps) < 0.4 * np.mean(raw_steps)
    fast = OneEuro()
    for step in range(60):
        done = fast.update(tracked((10 * step, 120)), step / 30)
    assert np.abs(done.keypoints - pose((590, 120)).keypoints).max() < 0.15 * 120


def test_smoothing_is_causal_per_id_and_leaves_untracked_poses_alone():
    smooth = OneEuro()
    first = smooth.update(tracked((100, 120)), 0.0)
    assert np.array_equal(first.keypoints, pose((100, 120)).keypoints)
    assert np.array_equal(
        smooth.update(tracked((50, 50), track_id=7), 0.1).keypoints, pose((50, 50)).keypoints
    )
    loose = smooth.update(tracked((90, 90), track_id=-1), 0.2)
    assert np.array_equal(loose.keypoints, pose((90, 90)).keypoints)
    mixed = smooth.update(tracked((104, 120)), 0.3)
    assert np.all(
        (mixed.keypoints[..., 0] > first.keypoints[..., 0])
        & (mixed.keypoints[..., 0] < first.keypoints[..., 0] + 4)
    )


def test_smoothing_forgets_and_skips_missing_joints():
    smooth = OneEuro(memory=0.5)
    smooth.update(tracked((100, 120)), 0.0)
    late = smooth.update(tracked((140, 120)), 5.0)
    assert np.array_equal(late.keypoints, pose((140, 120)).keypoints)
    gap = tracked((141, 120))
    points, scores = gap.keypoints.copy(), gap.keypoint_scores.copy()
    points[0, 2], scores[0, 2] = np.nan, 0
    missing = smooth.update(Poses(points, scores, gap.scores, gap.boxes, COCO, gap.track_ids), 5.1)
    assert np.isnan(missing.keypoints[0, 2]).all()
    assert np.isfinite(np.delete(missing.keypoints[0], 2, axis=0)).all()
    assert np.isfinite(smooth.update(tracked((142, 120)), 5.2).keypoints).all()
    assert len(smooth.update(Poses.empty(COCO), 9.0)) == 0
    assert smooth._tracks == {}


# Detection interval and the whole video


class Known:
    """A detector and estimator that know where the boards are and count their calls."""

    def __init__(self, where):
        self.where, self.detections, self.looked = where, [], []
        self.frame = -1

    def detector(self, image):
        self.detections.append(self.frame)
        return Boxes(
            np.concatenate(
                [
                    np.zeros((0, 4)),
                    *(pose(place).boxes for place in self.where[self.frame].values()),
                ]
            )
        )

    def estimate(self, image, boxes):
        self.looked.append(boxes)
        found = []
        for box, score in zip(boxes.xyxy, boxes.scores, strict=True):
            center = (box[:2] + box[2:]) / 2
            for place in self.where[self.frame].values():
                if np.abs(center - place).max() < 30:
                    found.append(pose(place, score=0.9 * score))
        return people(*found)


class Clip:
    """Frames in memory, like those of `Video`."""

    live = False

    def __init__(self, images, knows=None):
        self.images, self.knows, self.closed = images, knows, False

    def stop(self):
        pass

    def __iter__(self):
        try:
            for index, image in enumerate(self.images):
                yield VideoFrame(index, index / 10, image)
        finally:
            self.closed = True


class InOrder(Known):
    """`Known`, but the image encodes the frame, because estimation runs ahead in a thread."""

    def __init__(self, where, images):
        super().__init__(where)
        self.keys = {image.tobytes(): index for index, image in enumerate(images)}

    def detector(self, image):
        self.frame = self.keys[image.tobytes()]
        return super().detector(image)

    def estimate(self, image, boxes):
        self.frame = self.keys[image.tobytes()]
        return super().estimate(image, boxes)


def walk(count=20):
    where = [{0: (60 + 5 * step, 120), 1: (250, 120 + step)} for step in range(count)]
    return where, [paint(place) for place in where]


def test_boxes_are_carried_with_the_people():
    where, images = walk(2)
    small = [shrink(image) for image in images]
    poses = people(pose(where[0][0]), pose(where[0][1]))
    stay, moved = last_boxes(poses), moved_boxes(poses, *small)
    points = poses.keypoints
    low, high = points.min(axis=1), points.max(axis=1)
    np.testing.assert_allclose(
        stay.xyxy, np.hstack([low, high]) + 0.125 * np.hstack([low - high, high - low]), rtol=1e-4
    )
    np.testing.assert_allclose(moved.xyxy - stay.xyxy, [(5, 0, 5, 0), (0, 1, 0, 1)], atol=1.5)
    assert np.allclose(stay.scores, 1) and np.allclose(moved.scores, 1)


def test_who_has_no_sure_joints_is_not_carried():
    small = shrink(paint({0: (100, 120)}))
    seen, hidden = pose((100, 120)), pose((200, 120))
    hidden = hidden.replace(keypoint_scores=np.where(np.arange(17) < 1, 0.9, 0.1)[None])
    for boxes in (
        last_boxes(people(seen, hidden)),
        moved_boxes(people(seen, hidden), small, small),
    ):
        assert len(boxes) == 1
    for boxes in (last_boxes(Poses.empty(COCO)), moved_boxes(Poses.empty(COCO), small, small)):
        assert len(boxes) == 0


def test_scores_do_not_sink_while_boxes_are_carried():
    """In a hundred frames without detection, box and pose scores stay those of the first frame."""
    image, poses = paint({0: (100, 120)}), pose((100, 120))
    rng, interval = np.random.default_rng(0), DetectionInterval(1000)
    interval.boxes(image)
    joints = rng.uniform(0.3, 0.9, (100, 1, 17)).astype(np.float32)
    interval.note(
        poses.replace(keypoint_scores=joints[0], scores=pose_scores(np.full(1, 0.4), joints[0])),
        detected=True,
    )
    for scores in joints:
        boxes = interval.boxes(image)
        assert boxes.scores == pytest.approx([0.4], abs=1e-4)
        interval.note(
            poses.replace(keypoint_scores=scores, scores=pose_scores(boxes.scores, scores)),
            detected=False,
        )


def test_who_comes_between_detections_is_found_at_the_next():
    where = [{} if step < 3 else {0: (100, 120)} for step in range(15)]
    images = [paint(place) for place in where]
    images = [
        np.concatenate([image[:-1], np.full((1, SIZE[1], 3), 9 * n, np.uint8)])
        for n, image in enumerate(images)
    ]
    estimator = InOrder(where, images)
    found = [
        len(poses)
        for _, poses in follow_video(estimator, Clip(images), interval=DetectionInterval(10))
    ]
    assert found == [0] * 10 + [1] * 5


@pytest.mark.parametrize(
    ("every", "expected"), [(1, list(range(20))), (5, [0, 5, 10, 15]), (40, [0])]
)
def test_the_detector_runs_every_so_many_frames(every, expected):
    where, images = walk()
    estimator = InOrder(where, images)
    result = list(
        follow_video(estimator, Clip(images), OksTracker(), interval=DetectionInterval(every))
    )
    assert estimator.detections == expected
    assert [len(poses) for _, poses in result] == [2] * 20
    assert {tuple(sorted(poses.track_ids)) for _, poses in result} == {(0, 1)}


def test_the_detector_runs_when_the_image_size_changes():
    where, images = walk()
    images = [image if step < 7 else np.tile(image, (2, 2, 1)) for step, image in enumerate(images)]
    estimator = InOrder(where, images)
    list(follow_video(estimator, Clip(images), interval=DetectionInterval(10)))
    assert estimator.detections == [0, 7, 17]


def test_auto_detects_seldom_when_nothing_happens_and_at_once_when_somebody_comes():
    where = [{0: (80, 120)} for _ in range(30)]
    for step in range(12, 30):
        where[step] = {0: (80, 120), 1: (340 - 8 * (step - 10), 120)}
    rng = np.random.default_rng(0)
    images = [
        np.clip(paint(place) + rng.integers(-2, 3, (*SIZE, 3)), 0, 255).astype(np.uint8)
        for place in where
    ]
    estimator = InOrder(where, images)
    result = list(
        follow_video(estimator, Clip(images), interval=DetectionInterval("auto", longest=25))
    )
    assert estimator.detections[0] == 0
    assert estimator.detections[1] in range(12, 16)
    assert len(result[17][1]) == 2


def test_auto_detects_when_people_are_lost():
    where = [{0: (80, 120), 1: (240, 120)} for _ in range(12)]
    for step in range(5, 12):
        where[step] = {0: (80, 120)}
    images = [
        np.clip(paint({0: (80, 120), 1: (240, 120)}).astype(int) + step % 3, 0, 255).astype(
            np.uint8
        )
        for step in range(12)
    ]
    images = [
        np.concatenate([image[:-1], np.full((1, SIZE[1], 3), step, np.uint8)])
        for step, image in enumerate(images)
    ]
    estimator = InOrder(where, images)
    list(follow_video(estimator, Clip(images), interval=DetectionInterval("auto", longest=50)))
    assert estimator.detections == [0, 6]


@pytest.mark.parametrize("stop", [0, 7, 19])
def test_a_resumed_run_equals_an_undisturbed_one(stop):
    where, images = walk()

    def tracker():
        return PoseFlow(PoseFlowParameters(lookahead=2))

    noted = []
    whole = list(
        follow_video(
            InOrder(where, images),
            Clip(images),
            tracker(),
            interval=DetectionInterval(4),
            smooth=OneEuro(),
            record=lambda frame, poses: noted.append(poses),
        )
    )
    assert len(noted) == 20
    estimator = InOrder(where, images)
    again = list(
        follow_video(
            estimator,
            Clip(images),
            tracker(),
            interval=DetectionInterval(4),
            smooth=OneEuro(),
            recorded=lambda index: noted[index] if index < stop else None,
        )
    )
    assert estimator.detections == [index for index in (0, 4, 8, 12, 16) if index >= stop]
    for (frame, poses), (other, same) in zip(whole, again, strict=True):
        assert frame.index == other.index
        assert np.array_equal(poses.keypoints, same.keypoints, equal_nan=True)
        assert np.array_equal(poses.track_ids, same.track_ids)


def test_frames_and_poses_stay_together_under_latency():
    where, images = walk()
    for frame, poses in follow_video(
        InOrder(where, images), Clip(images), PoseFlow(PoseFlowParameters(lookahead=4))
    ):
        expected = sorted(pose(place).boxes[0, 0] for place in where[frame.index].values())
        assert sorted(poses.boxes[:, 0]) == pytest.approx(expected)


def test_stopping_early_closes_the_video():
    where, images = walk()
    clip = Clip(images)
    frames = follow_video(InOrder(where, images), clip)
    assert [frame.index for frame, _ in itertools.islice(frames, 3)] == [0, 1, 2]
    frames.close()
    assert clip.closed


def test_errors_of_the_estimator_reach_the_caller():
    where, images = walk()

    class Broken(InOrder):
        def estimate(self, image, boxes):
            if self.keys[image.tobytes()] == 3:
                raise ImageError("broken")
            return super().estimate(image, boxes)

    with pytest.raises(ImageError, match="broken"):
        list(follow_video(Broken(where, images), Clip(images)))


# Ghosts


ALL = ["poseflow", "oks"]


def ids_of(name, places, scores, **options):
    """The ids of one pose a frame at the given places, at 10 frames a second."""
    frames = [
        (paint({0: place}), pose(place).replace(scores=np.array([score], np.float32)))
        for place, score in zip(places, scores, strict=True)
    ]
    done = run(load_tracker(name, 10, **options), frames)
    return [int(poses.track_ids[0]) for poses in done]


HERE = (100, 120)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("scores", "step", "with_id"),
    [
        ([], 0, 0),
        ([0.6] * 15, 0, 15),
        ([0.24] * 15, 8, 0),  # too low, though it moves
        ([0.38] * 15, 0, 5),  # a tripod: half a second without moving
        ([0.38] * 15, 8, 15),  # the same, walking
        ([0.27] * 5 + [0.6] * 10, 0, 13),  # its mean reaches .39 with the eighth pose
        ([0.6] * 12 + [0.21] * 60, 0, 72),  # proven: stays a person when it fades
        ([0.5] * 3 + [0.21] * 30, 0, 5),  # a few good poses prove nothing
    ],
)
def test_what_does_not_look_like_a_person_has_no_id(name, scores, step, with_id):
    places = [(HERE[0] + step * number, HERE[1]) for number in range(len(scores))]
    ids = ids_of(name, places, scores)
    assert set(ids) <= {-1, 0}
    assert ids.count(0) == with_id


@pytest.mark.parametrize("name", ALL)
def test_ghosts_are_kept_if_asked_for(name):
    assert ids_of(name, [HERE] * 15, [0.25] * 15) == [-1] * 15
    assert ids_of(name, [HERE] * 15, [0.25] * 15, ghosts=True) == [0] * 15


def test_belief_is_one_rule():
    start = np.array([50.0, 60.0, np.log(100.0)])
    rule = BeliefParameters(moving=0.3, still=0.45, young=2)
    belief = Belief(start, 0.4)
    assert belief.is_person(rule)  # young
    for _ in range(9):
        belief.see(start + np.array([100 * MOVED - 1, 0, 0]), 0.4)
    assert not belief.is_person(rule)
    belief.see(start + np.array([100 * MOVED + 1, 0, 0]), 0.4)
    assert belief.is_person(rule)
    for _ in range(100):
        belief.see(start, 0.01)
    assert belief.is_person(rule)  # for good
    assert Belief(start, 0.0).is_person(EVERYTHING)


@pytest.mark.parametrize("size", [(10, 20000), (3000, 1), (1, 1)])
def test_a_thin_frame_is_shrunk_to_something(size):
    small = shrink(np.zeros((*size, 3), np.uint8))
    assert min(small.grey.shape) >= 1 and small.size == size
