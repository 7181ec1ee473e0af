"""The pipeline on tiny models with known outputs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import constant_model, simcc_model, spot_pose_model, spots, yolox_model

import rmpe
from rmpe.affine import pad_to_aspect
from rmpe.boxes import Boxes
from rmpe.cards import METADATA_KEY, ModelCard, find_card, shipped_cards
from rmpe.detect import RecordedBoxes, WholeImage, load_detector
from rmpe.errors import DataError, ModelError, UsageError
from rmpe.estimate.pose_model import load_pose_model
from rmpe.estimate.score import box_scores, lowest_box_score, pose_scores
from rmpe.install.add import add_model
from rmpe.media.images import save_image
from rmpe.models import installed_models, use_model
from rmpe.propose.regions import propose
from rmpe.runtime import Session, choose_providers
from rmpe.streaming import CHUNK

JOINTS = [(60.0, 50.0), (75.0, 90.0), (52.0, 110.0)]
PERSON = Boxes([[40, 30, 90, 130]])


@pytest.fixture
def photo():
    return spots((160, 140), JOINTS, 5)


@pytest.fixture
def spot_model(tmp_path):
    return spot_pose_model(tmp_path)


def found(image, name=""):
    return PERSON


@pytest.mark.parametrize("flip", [False, True])
def test_joints_are_found_where_they_are(photo, spot_model, flip):
    estimator = rmpe.load(found, spot_model, flip_test=flip)
    poses = estimator(photo)
    # Mirrored joints swap sides: red and green trade places, so only the plain run finds all three.
    expected = [JOINTS[2]] if flip else JOINTS
    got = poses.keypoints[0, 2:] if flip else poses.keypoints[0]
    np.testing.assert_allclose(got, expected, atol=0.35)
    np.testing.assert_array_equal(poses.boxes, PERSON.xyxy)
    assert poses.skeleton.name == "rgb3"
    assert poses.scores[0] > 0.5


def test_nobody_found_is_no_error(photo, spot_model):
    estimator = rmpe.load(lambda image, name="": Boxes.empty(), spot_model)
    assert len(estimator(photo)) == 0


def test_boxes_outside_the_image_are_dropped(photo, spot_model):
    boxes = Boxes([[500, 500, 600, 600], [-50, -50, -10, -10], [40, 30, 90, 130], [60, 60, 60, 90]])
    assert len(rmpe.load(found, spot_model).estimate(photo, boxes)) == 1


def test_many_images_equal_one_at_a_time(photo, spot_model):
    estimator = rmpe.load(found, spot_model, nms="none", batch=3)
    boxes = [
        PERSON,
        Boxes.empty(),
        Boxes([[30, 20, 100, 140], [0, 0, 140, 160], [40, 30, 90, 130], [50, 30, 90, 99]]),
    ]
    together = estimator.estimate_batch([photo, photo, photo], boxes)
    for some, alone in zip(
        together, [estimator.estimate(photo, found) for found in boxes], strict=True
    ):
        np.testing.assert_array_equal(some.keypoints, alone.keypoints)
        np.testing.assert_array_equal(some.scores, alone.scores)
    assert estimator.estimate_batch([], []) == []


def test_a_stream_keeps_order_and_survives_bad_images(tmp_path, photo, spot_model):
    paths = []
    for number in range(23):
        path = tmp_path / f"{number}.png"
        if number in (3, 11):
            path.write_text("no image")
        else:
            save_image(path, photo)
        paths.append(path)
    seen = []
    estimator = rmpe.load(found, spot_model, workers=2)
    results = list(rmpe.stream(estimator, paths, each=lambda result: seen.append(result.path)))
    assert [result.path for result in results] == paths
    assert sorted(seen) == sorted(paths)
    assert [int(result.path.stem) for result in results if result.error] == [3, 11]
    assert all("3.png" in result.error for result in results if result.path.stem == "3")
    assert all(len(result.poses) == 1 for result in results if not result.error)


def test_a_stream_looks_only_a_few_images_ahead(photo, spot_model):
    read = []

    def reader(path):
        read.append(path)
        return photo

    estimator = rmpe.load(found, spot_model, workers=2)
    paths = (Path(f"{number}") for number in range(10_000))
    stream = rmpe.stream(estimator, paths, read=reader)
    next(stream)
    assert len(read) <= CHUNK * 4
    stream.close()
    assert len(read) <= CHUNK * 4


def test_an_image_that_breaks_the_model_fails_alone(tmp_path, photo, spot_model):
    good = tmp_path / "good.png"
    save_image(good, photo)
    estimator = rmpe.load(found, spot_model)
    whole, calls = estimator.estimate_batch, []

    def fragile(images, boxes):
        calls.append(len(images))
        if any(image.max() == 0 for image in images):
            raise ModelError("output holds NaN")
        return whole(images, boxes)

    estimator.estimate_batch = fragile
    black = tmp_path / "black.png"
    save_image(black, np.zeros_like(photo))
    results = list(rmpe.stream(estimator, [good, black, good]))
    assert [result.error for result in results] == ["", "output holds NaN", ""]
    assert calls == [3, 1, 1, 1]


# --- models and cards ---


@pytest.mark.parametrize("decoded", [False, True])
def test_yolox_raw_and_decoded_heads(tmp_path, decoded):
    people = [(20, 12, 10, 20, 0.9, 0.9), (50, 40, 12, 24, 0.8, 0.5), (51, 41, 12, 24, 0.5, 0.5)]
    detector = load_detector(yolox_model(tmp_path, people[:2], decoded=decoded))
    assert detector.decoded == decoded
    boxes = detector(
        np.zeros((32, 64, 3), np.uint8)
    )  # input 64 x 64: scale 1, lower half is padding
    np.testing.assert_allclose(boxes.xyxy[0], [15, 2, 25, 22], atol=1e-4)
    np.testing.assert_allclose(boxes.scores, [0.81, 0.4], atol=1e-6)
    np.testing.assert_allclose(boxes.xyxy[1], [44, 28, 56, 32], atol=1e-4)  # clipped
    twice = detector(np.zeros((64, 128, 3), np.uint8))
    np.testing.assert_allclose(twice.xyxy[0], [30, 4, 50, 44], atol=1e-4)


def test_simcc_models_run(tmp_path, photo):
    model = load_pose_model(simcc_model(tmp_path))
    assert (model.card.name, model.size, model.card.decoder) == (
        "RTMPose family",
        (64, 48),
        "simcc",
    )
    crops = np.stack([photo[30:94, 40:88], photo[40:104, 30:78]])
    points, _ = model(crops)
    expected = np.array(
        [[JOINTS[0][0] - 40, JOINTS[0][1] - 30], [JOINTS[0][0] - 30, JOINTS[0][1] - 40]]
    )
    np.testing.assert_allclose(points, np.repeat(expected[:, None], 17, 1), atol=2)
    flipped = load_pose_model(simcc_model(tmp_path), flip_test=True)
    np.testing.assert_allclose(flipped(crops)[0], points, atol=1)


def test_card_is_found_in_four_places(tmp_path, spot_model):
    session = Session(spot_model)
    assert find_card(session).name == "colour spots"
    other = tmp_path / "other.toml"
    other.write_text(
        spot_model.with_suffix(".toml").read_text().replace("colour spots", "named by the user")
    )
    assert find_card(session, other).name == "named by the user"
    assert find_card(Session(simcc_model(tmp_path))).name == "RTMPose family"
    assert find_card(Session(yolox_model(tmp_path, []))).name == "YOLOX family"


@pytest.mark.parametrize(
    ("beside", "warned"),
    [
        ('kind = "pose"\nname = "y"\ndecoder = "dark"\n', True),
        ("steps = 3\n", False),
        (None, False),
    ],
)
def test_a_card_beside_a_model_with_another_inside_is_said(
    tmp_path, spot_model, caplog, beside, warned
):
    model = onnx.load(spot_model)
    inside = replace(find_card(Session(spot_model)), name="inside")
    onnx.helper.set_model_props(model, {METADATA_KEY: inside.to_toml()})
    file = tmp_path / "own.onnx"
    onnx.save(model, file)
    if beside:
        file.with_suffix(".toml").write_text(beside)
    assert find_card(Session(file)).name == "inside"
    assert ("not used" in caplog.text) == warned


def test_published_files_are_known_by_their_hash(data_root):
    card = find_card(Session(data_root / "models" / "tinypose_256x192.onnx"))
    assert (card.name, card.alignment, card.skeleton) == ("PP-TinyPose 256x192", "corner", "coco17")
    assert find_card(Session(data_root / "models" / "yolox_nano.onnx")).name == "YOLOX-nano"


def test_no_card_says_how_to_write_one(tmp_path):
    with pytest.raises(
        ModelError, match=r"no model card found: write lonely\.toml beside it or pass --card"
    ):
        load_pose_model(spot_pose_model(tmp_path, with_card=False, name="lonely.onnx"))


@pytest.mark.parametrize("card", shipped_cards(), ids=lambda card: card.name)
def test_cards_survive_a_round_trip(card):
    assert ModelCard.from_toml(card.to_toml(), "again") == card


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind = ", "not TOML"),
        ('kind = "pose"\nname = "x"', "missing key 'decoder'"),
        (
            'kind = "pose"\nname = "x"\ndecoder = "dark"\nskeletn = "coco17"',
            "did you mean 'skeleton'",
        ),
        ('kind = "pose"\nname = "x"\ndecoder = "yolox"', "decoder 'yolox', known for a pose model"),
        ('kind = "nose"\nname = "x"\ndecoder = "dark"', "kind must be 'pose' or"),
        (
            'kind = "pose"\nname = "x"\ndecoder = "dark"\ngrowth = "big"',
            "growth must be float, not text 'big'",
        ),
        ('kind = "pose"\nname = "x"\ndecoder = "dark"\nsd = [1, 1]', "sd must be"),
        ('kind = "pose"\nname = "x"\ndecoder = "dark"\nblur = 4', "odd number"),
        (
            'kind = "pose"\nname = "x"\ndecoder = "dark"\nalignment = "middle"',
            "alignment must be 'corner' or",
        ),
    ],
)
def test_wrong_cards_are_named(text, message):
    with pytest.raises(ModelError, match=message):
        ModelCard.from_toml(text, "card.toml")


def test_models_that_are_none(tmp_path):
    text = tmp_path / "text.onnx"
    text.write_text("hello")
    with pytest.raises(ModelError, match=r"text\.onnx: not a model"):
        Session(text)
    with pytest.raises(ModelError, match=r"gone\.onnx"):
        Session(tmp_path / "gone.onnx")
    with pytest.raises(ModelError, match=r"gone\.onnx: no such model file"):
        rmpe.load(found, tmp_path / "gone.onnx")


def test_a_model_with_other_outputs_than_its_card_says(tmp_path, spot_model):
    card = tmp_path / "seventeen.toml"
    card.write_text('kind = "pose"\nname = "wrong"\ndecoder = "dark"\n')
    with pytest.raises(
        ModelError, match=r"heatmaps \(n, 17, h, w\), but it answers \(1, 3, 16, 12\)"
    ):
        load_pose_model(spot_model, card=card)
    with pytest.raises(ModelError, match="pose model, not a detector"):
        load_detector(spot_model)


def test_nan_in_an_output_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="'heatmap' holds NaN"):
        load_pose_model(spot_pose_model(tmp_path, broken=True))


@pytest.mark.parametrize(
    ("device", "available", "expected"),
    [
        ("cpu", ["CUDAExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]),
        ("auto", ["CPUExecutionProvider"], ["CPUExecutionProvider"]),
        ("auto", ["CUDAExecutionProvider"], ["CUDAExecutionProvider", "CPUExecutionProvider"]),
        ("cuda", ["CUDAExecutionProvider"], ["CUDAExecutionProvider", "CPUExecutionProvider"]),
    ],
)
def test_providers(device, available, expected):
    assert choose_providers(device, available) == expected


@pytest.mark.parametrize(
    ("device", "message"), [("cuda", "onnxruntime-gpu"), ("tpu", "auto, cpu, cuda")]
)
def test_devices_that_are_not_there(device, message):
    with pytest.raises(ModelError, match=message):
        choose_providers(device, ["CPUExecutionProvider"])


def test_unknown_suppression_names_the_known(spot_model):
    with pytest.raises(UsageError, match="parametric"):
        rmpe.load(found, spot_model, nms="best")


# --- association ---


@pytest.mark.parametrize("name", ["paper", "released"])
@pytest.mark.parametrize("decoder", ["dark", "argmax"])
@pytest.mark.parametrize("flip", [False, True])
def test_one_person_is_as_without_association(tmp_path, photo, name, decoder, flip):
    model = spot_pose_model(tmp_path, decoder)
    alone = rmpe.load(found, model, flip_test=flip)(photo)
    associated = rmpe.load(found, model, flip_test=flip, associate=name)(photo)
    np.testing.assert_allclose(associated.keypoints, alone.keypoints, atol=1e-4)
    np.testing.assert_array_equal(associated.keypoint_scores, alone.keypoint_scores)
    np.testing.assert_allclose(associated.scores, alone.scores, rtol=1e-6)


@pytest.mark.parametrize("name", ["paper", "released"])
def test_association_of_nobody(photo, spot_model, name):
    estimator = rmpe.load(found, spot_model, associate=name)
    assert [len(one) for one in estimator.estimate_batch([photo] * 2, [Boxes.empty()] * 2)] == [
        0
    ] * 2
    assert estimator.estimate_batch([], []) == []


def test_two_people_do_not_get_the_same_joint(spot_model):
    """Each box holds one strong and one weak spot; without association both take the strong one."""
    strong = spots((100, 200), [(70, 50)] * 3, 4).astype(int)
    weak = spots((100, 200), [(120, 50)] * 3, 4).astype(int) * 6 // 10
    image = (strong + weak).astype(np.uint8)
    boxes = Boxes([[60, 10, 125, 90], [63, 10, 130, 90]])
    same, apart = (
        rmpe.load(found, spot_model, nms="none", associate=name).estimate(image, boxes)
        for name in ("none", "paper")
    )
    np.testing.assert_allclose(same.keypoints[..., 0], 70, atol=1)
    np.testing.assert_allclose(
        np.sort(apart.keypoints[..., 0], axis=0), [[70] * 3, [120] * 3], atol=1
    )


def test_association_needs_peaks(tmp_path, spot_model):
    simcc = simcc_model(tmp_path)
    simcc.with_suffix(".toml").write_text(
        'kind = "pose"\nname = "s"\ndecoder = "simcc"\nskeleton = "coco17"\n'
    )
    for model, decoder in (
        (simcc, "simcc"),
        (spot_pose_model(tmp_path, "integral-softmax", name="other.onnx"), "integral-softmax"),
    ):
        with pytest.raises(ModelError, match=rf"\({decoder}\) have one place for each joint"):
            rmpe.load(found, model, associate="paper")
    with pytest.raises(UsageError, match="known: none, paper, released"):
        rmpe.load(found, spot_model, associate="best")


# --- precomputed boxes ---

ROWS = [
    {"image_id": 5, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.2},
    {"image_id": 5, "category_id": 1, "bbox": [5, 5, 10, 10], "score": 0.9},
    {"image_id": 5, "category_id": 3, "bbox": [5, 5, 10, 10], "score": 1.0},
]
IMAGES = {"images": [{"id": 5, "file_name": "a/x.jpg"}, {"id": 6, "file_name": "b/x.jpg"}]}
BLANK = np.zeros((50, 50, 3), np.uint8)


def written(path, data):
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_recorded_results_come_best_first_persons_only(tmp_path):
    boxes = RecordedBoxes(written(tmp_path / "boxes.json", ROWS))(BLANK, "photos/000005.jpg")
    np.testing.assert_allclose(boxes.xyxy, [[5, 5, 15, 15], [1, 2, 4, 6]])
    assert boxes.scores.tolist() == pytest.approx([0.9, 0.2])


def test_recorded_results_by_file_name(tmp_path):
    images = written(tmp_path / "images.json", IMAGES)
    detector = RecordedBoxes(written(tmp_path / "boxes.json", ROWS), images)
    assert len(detector(BLANK, "/data/a/x.jpg")) == 2
    assert len(detector(BLANK, "/data/b/x.jpg")) == 0  # known, nobody there
    with pytest.raises(DataError, match=r"has no boxes for /data/c/x\.jpg"):
        detector(BLANK, "/data/c/x.jpg")


def test_recorded_annotations_leave_crowds_out(tmp_path):
    rows = [{**ROWS[0], "iscrowd": 1}, ROWS[1]]
    detector = RecordedBoxes(written(tmp_path / "truth.json", IMAGES | {"annotations": rows}))
    assert len(detector(BLANK, "a/x.jpg")) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "not JSON"),
        ({"a": 1}, "neither"),
        ([{"image_id": 1}], "detection 0 has no 'bbox'"),
        ([{"image_id": 1, "bbox": [1, 2, "x", 4]}], "detection 0: 'bbox' must hold numbers"),
        ([{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 7}], r"\[0, 1\]"),
        ([3], "detection 0 is 3, not a table"),
    ],
)
def test_broken_box_files_are_named(tmp_path, data, message):
    with pytest.raises(DataError, match=message) as caught:
        RecordedBoxes(written(tmp_path / "broken.json", data))
    assert "broken.json" in str(caught.value)


def test_whole_image():
    assert WholeImage()(BLANK).xyxy.tolist() == [[0, 0, 50, 50]]


def test_boxes_that_cannot_reach_the_score_are_not_looked_at(photo, spot_model):
    boxes = Boxes([[40, 30, 90, 130], [41, 31, 91, 131]], [0.9, 0.02])
    assert len(propose(boxes, (160, 140), 100, min_score=lowest_box_score(0.3))) == 1
    everybody = rmpe.load(found, spot_model, nms="none", min_score=0).estimate(photo, boxes)
    likely = rmpe.load(found, spot_model, nms="none", min_score=0.3).estimate(photo, boxes)
    assert len(everybody) == 2
    np.testing.assert_array_equal(likely.scores, everybody.scores[everybody.scores >= 0.3])


@given(st.floats(0, 1), st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_pose_scores_lie_between_nothing_and_the_root_of_the_box_score(box, joints):
    score = pose_scores(np.array([box], np.float32), np.array([joints], np.float32))
    assert 0 <= score[0] <= 1
    assert lowest_box_score(float(score[0])) <= box + 1e-6
    if score[0] > 1e-3:
        assert box_scores(score, np.array([joints], np.float32))[0] == pytest.approx(box, abs=1e-3)
    assert pose_scores(np.zeros(0, np.float32), np.zeros((0, 3), np.float32)).shape == (0,)


def test_joints_that_are_not_seen_do_not_speak_for_a_person():
    seen, hidden = [0.9, 0.5, 0.7], [0.1, 0.05, 0.0]
    box = np.full(2, 0.8, np.float32)
    whole, half = np.array([seen + hidden, seen + [0.0] * 3], np.float32)
    np.testing.assert_array_equal(*pose_scores(box, np.stack([whole, half])))
    alone = pose_scores(box[:1], np.array([seen], np.float32))
    np.testing.assert_allclose(pose_scores(box[:1], whole[None]), alone, rtol=1e-6)
    assert pose_scores(box[:1], np.full((1, 3), 0.1, np.float32))[0] == 0


def shifting_stn(folder, shift):
    """A spatial transformer with a constant translation (normalised x, y)."""
    theta = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    path = constant_model(folder, "stn.onnx", {"image": ["n", 3, 64, 48]}, theta, ["n", 2, 3])
    path.with_suffix(".toml").write_text(
        'kind = "stn"\nname = "shift"\ndecoder = "theta"\ngrowth = 1.3\nalignment = "center"\n'
    )
    return path


def test_the_stn_moves_the_crop_and_the_joints_stay_where_they_are(tmp_path, photo, spot_model):
    shift = (0.25, -0.1)
    boxes = Boxes([[15, 10, 115, 140], [30, 20, 100, 130]])
    plain = rmpe.load(found, spot_model, nms="none").estimate(photo, boxes)
    moved = rmpe.load(found, spot_model, stn=shifting_stn(tmp_path, shift), nms="none").estimate(
        photo, boxes
    )
    inside = np.minimum(plain.keypoint_scores, moved.keypoint_scores) > 0.5
    assert inside.sum() >= 3
    np.testing.assert_allclose(moved.keypoints[inside], plain.keypoints[inside], atol=0.5)
    padded = pad_to_aspect(boxes.xyxy, 48 / 64)
    sides = (padded[:, 2:] - padded[:, :2]) * 1.3
    expected = padded + np.tile(np.array(shift) / 2 * sides, 2)
    np.testing.assert_allclose(moved.stn_boxes, expected, atol=1e-3)
    np.testing.assert_array_equal(moved.boxes, plain.boxes)
    assert "stn_bbox" in moved.to_coco(1)[0]
    assert "stn_bbox" not in plain.to_coco(1)[0]


@pytest.mark.parametrize(
    ("shift", "keep_overlap", "kept"),
    [
        ((0.0, 0.0), 1.0, True),
        ((0.25, -0.1), 1.0, False),
        ((0.25, -0.1), 0.72, False),
        # 1.75 * 1.9 of 4 are shared: an IoU of 3.325 / 4.675 = 0.711.
        ((0.25, -0.1), 0.71, True),
    ],
)
def test_a_proposal_that_theta_hardly_moves_is_kept(
    tmp_path, photo, spot_model, shift, keep_overlap, kept
):
    boxes = Boxes([[15, 10, 115, 140], [30, 20, 100, 130]])
    file = shifting_stn(tmp_path, shift)
    with file.with_suffix(".toml").open("a") as card:
        card.write(f"keep_overlap = {keep_overlap}\n")
    plain = rmpe.load(found, spot_model, nms="none").estimate(photo, boxes)
    behind = rmpe.load(found, spot_model, stn=file, nms="none").estimate(photo, boxes)
    assert np.array_equal(behind.keypoints, plain.keypoints) == kept
    assert np.array_equal(behind.stn_boxes, boxes.xyxy) == kept


@pytest.mark.parametrize(("keep_overlap", "people"), [(1.0, 4), (0.71, 2)])
def test_a_second_look_at_the_proposals_that_are_not_kept(
    tmp_path, photo, spot_model, keep_overlap, people
):
    boxes = Boxes([[15, 10, 115, 140], [30, 20, 100, 130]])
    file = shifting_stn(tmp_path, (0.25, -0.1))
    with file.with_suffix(".toml").open("a") as card:
        card.write(f"keep_overlap = {keep_overlap}\n")
    single = rmpe.load(found, spot_model, stn=file, nms="none").estimate(photo, boxes)
    with file.with_suffix(".toml").open("a") as card:
        card.write("second_look = true\n")
    twice = rmpe.load(found, spot_model, stn=file, nms="none")
    looks = twice.cropper([photo, photo], [boxes, boxes[:0]])
    assert len(looks.image_to_crop[0]) == len(looks.person[0]) == people
    assert len(looks.image_to_crop[1]) == 0
    plain = rmpe.load(found, spot_model, nms="none").estimate(photo, boxes)
    both = twice.estimate(photo, boxes)
    np.testing.assert_array_equal(both.stn_boxes, single.stn_boxes)
    # Every joint lies where one of the looks found it, or between the two.
    low, high = (bound(plain.keypoints, single.keypoints) for bound in (np.minimum, np.maximum))
    assert np.all((both.keypoints >= low - 1e-4) & (both.keypoints <= high + 1e-4))
    # A batch of images is the images one by one.
    first, second = twice.estimate_batch([photo, photo], [boxes, boxes[1:]])
    np.testing.assert_allclose(first.keypoints, both.keypoints, atol=1e-4)
    np.testing.assert_allclose(second.keypoints, both.keypoints[1:], atol=1e-4)


def test_the_pose_models_card_names_its_stn(tmp_path, monkeypatch, photo, spot_model):
    monkeypatch.setenv("RMPE_HOME", str(tmp_path))
    folder = tmp_path / "models"
    folder.mkdir()
    shifting_stn(folder, (0.25, -0.1)).rename(folder / "shift.onnx")
    (folder / "stn.toml").rename(folder / "shift.toml")
    card = spot_model.with_suffix(".toml")
    card.write_text(card.read_text() + 'stn = "shift"\n')
    default = rmpe.load(found, spot_model)
    assert default.stn is not None
    assert default.stn.session.path == folder / "shift.onnx"
    assert rmpe.load(found, spot_model, stn="none").stn is None
    assert "stn_bbox" in default.estimate(photo, PERSON).to_coco(1)[0]
    options = rmpe.PipelineOptions(boxes=None, detector="whole-image", pose=spot_model)
    prints = [one.fingerprint(one.load()) for one in (options, replace(options, stn="none"))]
    assert "stn" in prints[0]
    assert prints[0] != prints[1]


def test_the_users_default_stn_goes_before_the_cards(tmp_path, spot_model):
    add_model("shift", str(shifting_stn(tmp_path, (0.25, -0.1))))
    card = spot_model.with_suffix(".toml")
    bare = card.read_text()
    before = {"stn-lite": "stn-lite", "": None}  # by the card's own
    after = dict.fromkeys(before, "shift")
    for default, expected in (("stn-lite", before), ("shift", after), ("stn-lite", before)):
        use_model(default)
        for named, stands in expected.items():
            card.write_text(f'{bare}stn = "{named}"\n')
            stn = rmpe.load(found, spot_model).stn
            assert (stn and stn.session.path) == (stands and installed_models()[stands])
    use_model("shift")
    card.write_text(bare + 'stn = "stn-lite"\n')
    assert rmpe.load(found, spot_model, stn="none").stn is None
    asked = rmpe.load(found, spot_model, stn="stn-lite").stn
    assert asked is not None
    assert asked.session.path == installed_models()["stn-lite"]
    assert rmpe.load(found).stn.session.path == installed_models()["shift"]


def test_an_stn_whose_map_has_no_inverse_keeps_the_box(tmp_path, photo, spot_model):
    path = shifting_stn(tmp_path, (0, 0))
    broken = constant_model(
        tmp_path, "stn.onnx", {"image": ["n", 3, 64, 48]}, np.zeros((2, 3), np.float32), ["n", 2, 3]
    )
    assert broken == path
    plain = rmpe.load(found, spot_model).estimate(photo, PERSON)
    kept = rmpe.load(found, spot_model, stn=broken).estimate(photo, PERSON)
    np.testing.assert_allclose(kept.keypoints, plain.keypoints, atol=0.3)
