"""The steps of the page in the browser against those of the package, one by one, in Node."""

import json
import shutil
import subprocess
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import cv2
import numpy as np
import pytest
from conftest import ROOT

from rmpe.affine import boxes_to_crops, crop_to_heatmap
from rmpe.boxes import Boxes
from rmpe.cards import ModelCard
from rmpe.detect import outputs
from rmpe.detect.letterbox import covered, letterbox
from rmpe.detect.outputs import least_score
from rmpe.estimate.candidates import Candidates, fuse
from rmpe.estimate.crops import cut
from rmpe.estimate.heatmaps import decode_dark
from rmpe.estimate.stn import Stn
from rmpe.poses import Poses
from rmpe.propose.regions import grow_proposals, propose
from rmpe.skeletons import load_skeleton
from rmpe.suppress.parametric import DEFAULT, parametric_nms, pose_similarity

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="no Node, which runs the page's JavaScript")
DEMO = ROOT / "website" / "demo"
MEAN = [127.0, 127.0, 127.0]
SD = [128.0, 128.0, 128.0]


def in_node(code, **given):
    """What ``code`` returns; ``given`` are its variables."""
    program = (
        f"import * as pixels from '{DEMO}/pixels.js'; import * as boxes from '{DEMO}/boxes.js';"
        f"import * as heatmaps from '{DEMO}/heatmaps.js';"
        f"import * as suppress from '{DEMO}/suppress.js';"
        f"import * as transformer from '{DEMO}/transformer.js';"
        f"import * as downloads from '{DEMO}/downloads.js';"
        "import { readFileSync } from 'node:fs';"
        "const given = JSON.parse(readFileSync(0));"
        f"const work = ({{ {', '.join(given)} }}) => {{ {code} }};"
        "process.stdout.write(JSON.stringify(work(given)));"
    )
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", program],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def photo(height, width, seed=0):
    """A soft picture of chance, and what a canvas makes of it."""
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (height, width, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 2)
    alpha = np.full((height, width, 1), 255, np.uint8)
    data = np.concatenate([image, alpha], axis=2).ravel().tolist()
    return image, {"data": data, "width": width, "height": height}


@pytest.mark.parametrize("value", [-1.5, 0.5, 1.5, 2.5, 2.4999, 2.5001, 7.0])
def test_halves_are_rounded_as_in_python(value):
    assert in_node("return pixels.roundEven(value);", value=value) == round(value)


@pytest.mark.parametrize("size", [(1, 1), (90, 60), (37, 120), (200, 333), (31, 31)])
def test_letterbox(size):
    image, picture = photo(*size)
    canvas, scale = letterbox(image, (96, 80))
    answer = in_node(
        "const { input, scale } = pixels.letterbox(picture, [96, 80], mean, sd);"
        "return { input: [...input], scale };",
        picture=picture,
        mean=MEAN,
        sd=SD,
    )
    assert answer["scale"] == pytest.approx(scale)
    values = np.array(answer["input"]).reshape(3, 96, 80).transpose(1, 2, 0) * 128 + 127
    away = np.abs(values - canvas)
    assert away.max() <= 1e-3


@pytest.mark.parametrize("size", [(1, 1), (480, 640), (427, 640), (1080, 1920), (31, 700)])
def test_the_part_of_the_input_that_a_picture_covers(size):
    picture = {"height": size[0], "width": size[1]}
    code = "return [32, 0].map((stride) => pixels.covered(picture, [416, 320], stride));"
    assert in_node(code, picture=picture) == [[*covered(size, (416, 320), 32)], [416, 320]]


@pytest.mark.parametrize("alignment", ["corner", "udp", "center"])
@pytest.mark.parametrize(
    "box", [[10, 12, 40, 60], [-20, -5, 30, 20], [50, 70, 95, 130], [3.3, 4.4, 9.9, 8.8]]
)
def test_crops(box, alignment):
    image, picture = photo(100, 80)
    card = {"size": [64, 48], "growth": 1.3, "alignment": alignment}
    maps = boxes_to_crops(grow_proposals(np.array([box], np.float32), 1.3), (64, 48), alignment)
    answer = in_node(
        "const map = boxes.cropMap(box, card);"
        "return { map, crop: [...pixels.cut(picture, map, card.size, mean, sd)] };",
        picture=picture,
        box=box,
        card=card,
        mean=MEAN,
        sd=SD,
    )
    assert answer["map"] == pytest.approx(maps[0].ravel(), rel=1e-4, abs=1e-3)
    values = np.array(answer["crop"]).reshape(3, 64, 48).transpose(1, 2, 0) * 128 + 127
    # OpenCV places pixels at 32nds.
    assert np.abs(values - cut(image, maps, (64, 48))[0]).mean() < 1
    for axis, pixels in ((0, 48), (1, 64)):
        cell = in_node(
            "return boxes.cellToCrop(3.25, cells, pixels, alignment);",
            cells=pixels // 4,
            pixels=pixels,
            alignment=alignment,
        )
        scale = crop_to_heatmap((64, 48), (16, 12), alignment)
        assert cell == pytest.approx((3.25 - scale[axis, 2]) / scale[axis, axis])


@pytest.mark.parametrize("voters", [0, 3])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_people(count, voters):
    random = np.random.default_rng(count)
    corners = random.uniform(-10, 90, (count, 2))
    corners = np.concatenate([corners, corners + random.uniform(0, 60, (count, 2))], axis=1)
    corners[1::2] = corners[: count // 2 * 2 : 2] + random.uniform(-2, 2, (count // 2, 4))
    scores = random.uniform(0, 1, count).astype(np.float32)
    card = ModelCard("detector", "made", "boxes", score_threshold=0.1, voters=voters)
    counting = np.argsort(-scores, kind="stable")
    counting = counting[scores[counting] >= least_score(card)]
    boxes = Boxes(corners[counting] / 0.8, scores[counting]).clip((100, 80))
    expected = propose(outputs.people(boxes, card), (100, 80), 10)
    found = in_node(
        "return boxes.people(corners, scores, 0.8, { width: 80, height: 100 }, card, 10);",
        corners=corners.ravel().tolist(),
        scores=scores.tolist(),
        card={"score_threshold": card.score_threshold, "nms": card.nms, "voters": voters},
    )
    np.testing.assert_allclose(
        np.array([one["box"] for one in found]).reshape(-1, 4), expected.xyxy, rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize("blur", [0, 3, 11])
def test_dark(blur):
    random = np.random.default_rng(blur)
    y, x = np.mgrid[:16, :12]
    middles = random.uniform(-1, 16, (30, 2))
    maps = np.exp(-((x - middles[:, :1, None]) ** 2 + (y - middles[:, 1:, None]) ** 2) / 8)
    maps += random.uniform(0, 0.02, maps.shape)
    maps[0] = 0
    maps[1] = -1
    maps = maps.astype(np.float32)
    points, scores = decode_dark(maps[None], blur)
    found = in_node(
        "return heatmaps.decodeDark(new Float32Array(maps), 30, [16, 12], blur);",
        maps=maps.ravel().tolist(),
        blur=blur,
    )
    got = np.array([[one["x"], one["y"], one["score"]] for one in found])
    np.testing.assert_allclose(got[:, :2], points[0], atol=1e-3)
    np.testing.assert_allclose(got[:, 2], scores[0], atol=1e-6)


def crowd(count, seed):
    """Poses of which many are near copies of others."""
    random = np.random.default_rng(seed)
    origins = random.uniform(0, 300, (max(count // 3, 1), 17, 2))
    points = origins[random.integers(0, len(origins), count)]
    points = points + random.normal(0, 6, points.shape)
    scores = random.uniform(0, 1, (count, 17)).astype(np.float32)
    scores[random.uniform(size=scores.shape) < 0.1] = 0
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    total = random.uniform(0, 1, count).astype(np.float32)
    return Poses(points, scores, total, boxes, load_skeleton("coco17"))


def as_js(poses):
    return [
        {
            "box": box.tolist(),
            "score": float(score),
            "joints": [
                {"x": float(x), "y": float(y), "score": float(sure)}
                for (x, y), sure in zip(points, scores, strict=True)
            ],
        }
        for box, score, points, scores in zip(
            poses.boxes, poses.scores, poses.keypoints, poses.keypoint_scores, strict=True
        )
    ]


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (1, 1), (12, 2), (40, 3), (40, 4)])
def test_pose_nms(count, seed):
    poses = crowd(count, seed)
    expected = parametric_nms(poses)
    parameters = {name: getattr(DEFAULT, name) for name in ("sigma1", "sigma2", "lam", "eta")}
    parameters["merge"] = DEFAULT.merge
    found = in_node(
        "return suppress.poseNms(poses, parameters);", poses=as_js(poses), parameters=parameters
    )
    assert len(found) == len(expected)
    assert count < 12 or len(found) < count
    for pose, points, scores in zip(
        found, expected.keypoints, expected.keypoint_scores, strict=True
    ):
        got = np.array([[joint["x"], joint["y"]] for joint in pose["joints"]])
        np.testing.assert_allclose(got[scores > 0], points[scores > 0], atol=1e-2)
    if count > 1:
        first = in_node(
            "return suppress.similarity(poses[0], poses[1], parameters);",
            poses=as_js(poses[:2]),
            parameters=parameters,
        )
        assert first == pytest.approx(float(pose_similarity(poses[:1], poses[1:2])[0, 0]), abs=1e-4)


THETAS = [
    [1, 0, 0, 0, 1, 0],
    [0.99, 0, 0.01, 0, 0.98, 0],  # hardly moved: kept
    [0.6, 0, 0.3, 0, 0.7, -0.2],
    [0.8, 0.2, 0, -0.2, 0.9, 0.4],
    [0, 0, 0, 0, 0, 0],  # cannot be inverted
    [200, 0, 0, 0, 1, 0],  # looks far beyond the crop
]


class Answering:
    """A session of a transformer that always answers one theta."""

    path = Path("made.onnx")
    inputs = MappingProxyType({"images": (None, 3, 128, 96)})
    input_type = np.float32

    def __init__(self, theta):
        self.theta = np.array(theta, np.float32)

    def __call__(self, batch):
        return [np.tile(self.theta, (len(batch), 1)).reshape(-1, 2, 3)]


@pytest.mark.parametrize("theta", THETAS)
@pytest.mark.parametrize("alignment", ["corner", "center"])
@pytest.mark.parametrize("second_look", [False, True])
def test_transformer(theta, alignment, second_look):
    image, _ = photo(100, 80)
    common = {"mean": (127.0,) * 3, "sd": (128.0,) * 3, "growth": 1.3}
    own = {"keep_overlap": 0.9, "second_look": second_look}
    card = ModelCard("stn", "made", "theta", size=(128, 96), alignment="center", **own, **common)
    pose = ModelCard("pose", "made", "dark", size=(256, 192), alignment=alignment, **common)
    box = [10.0, 12.0, 40.0, 70.0]

    def crop_maps(boxes):
        return boxes_to_crops(grow_proposals(boxes, pose.growth), pose.size, pose.alignment)

    model = SimpleNamespace(card=pose, size=pose.size, crop_maps=crop_maps)
    looks = Stn(Answering(theta), card).looks([image], [Boxes([box])], model)
    fields = ("size", "growth", "alignment", "keep_overlap", "second_look")
    cards = [{name: getattr(one, name) for name in fields} for one in (card, pose)]
    found = in_node(
        "return transformer.placedMaps(box, transformer.usable(theta), stn, pose);",
        box=box,
        theta=theta,
        stn=cards[0],
        pose=cards[1],
    )
    expected = looks.image_to_crop[0].reshape(-1, 6)
    assert len(found) == len(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_two_looks_at_a_person():
    rng = np.random.default_rng(0)
    skeleton = load_skeleton("coco17")
    joints = len(skeleton)
    points = rng.uniform(0, 60, (1, joints, 2)) + rng.normal(0, 4, (2, joints, 2))
    scores = rng.uniform(0, 1, (2, joints)).astype(np.float32)
    scores[:, 0] = 0
    box = np.array([[10, 12, 40, 70]], np.float32)
    fused = fuse(
        Candidates.only(points, scores), np.zeros(2, np.int64), skeleton.spread(Boxes(box).areas)
    )
    looks = [
        [{"x": x, "y": y, "score": score} for (x, y), score in zip(*one, strict=True)]
        for one in zip(points.tolist(), scores.tolist(), strict=True)
    ]
    found = in_node(
        "return transformer.fuse(looks[0], looks[1], box, sigmas);",
        looks=looks,
        box=box[0].tolist(),
        sigmas=skeleton.sigmas,
    )
    got = np.array([[joint["x"], joint["y"], joint["score"]] for joint in found])
    np.testing.assert_allclose(got[:, :2], fused.points[0, :, 0], atol=1e-4)
    np.testing.assert_allclose(got[:, 2], fused.scores[0, :, 0], atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 4, 11])
def test_bytes_that_lay_apart_are_together_again(count):
    contents = bytes(range(count))
    whole = count // 4 * 4
    apart = b"".join(contents[plane:whole:4] for plane in range(4)) + contents[whole:]
    code = "return [...downloads.together(new Uint8Array(apart))];"
    assert bytes(in_node(code, apart=list(apart))) == contents
