"""Drawing: correct colours and positions at every size, and no other pixels changed."""

import itertools

import numpy as np
import pytest

from rmpe.draw import OTHER_BOX, DrawStyle, draw_poses, limb_colors, track_color
from rmpe.errors import UsageError
from rmpe.faces import blur_faces
from rmpe.poses import Poses
from rmpe.skeletons import LEFT, MIDDLE, RIGHT, load_skeleton, skeleton_names
from rmpe.trails import Trails

SKELETON = load_skeleton("coco17")
JOINT = {name: index for index, name in enumerate(SKELETON.joints)}
# A person facing us, as shares of a box 1 wide and 2 high; their right is on our left.
PLACES = {
    "nose": (0.5, 0.15),
    "left_eye": (0.55, 0.12), "right_eye": (0.45, 0.12),
    "left_ear": (0.6, 0.15), "right_ear": (0.4, 0.15),
    "left_shoulder": (0.75, 0.4), "right_shoulder": (0.25, 0.4),
    "left_elbow": (0.9, 0.7), "right_elbow": (0.1, 0.7),
    "left_wrist": (0.95, 1.0), "right_wrist": (0.05, 1.0),
    "left_hip": (0.65, 1.0), "right_hip": (0.35, 1.0),
    "left_knee": (0.65, 1.45), "right_knee": (0.35, 1.45),
    "left_ankle": (0.65, 1.9), "right_ankle": (0.35, 1.9),
}  # fmt: skip


def person(left=20.0, top=10.0, width=40.0, joint_score=0.9, score=0.9, track_id=-1):
    points = np.array([PLACES[name] for name in SKELETON.joints]) * width + (left, top)
    box = [left, top, left + width, top + 2 * width]
    return Poses(points[None], np.full((1, 17), joint_score), [score], [box], SKELETON, [track_id])


def middle_of(poses, start, end):
    x, y = poses.keypoints[0, [JOINT[start], JOINT[end]]].mean(axis=0)
    return round(float(y)), round(float(x))


def test_nobody_is_a_copy():
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    drawn = draw_poses(
        image, Poses.empty(SKELETON), show_boxes=True, show_ids=True, other_boxes=np.zeros((0, 4))
    )
    assert np.array_equal(drawn, image) and not np.shares_memory(drawn, image)


@pytest.mark.parametrize("width", [40, 150, 1000])
def test_limbs_have_the_colour_of_their_side(width):
    poses = person(width=width)
    image = np.full((2 * width + 20, width + 40, 3), 128, np.uint8)
    before = image.copy()
    drawn = draw_poses(image, poses)
    assert np.array_equal(image, before) and drawn.dtype == np.uint8 and drawn.shape == image.shape
    for start, end, color in [
        ("left_knee", "left_ankle", LEFT),
        ("right_knee", "right_ankle", RIGHT),
        ("left_hip", "right_hip", MIDDLE),
    ]:
        row, column = middle_of(poses, start, end)
        assert (
            np.abs(drawn[row - 1 : row + 2, column - 1 : column + 2].astype(int) - color)
            .sum(axis=2)
            .min()
            < 60
        )


@pytest.mark.parametrize("name", skeleton_names())
def test_limb_colours_follow_the_sides(name):
    skeleton = load_skeleton(name)
    for (start, end), color in zip(skeleton.limbs, limb_colors(skeleton), strict=True):
        sides = {skeleton.joints[joint].split("_")[0] for joint in (start, end)} & {"left", "right"}
        assert color == ({"left": LEFT, "right": RIGHT}[sides.pop()] if len(sides) == 1 else MIDDLE)


def changed(image, drawn):
    return (image != drawn).any(axis=2)


def test_width_grows_with_the_person():
    """A person twice as large covers about four times the pixels: drawings scale with size."""
    areas = []
    for width in (200, 400, 800):
        image = np.full((2 * width + 40, width + 40, 3), 128, np.uint8)
        areas.append(changed(image, draw_poses(image, person(width=width))).sum())
    ratios = [large / small for small, large in itertools.pairwise(areas)]
    assert all(2.9 < ratio < 4.5 for ratio in ratios), ratios  # 2 if the width were fixed


def test_uncertain_joints_fade_and_vanish():
    image = np.full((120, 80, 3), 128, np.uint8)
    strength = [
        np.abs(draw_poses(image, person(joint_score=score)).astype(int) - image).sum()
        for score in (0.05, 0.15, 0.3, 0.6)
    ]
    assert strength[0] == 0 and strength[0] < strength[1] < strength[2] < strength[3]


def test_people_below_the_score_are_left_out():
    image = np.full((120, 80, 3), 128, np.uint8)
    poses = person(score=0.29)
    assert np.array_equal(draw_poses(image, poses, show_boxes=True), image)
    assert changed(image, draw_poses(image, poses, min_score=0.29)).any()


def test_missing_joints_are_skipped():
    poses = person(width=100)
    points, scores = poses.keypoints.copy(), poses.keypoint_scores.copy()
    gone = JOINT["left_ankle"]
    points[:, gone], scores[:, gone] = np.nan, 0
    image = np.full((220, 140, 3), 128, np.uint8)
    drawn = draw_poses(image, Poses(points, scores, poses.scores, poses.boxes, SKELETON))
    row, column = middle_of(poses, "left_knee", "left_ankle")
    assert not changed(image, drawn)[row - 3 : row + 4, column - 3 : column + 4].any()
    nothing = Poses(np.full((1, 17, 2), np.nan), np.zeros((1, 17)), [1], poses.boxes, SKELETON)
    assert np.array_equal(draw_poses(image, nothing), image)


def test_the_surer_person_is_on_top_whatever_the_order():
    sure, unsure = person(score=0.9), person(left=24, top=12, score=0.5)
    image = np.full((120, 80, 3), 128, np.uint8)
    both = [draw_poses(image, Poses.merge(order)) for order in ([sure, unsure], [unsure, sure])]
    assert np.array_equal(*both)
    assert np.array_equal(both[0], draw_poses(draw_poses(image, unsure), sure))


def test_boxes_of_both_kinds():
    image = np.full((120, 80, 3), 128, np.uint8)
    drawn = draw_poses(image, person(), show_boxes=True, other_boxes=[[5, 5, 70, 100]])
    for row, column in ((50, 5), (100, 40)):
        assert np.abs(drawn[row, column].astype(int) - OTHER_BOX).max() < 25
    assert drawn[20, 20].min() > 200  # the person's own, white


def test_ids_have_colours_of_their_own():
    image = np.full((140, 80, 3), 128, np.uint8)
    poses = person(top=40, track_id=7)
    plain, labelled = draw_poses(image, poses), draw_poses(image, poses, show_ids=True)
    label = changed(plain, labelled)
    assert label.any() and not label[45:].any()
    assert (labelled[label] == track_color(7)).all(axis=1).mean() > 0.3
    assert np.array_equal(
        draw_poses(image, person(top=40), show_ids=True), draw_poses(image, person(top=40))
    )
    assert len({track_color(number) for number in range(20)}) == 20


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (40, 40)])
@pytest.mark.parametrize("left", [-1e7, -30.0, 0.0, 35.0, 1e7])
@pytest.mark.parametrize("width", [0.5, 40.0, 1e6])
def test_anywhere_at_any_size(shape, left, width):
    image = np.full((*shape, 3), 128, np.uint8)
    poses = person(left=left, top=-left, width=width, track_id=3)
    drawn = draw_poses(image, poses, show_boxes=True, show_ids=True, other_boxes=poses.boxes)
    assert drawn.shape == image.shape


def test_views_of_larger_images_can_be_drawn_on():
    image = np.full((240, 160, 3), 128, np.uint8)[::2, ::-2]
    assert changed(image, draw_poses(image, person())).any()


def test_the_label_stands_at_the_head_not_at_a_tall_box():
    image = np.full((400, 80, 3), 128, np.uint8)
    low = person(top=300, track_id=7)
    tall = low.replace(boxes=[[20, 5, 60, 390]])
    rows = np.flatnonzero(
        changed(draw_poses(image, tall), draw_poses(image, tall, show_ids=True)).any(axis=1)
    )
    assert 270 < rows.min() < rows.max() < 310
    nobody = tall.replace(keypoints=np.full((1, 17, 2), np.nan), keypoint_scores=np.zeros((1, 17)))
    assert changed(image, draw_poses(image, nobody, show_ids=True))[:60].any()


GREY = np.full((120, 140, 3), 128, np.uint8)
PEOPLE = Poses.merge([person(left=5, track_id=3), person(left=80, track_id=4)])


@pytest.mark.parametrize(
    ("style", "as_before"),
    [
        (DrawStyle(), {}),
        (DrawStyle(boxes=True), {"show_boxes": True}),
        (DrawStyle(ids=True), {"show_ids": True}),
    ],
)
def test_a_style_is_what_the_flags_are(style, as_before):
    assert np.array_equal(
        draw_poses(GREY, PEOPLE, style=style), draw_poses(GREY, PEOPLE, **as_before)
    )


@pytest.mark.parametrize("ids", [(3, 4), (-1, -1)])
def test_people_have_colours_of_their_own(ids):
    poses = PEOPLE.replace(track_ids=ids)
    drawn = draw_poses(GREY, poses, style=DrawStyle(color_by="person"))
    row, left = middle_of(poses, "left_hip", "right_hip")
    expected = [track_color(number if number >= 0 else at) for at, number in enumerate(ids)]
    for column, color in zip((left, left + 75), expected, strict=True):
        assert np.abs(drawn[row, column].astype(int) - color).max() < 40


def test_black_shows_nothing_of_the_image():
    image = np.random.default_rng(0).integers(1, 256, GREY.shape, dtype=np.uint8)
    drawn = draw_poses(image, PEOPLE, style=DrawStyle(black=True))
    assert np.array_equal(drawn, draw_poses(np.zeros_like(image), PEOPLE))
    assert not draw_poses(image, Poses.empty(SKELETON), style=DrawStyle(black=True)).any()


def test_scores_are_written():
    assert changed(
        draw_poses(GREY, PEOPLE), draw_poses(GREY, PEOPLE, style=DrawStyle(scores=True))
    ).any()


@pytest.mark.parametrize("score", [0.9, 0.1])
def test_faces_are_hidden_whether_a_person_is_drawn_or_not(score):
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    poses = person(left=50, top=50, width=120, score=score, joint_score=0.05)
    drawn = draw_poses(image, poses, style=DrawStyle(blur_faces=True))
    where = changed(image, drawn)
    rows, columns = np.nonzero(where)
    x, y = poses.keypoints[0, JOINT["nose"]]
    assert where[int(y) - 5 : int(y) + 6, int(x) - 5 : int(x) + 6].mean() > 0.9
    assert abs(rows.mean() - y) < 5 and abs(columns.mean() - x) < 5
    assert drawn[where].std() < 0.5 * image[where].std()


@pytest.mark.parametrize("left", [-30.0, 290.0, 5000.0])
def test_faces_at_the_border_and_outside(left):
    image = np.full((300, 300, 3), 9, np.uint8)
    blur_faces(image, person(left=left))
    blur_faces(image, Poses.empty(SKELETON))
    assert (image == 9).all()


def test_a_style_is_checked():
    with pytest.raises(UsageError, match="choose one of side, person"):
        DrawStyle(color_by="age")


@pytest.mark.parametrize(
    "trail", [[], [(5, 5)], [(5, 5), (np.nan, np.nan)], [(-90, -90), (-80, -9)]]
)
def test_a_trail_of_nothing_seen_changes_nothing(trail):
    nobody = Poses.empty(SKELETON)
    assert np.array_equal(draw_poses(GREY, nobody, trails={3: trail}), GREY)


def test_a_trail_fades_with_age():
    drawn = draw_poses(GREY, Poses.empty(SKELETON), trails={3: [(5, 50), (60, 50), (130, 50)]})
    old, new = (np.abs(drawn[50, x].astype(int) - 128).sum() for x in (30, 100))
    assert 0 < old < new


def test_trails_keep_the_last_seconds():
    trails = Trails(1.0)
    assert trails.update(Poses.empty(SKELETON), 0.0) == {}
    for second in (0.0, 0.5, 1.0, 1.5):
        found = trails.update(person(left=10 * second, track_id=3), second)
    assert found[3].tolist() == [[25, 90], [30, 90], [35, 90]]
    assert trails.update(person(track_id=-1), 9.0) == {}
    assert Trails(0).update(person(track_id=3), 0.0) == {}
