"""Every model of the catalogue, as a made ONNX file of the publisher's exact form.

Names, axes and shapes are those of the exports; the answers are known, so that decoders and the
whole pipeline are held to 1e-4 pixels. No published file is needed.
"""

import json

import numpy as np
import pytest
from click.testing import CliRunner

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper
from tiny_models import constant_model, yolox_model

import rmpe
from rmpe.affine import apply, invert
from rmpe.boxes import Boxes
from rmpe.cards import find_card
from rmpe.catalogue import read_catalogue, shipped_catalogue
from rmpe.cli import rmpe as command
from rmpe.detect.letterbox import letterbox
from rmpe.errors import ModelError, UsageError
from rmpe.install.add import add_model
from rmpe.install.get import get_model
from rmpe.media.images import save_image
from rmpe.models import added_models, use_model
from rmpe.options import PipelineOptions
from rmpe.runtime import Session, sha256_of
from rmpe.serve.answers import models_of
from rmpe.skeletons import load_skeleton
from rmpe.write import FORMATS, VIDEO_FORMATS

ENTRIES = {entry.name: entry for entry in shipped_catalogue().models}
POSES = [name for name, entry in ENTRIES.items() if entry.card.kind == "pose"]
DETECTORS = [name for name, entry in ENTRIES.items() if entry.card.kind == "detector"]
PICTURE = (150, 200)  # height, width
PERSON = Boxes([[60, 20, 120, 130]], [0.9])


def answering(path, inputs, outputs):
    """A model that answers the same, whatever it sees: name -> (answer of one item, axes)."""
    (name, shape) = inputs
    nodes = [helper.make_node("ReduceMean", [name], ["mean"], axes=[1, 2, 3], keepdims=0)]
    nodes.append(helper.make_node("Mul", ["mean", "zero"], ["nothing"]))
    initializers = [numpy_helper.from_array(np.array(0, np.float32), "zero")]
    infos = []
    for output, (answer, axes) in outputs.items():
        column = np.array([-1] + [1] * answer.ndim, np.int64)
        initializers += [
            numpy_helper.from_array(column, f"{output}_column"),
            numpy_helper.from_array(answer[None].astype(np.float32), f"{output}_answer"),
        ]
        nodes.append(helper.make_node("Reshape", ["nothing", f"{output}_column"], [f"{output}_n"]))
        whole = np.issubdtype(answer.dtype, np.integer)
        real = f"{output}_real" if whole else output
        nodes.append(helper.make_node("Add", [f"{output}_n", f"{output}_answer"], [real]))
        if whole:
            nodes.append(helper.make_node("Cast", [real], [output], to=TensorProto.INT64))
        kind = TensorProto.INT64 if whole else TensorProto.FLOAT
        infos.append(helper.make_tensor_value_info(output, kind, axes))
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        infos,
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def made(entry, folder):
    """The made file of an entry, and what it answers in input pixels."""
    card = entry.card
    height, width = card.size
    path = folder / (entry.member or entry.file.rpartition("/")[2])
    chance = np.random.default_rng(len(entry.name))
    if card.decoder == "simcc":
        joints = len(load_skeleton(card.skeleton))
        bins = [(chance.integers(9, side * 2 - 9, joints), side * 2) for side in (width, height)]
        lines = [np.eye(length)[place] * 0.8 for place, length in bins]
        answering(
            path,
            ("input", ["batch", 3, height, width]),
            {
                "simcc_x": (lines[0], ["batch", joints, width * 2]),
                "simcc_y": (lines[1], ["batch", joints, height * 2]),
            },
        )
        return path, np.stack([bins[0][0], bins[1][0]], axis=1) / 2
    if card.decoder == "dark":
        cells = chance.integers(7, (41, 57), (17, 2))
        y, x = np.mgrid[: height // 4, : width // 4]
        maps = np.stack([np.exp(-((x - a) ** 2 + (y - b) ** 2) / 8) for a, b in cells])
        axes = ["batch", 17, height // 4, width // 4]
        answering(path, ("input_0", ["batch", 3, height, width]), {"output_0": (maps, axes)})
        # UDP: the corners of heatmap and crop are the centres of their outer pixels.
        scale = (np.array([width, height]) - 1) / (np.array([width, height]) // 4 - 1)
        return path, cells * scale
    # Detectors and one-stage models answer places of the letterboxed input.
    _, scale = letterbox(np.zeros((*PICTURE, 3), np.uint8), card.size)
    boxes = np.array([[60, 20, 120, 130, 0.9], [10, 30, 50, 120, 0.6], [1, 1, 9, 9, 0.001]])
    boxes[:, :4] *= scale
    if card.decoder == "yolox":
        people = [
            ((a + c) / 2, (b + d) / 2, c - a, d - b, 0.95, score / 0.95)
            for a, b, c, d, score in boxes[:2]
        ]
        yolox_model(folder, people, card.size, classes=80, name=path.name)
        return path, boxes[:2, :4] / scale
    if card.decoder == "nms-boxes":
        other = boxes[:1] + np.array([5, 5, 5, 5, 0.05])  # a chair, surer than the people
        answering(
            path,
            ("input", ["batch", 3, height, width]),
            {
                "dets": (np.concatenate([boxes, other]), ["batch", "num_dets", 5]),
                "labels": (np.array([0, 0, 0, 56]), ["batch", "num_dets"]),
            },
        )
        return path, boxes[:2, :4] / scale
    points = chance.uniform(10, 120, (3, 17, 2))
    joints = np.concatenate([points * scale, np.full((3, 17, 1), 0.8)], axis=2)
    answering(
        path,
        ("input", ["batch", 3, height, width]),
        {
            "dets": (boxes, ["batch", "num_dets", 5]),
            "keypoints": (joints, ["batch", "num_dets", 17, 3]),
        },
    )
    return path, points[:2]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RMPE_HOME", str(tmp_path / "home"))


def installed(name, folder):
    """The made file of an entry, installed under its name with the catalogue's card."""
    path, answer = made(ENTRIES[name], folder)
    card = folder / "card.toml"
    card.write_text(ENTRIES[name].card.to_toml())
    add_model(name, str(path), card=card)
    return answer


@pytest.fixture
def picture():
    return np.random.default_rng(1).integers(0, 255, (*PICTURE, 3), np.uint8)


@pytest.mark.parametrize("name", POSES)
def test_pose_models_are_decoded_exactly(tmp_path, picture, name):
    answer = installed(name, tmp_path)
    estimator = rmpe.load(lambda image, name="": PERSON, name, nms="none", device="cpu")
    poses = estimator(picture)
    expected = apply(invert(estimator.pose.crop_maps(PERSON.xyxy)), answer[None])
    np.testing.assert_allclose(poses.keypoints, expected, atol=1e-4)
    assert poses.skeleton.name == ENTRIES[name].card.skeleton


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_are_decoded_exactly(tmp_path, picture, name):
    answer = installed(name, tmp_path)
    boxes = rmpe.load(name, device="cpu").detector(picture)
    np.testing.assert_allclose(boxes.xyxy, answer, atol=1e-4)
    np.testing.assert_allclose(boxes.scores, [0.9, 0.6], atol=1e-5)


def test_one_stage_models_are_decoded_exactly(tmp_path, picture):
    answer = installed("rtmo-s", tmp_path)
    estimator = rmpe.load(pose="rtmo-s", nms="none", device="cpu")
    poses = estimator(picture)
    np.testing.assert_allclose(poses.keypoints, answer, atol=1e-4)
    np.testing.assert_allclose(poses.boxes, [[60, 20, 120, 130], [10, 30, 50, 120]], atol=1e-4)
    np.testing.assert_allclose(poses.keypoint_scores, 0.8, atol=1e-6)


def test_yolo_pose_is_decoded_exactly_and_suppressed(tmp_path, picture):
    _, scale = letterbox(np.zeros((*PICTURE, 3), np.uint8), (640, 640))
    points = np.random.default_rng(2).uniform(10, 120, (3, 17, 2))
    boxes = np.array([[90, 75, 60, 110], [91, 75, 60, 110], [30, 75, 40, 90]])  # two are one person
    scores = np.array([[0.9], [0.7], [0.5]])
    joints = np.concatenate([points * scale, np.full((3, 17, 1), 0.8)], axis=2).reshape(3, 51)
    rows = np.concatenate([boxes * scale, scores, joints], axis=1)
    path = tmp_path / "yolo11n-pose.onnx"
    answering(path, ("images", [1, 3, 640, 640]), {"output0": (rows.T, [1, 56, 3])})
    assert find_card(Session(path, "cpu")).decoder == "yolo-pose"
    poses = rmpe.load(pose=path, nms="none", device="cpu")(picture)
    np.testing.assert_allclose(poses.keypoints, points[[0, 2]], atol=1e-4)
    np.testing.assert_allclose(poses.boxes[1], [10, 30, 50, 120], atol=1e-4)


@pytest.mark.parametrize("kind", ["nms-boxes", "rtmo"])
def test_nobody_is_legal(tmp_path, picture, kind):
    outputs = {"dets": (np.zeros((0, 5)), ["batch", "n", 5])}
    if kind == "rtmo":
        outputs["keypoints"] = (np.zeros((0, 17, 3)), ["batch", "n", 17, 3])
    else:
        outputs["labels"] = (np.zeros(0, np.int64), ["batch", "n"])
    path = answering(tmp_path / "rtmdet.onnx", ("input", ["batch", 3, 64, 64]), outputs)
    if kind == "rtmo":
        assert len(rmpe.load(pose=path, device="cpu")(picture)) == 0
    else:
        assert len(rmpe.load(path, device="cpu").detector(picture)) == 0


@pytest.mark.parametrize(
    ("name", "outputs", "skeleton"),
    [
        ("end2end.onnx", {"simcc_x": [1, 26, 64], "simcc_y": [1, 26, 64]}, "halpe26"),
        ("end2end.onnx", {"simcc_x": [1, 133, 64], "simcc_y": [1, 133, 64]}, "wholebody133"),
        ("end2end.onnx", {"simcc_x": [1, 21, 64], "simcc_y": [1, 21, 64]}, "hand21"),
        ("vitpose-wholebody.onnx", {"heat": [1, 133, 8, 8]}, "wholebody133"),
        ("hrnet.onnx", {"heat": [1, 17, 8, 8]}, "coco17"),
        ("rtmo.onnx", {"dets": [1, 4, 5], "keypoints": [1, 4, 26, 3]}, "halpe26"),
        ("end2end.onnx", {"simcc_x": [1, 19, 64], "simcc_y": [1, 19, 64]}, None),
    ],
)
def test_the_number_of_outputs_says_the_skeleton(tmp_path, name, outputs, skeleton):
    made = {key: (np.zeros(shape[1:]), shape) for key, shape in outputs.items()}
    session = Session(answering(tmp_path / name, ("input", [1, 3, 32, 32]), made), "cpu")
    if skeleton:
        assert find_card(session).skeleton == skeleton
    else:
        with pytest.raises(ModelError, match="answers 19 joints and no card says which"):
            find_card(session)


@pytest.mark.parametrize(
    ("name", "outputs", "decoder", "mean"),
    [
        ("yolox_m_8xb8-300e_humanart.onnx", ["dets", "labels"], "nms-boxes", 0.0),
        ("rtmdet_nano_person.onnx", ["dets", "labels"], "nms-boxes", 103.53),
        ("yolox_nano.onnx", ["output"], "yolox", 0.0),
    ],
)
def test_detectors_of_one_name_are_told_apart(tmp_path, name, outputs, decoder, mean):
    made = {key: (np.zeros((4, 5)), [1, 4, 5]) for key in outputs}
    session = Session(answering(tmp_path / name, ("input", [1, 3, 32, 32]), made), "cpu")
    card = find_card(session)
    assert (card.decoder, card.mean[0]) == (decoder, mean)


@pytest.mark.parametrize(
    "options",
    [
        {"detector": "detector-person"},
        {"stn": "stn-lite"},
        {"flip_test": True},
        {"associate": "paper"},
    ],
)
def test_a_one_stage_model_needs_no_other(tmp_path, options):
    installed("rtmo-s", tmp_path)
    with pytest.raises(UsageError, match="finds people by itself"):
        rmpe.load(pose="rtmo-s", **options)


def test_a_one_stage_model_does_without_the_users_default_stn(tmp_path):
    installed("rtmo-s", tmp_path)
    theta = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    stn = constant_model(tmp_path, "still.onnx", {"image": ["n", 3, 64, 48]}, theta, ["n", 2, 3])
    stn.with_suffix(".toml").write_text('kind = "stn"\nname = "still"\ndecoder = "theta"\n')
    add_model("still", str(stn))
    use_model("still")
    assert rmpe.load(pose="rtmo-s").stn is None


def test_the_detector_counts_where_there_is_one(tmp_path, monkeypatch):
    """The default detector decides what a pose model finds, and nothing of a one-stage model."""
    monkeypatch.setenv("RMPE_HOME", str(tmp_path / "home"))
    installed("rtmo-s", tmp_path)
    prints = {}
    for default in ("detector-person", "another"):
        if default == "another":
            add_model("another", str(yolox_model(tmp_path, [(30, 36, 24, 48, 0.9, 0.9)])))
        use_model(default)
        for pose in ("rtmo-s", "pose-lite"):
            options = PipelineOptions(pose=pose, device="cpu")
            prints[pose, default] = options.fingerprint(options.load())
    assert "detector card" not in prints["rtmo-s", "another"]
    assert prints["rtmo-s", "detector-person"] == prints["rtmo-s", "another"]
    assert prints["pose-lite", "detector-person"] != prints["pose-lite", "another"]


def test_the_service_names_a_one_stage_model(tmp_path):
    installed("rtmo-s", tmp_path)
    names = {model["kind"]: model["name"] for model in models_of(rmpe.load(pose="rtmo-s"))}
    assert names == {"detector": "WholeImage", "pose": ENTRIES["rtmo-s"].card.name}


def run(*arguments):
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.parametrize("name", list(ENTRIES))
def test_predict_and_track_in_every_format(tmp_path, picture, name):
    """Made files run as a user runs them; a detector with a small made pose model of its own."""
    installed(name, tmp_path)
    models = ["--pose" if ENTRIES[name].card.kind != "detector" else "--detector", name]
    if ENTRIES[name].card.kind != "one-stage":
        partner = "rtmpose-t" if "--detector" in models else "rtmdet-nano"
        if partner != name:
            (tmp_path / "partner").mkdir()
            installed(partner, tmp_path / "partner")
            models += ["--pose" if "--detector" in models else "--detector", partner]
    frames = tmp_path / "frames"
    for number in range(3):
        save_image(frames / f"{number}.png", picture)
    formats = [word for form in FORMATS for word in ("--format", form)]
    out = tmp_path / "photos"
    run("predict", frames, "--out", out, "--nms", "none", "--device", "cpu", *models, *formats)
    people = json.loads((out / "coco.json").read_text())
    skeleton = load_skeleton(ENTRIES[name].card.skeleton)
    assert len(people) == 6 and len(people[0]["keypoints"]) == 3 * len(skeleton)
    assert (out / "drawn" / "0.jpg").is_file() and (out / "coco_wholebody.json").is_file()
    formats = [word for form in VIDEO_FORMATS for word in ("--format", form)]
    out = tmp_path / "video"
    run("track", frames, "--out", out, "--nms", "none", "--device", "cpu", *models, *formats)
    people = json.loads((out / "coco.json").read_text())
    assert len({person["track_id"] for person in people}) == 2 and len(people) == 6


@pytest.mark.parametrize("name", ["yolox_nano", "tinypose_256x192"])
def test_files_at_hand_come_through_get(tmp_path, data_root, name):
    """Carried by hand through a catalogue, a model answers as the file itself does."""
    file = data_root / "models" / f"{name}.onnx"
    card = find_card(Session(file, "cpu"))
    text = f"""
    bundles = {{}}
    [places]
    here = ["http://127.0.0.1:1/"]
    [[models]]
    name = "carried"
    place = "here"
    file = "{file.name}"
    bytes = {file.stat().st_size}
    sha256 = "{sha256_of(file)}"
    people = "COCO"
    ap = 1.0
    measure = "x"
    ap_source = "x"
    cite = "x"
    [models.card]
    """
    catalogue = read_catalogue(text + card.to_toml(), "made")
    get_model(catalogue.find("carried"), catalogue=catalogue, file=file)
    assert added_models()["carried"].read_bytes() == file.read_bytes()
    image = next(iter(sorted((data_root / "data/coco-val/images").iterdir())))
    key = "pose" if card.kind == "pose" else "detector"
    by_name, by_file = (rmpe.load(**{key: one}, device="cpu")(image) for one in ("carried", file))
    assert len(by_name)
    np.testing.assert_array_equal(by_name.keypoints, by_file.keypoints)
    np.testing.assert_array_equal(by_name.scores, by_file.scores)
