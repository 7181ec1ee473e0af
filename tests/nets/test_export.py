"""Exported graphs: parity with PyTorch, geometry, cards, two engines, int8."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
from click.testing import CliRunner
from torch import nn
from torch.nn import functional as F

from rmpe import affine
from rmpe.boxes import Boxes
from rmpe.cli import rmpe
from rmpe.errors import DataError, ModelError, RmpeError, UsageError
from rmpe.estimate.crops import network_input
from rmpe.estimate.heatmaps import decode_dark
from rmpe.estimate.pose_model import PoseModel, load_pose_model
from rmpe.estimate.stn import load_stn
from rmpe.export import (
    InCrop,
    calibration_batches,
    export_checkpoint,
    export_int8,
    export_onnx,
    model_card,
    photo_batches,
    read_about,
)
from rmpe.media.images import save_image
from rmpe.nets.checkpoint import build_net, load_checkpoint, save_checkpoint
from rmpe.nets.decoding import decode_heatmaps
from rmpe.nets.parallel_sppe import SstnSppe
from rmpe.nets.sstn import denormalise_points, invert_theta, normalise_points, transform_points
from rmpe.quantise import dequantise, float_nodes, quantise
from rmpe.runtime import Session

SIZE = (64, 48)
SPPE = {"name": "hourglass", "joints": 17, "stacks": 1, "channels": 16, "depth": 1}
TINY = {"name": "tiny_localisation", "size": list(SIZE), "widths": [8, 8], "height": 32}
CONFIG = {
    "model": {"name": "sstn_sppe", "sppe": SPPE, "localisation": TINY},
    "skeleton": "coco17",
    "size": list(SIZE),
    "name": "test net",
    "license": "Apache-2.0",
    "notes": "random weights",
}


class Blobs(nn.Module):
    """A perfect pose estimator: the channels of the crop are its heatmaps."""

    def forward(self, images):
        return [F.avg_pool2d(images, 4)]


class Fixed(nn.Module):
    """A localisation net whose translation depends on the mean of the first channel."""

    def __init__(self):
        super().__init__()
        self.base = nn.Parameter(torch.tensor([[[0.8, 0.05, 0.1], [-0.04, 0.9, -0.08]]]))

    def forward(self, images):
        return self.base + images[:, :1, :1, :1].view(-1, 1, 1).expand(-1, 2, 3) * 0.1


def blobs(points, size=SIZE, sigma=6.0):
    """One Gaussian per channel at ``points`` (B, 3, 2)."""
    y, x = torch.meshgrid(
        *(torch.arange(side, dtype=torch.float32) for side in size), indexing="ij"
    )
    dx, dy = x - points[..., 0, None, None], y - points[..., 1, None, None]
    return torch.exp(-(dx**2 + dy**2) / (2 * sigma**2))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small joined net with theta far from the identity and non-initial batch norms."""
    torch.manual_seed(0)
    net = build_net(CONFIG["model"])
    nn.init.normal_(net.localisation.last.weight, std=0.5)
    net.train()
    for _ in range(3):
        net(torch.randn(8, 3, *SIZE))
    path = tmp_path_factory.mktemp("checkpoint") / "net.safetensors"
    save_checkpoint(path, net, CONFIG)
    return path


@pytest.fixture(scope="module")
def composed(checkpoint, tmp_path_factory):
    return export_checkpoint(checkpoint, tmp_path_factory.mktemp("composed"))


@pytest.fixture(scope="module")
def in_crop(tmp_path_factory):
    """The paper's graph with a perfect pose estimator."""
    net = SstnSppe(Blobs(), Fixed())
    card = model_card({**CONFIG, "skeleton": "coco17"}, "pose", "keypoints")
    path = tmp_path_factory.mktemp("crop") / "sstn_sppe.onnx"
    return net, export_onnx(
        InCrop(net, extra=True), ["keypoints", "scores", "heatmaps", "theta"], card, path
    )


def crops(batch, seed=0):
    points = 12 + torch.rand(
        batch, 3, 2, generator=torch.Generator().manual_seed(seed)
    ) * torch.tensor([20.0, 32.0])
    return points, blobs(points)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("gaussians", (2, 5, 16, 12)),
        ("noise", (2, 5, 16, 12)),
        ("negative", (1, 3, 8, 6)),
        ("empty", (0, 3, 8, 6)),
    ],
)
def test_decoding_in_the_graph_equals_decoding_outside(kind, shape):
    rng = np.random.default_rng(0)
    heatmaps = rng.normal(size=shape).astype(np.float32)
    if kind == "gaussians":
        points = torch.from_numpy(rng.uniform(-1, 13, (*shape[:2], 2)).astype(np.float32))
        heatmaps = blobs(points, shape[2:], sigma=1.5).numpy()
    if kind == "negative":
        heatmaps = -np.abs(heatmaps)
    cells, scores = decode_dark(heatmaps)
    points, responses = decode_heatmaps(torch.from_numpy(heatmaps), SIZE)
    to_crop = affine.invert(affine.crop_to_heatmap(SIZE, shape[2:], "center"))
    np.testing.assert_allclose(points, affine.apply(to_crop, cells), atol=1e-3)
    np.testing.assert_array_equal(responses, scores)


def test_the_whole_graph_finds_joints_in_the_proposals_crop_whatever_theta(in_crop):
    net, path = in_crop
    points, images = crops(6)
    theta = net.localisation(images)
    assert (theta - torch.eye(2, 3)).abs().max() > 0.1
    found, scores, *_ = Session(path)(images.numpy())
    np.testing.assert_allclose(
        found, points, atol=0.35
    )  # bilinear sampling and pooling shift a summit a little
    assert scores.min() > 0.7


@pytest.mark.parametrize("batch", [1, 5])
def test_the_whole_graph_equals_pytorch(in_crop, batch):
    net, path = in_crop
    _, images = crops(batch, seed=1)
    with torch.no_grad():
        expected = InCrop(net, extra=True)(images)
    for mine, theirs in zip(Session(path)(images.numpy()), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


def test_the_whole_graph_runs_in_openvino(in_crop):
    openvino = pytest.importorskip("openvino")
    net, path = in_crop
    _, images = crops(3, seed=2)
    with torch.no_grad():
        points, scores = InCrop(net)(images)
    model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answer = model(images.numpy())
    np.testing.assert_allclose(answer["keypoints"], points, atol=1e-3)
    np.testing.assert_allclose(answer["scores"], scores, atol=1e-4)


def test_heatmaps_after_the_sdtn_show_the_same_joints(in_crop):
    _, path = in_crop
    points, images = crops(4, seed=3)
    heatmaps = Session(path)(images.numpy())[2]
    found, _ = decode_heatmaps(torch.from_numpy(heatmaps), SIZE)
    np.testing.assert_allclose(found, points, atol=0.6)


@pytest.mark.parametrize("batch", [1, 3])
def test_composed_files_equal_pytorch(checkpoint, composed, batch):
    net, _ = load_checkpoint(checkpoint)
    images = torch.randn(batch, 3, *SIZE, generator=torch.Generator().manual_seed(batch))
    with torch.no_grad():
        expected = {"stn.onnx": net.localisation(images), "sppe.onnx": net.sppe(images)[-1]}
    assert [path.name for path in composed] == list(expected)
    assert (expected["stn.onnx"] - torch.eye(2, 3)).abs().max() > 0.05
    for path in composed:
        np.testing.assert_allclose(Session(path)(images.numpy())[0], expected[path.name], atol=1e-4)


def test_exported_files_carry_their_cards_and_load(composed):
    pose, spatial = load_pose_model(composed[1]), load_stn(composed[0])
    assert (pose.card.name, pose.card.decoder, pose.card.alignment) == (
        "test net",
        "dark",
        "center",
    )
    assert (pose.card.size, pose.card.growth, pose.card.license) == (SIZE, 1.3, "Apache-2.0")
    assert (spatial.card.kind, spatial.card.decoder, spatial.card.size) == ("stn", "theta", SIZE)
    points, scores = pose(np.zeros((3, *SIZE, 3), np.uint8))
    assert points.shape == (3, 17, 2) and scores.shape == (3, 17)


def test_the_composed_map_equals_sampling_the_crop_again(checkpoint, composed):
    """image_to_centred in numpy and stn in PyTorch put the same image point at the same pixel."""
    net, _ = load_checkpoint(checkpoint)
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    boxes = Boxes(np.array([[30, 20, 90, 100]], np.float32))
    spatial, pose = load_stn(composed[0]), load_pose_model(composed[1])
    image_to_centred = spatial.looks([image], [boxes], pose).image_to_crop[0]
    image_to_crop = pose.crop_maps(boxes.xyxy)
    from rmpe.estimate.crops import cut, network_input

    images = torch.from_numpy(network_input(cut(image, image_to_crop, SIZE), pose.card))
    with torch.no_grad():
        gamma = invert_theta(net.localisation(images).double())
    here = np.array([[50.0, 40.0], [70.0, 80.0]])
    in_crop = torch.from_numpy(affine.apply(image_to_crop, here))
    expected = denormalise_points(transform_points(gamma, normalise_points(in_crop, SIZE)), SIZE)
    np.testing.assert_allclose(affine.apply(image_to_centred, here), expected, atol=1e-3)


def test_the_papers_way_loads_as_a_pose_model(checkpoint, tmp_path):
    (path,) = export_checkpoint(checkpoint, tmp_path / "new folder", "crop")
    session = Session(path)
    assert list(session.outputs) == ["keypoints", "scores"]
    assert not any("parallel" in tensor.name for tensor in onnx.load(path).graph.initializer)
    model = load_pose_model(path, flip_test=True)
    assert isinstance(model, PoseModel)
    assert model.card.decoder == "keypoints"
    points, _ = model(np.zeros((2, *SIZE, 3), np.uint8))
    assert points.shape == (2, 17, 2)


@pytest.mark.parametrize("extra", [False, True])
def test_the_flip_test_of_the_whole_graph_finds_the_joints(tmp_path, extra):
    """Theta of a flipped crop differs: predictions can be averaged only in the proposal's crop."""

    class OneBlob(nn.Module):
        def forward(self, images):
            return [F.avg_pool2d(images.mean(dim=1, keepdim=True), 4).expand(-1, 17, -1, -1)]

    outputs = ["keypoints", "scores", *(["heatmaps", "theta"] if extra else [])]
    card = replace(model_card(CONFIG, "pose", "keypoints"), mean=(0.0,) * 3, sd=(255.0,) * 3)
    path = export_onnx(
        InCrop(SstnSppe(OneBlob(), Fixed()), extra), outputs, card, tmp_path / "net.onnx"
    )
    points, _ = crops(4, seed=5)
    points = points[:, :1]
    images = (255 * blobs(points)).byte().permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy()
    model = load_pose_model(path, flip_test=True)
    found, scores = model(images)
    np.testing.assert_allclose(found, points.expand(-1, 17, -1), atol=0.6)
    np.testing.assert_array_equal(model(images[:1])[0], found[:1])
    session = Session(path)
    once, mirrored = (
        session(network_input(np.ascontiguousarray(some), card))
        for some in (images, images[:, :, ::-1])
    )
    if extra:
        heatmaps = (once[2] + mirrored[2][..., ::-1]) / 2
        cells, peaks = decode_dark(heatmaps)
        to_crop = affine.invert(affine.crop_to_heatmap(SIZE, heatmaps.shape[2:], "center"))
        np.testing.assert_allclose(found, affine.apply(to_crop, cells), atol=1e-3)
        np.testing.assert_allclose(scores, peaks.clip(0, 1), atol=1e-5)
    else:
        np.testing.assert_allclose(scores, (once[1] + mirrored[1]) / 2, atol=1e-5)


def test_int8_keeps_the_card_the_answer_and_the_float_parts(composed, tmp_path):
    batches = [
        np.random.default_rng(seed).normal(size=(8, 3, *SIZE)).astype(np.float32)
        for seed in range(3)
    ]
    small = quantise(composed[1], batches, tmp_path / "int8.onnx")
    assert Session(small).metadata == Session(composed[1]).metadata
    float32, int8 = Session(composed[1])(batches[0])[0], Session(small)(batches[0])[0]
    assert np.corrcoef(float32.ravel(), int8.ravel())[0, 1] > 0.98
    assert not np.array_equal(float32, int8)
    stored = {tensor.data_type for tensor in onnx.load(small).graph.initializer if tensor.dims}
    assert onnx.TensorProto.INT8 in stored

    # In float again: the weights of int8, no rounded activations, the card still there.
    (tmp_path / "float.onnx").write_bytes(dequantise(small))
    back = onnx.load(tmp_path / "float.onnx")
    onnx.checker.check_model(back)
    assert "QuantizeLinear" not in {node.op_type for node in back.graph.node}
    assert (tmp_path / "float.onnx").stat().st_size < 1.1 * small.stat().st_size
    again = Session(tmp_path / "float.onnx")
    assert again.metadata == Session(small).metadata
    answer = again(batches[0])[0]
    assert np.corrcoef(answer.ravel(), int8.ravel())[0, 1] > 0.99
    assert np.corrcoef(answer.ravel(), float32.ravel())[0, 1] > 0.98


def test_a_model_that_was_never_quantised_stays_what_it_is(composed, tmp_path):
    (tmp_path / "same.onnx").write_bytes(dequantise(composed[1]))
    batch = np.random.default_rng(0).normal(size=(2, 3, *SIZE)).astype(np.float32)
    for one, other in zip(
        Session(composed[1])(batch), Session(tmp_path / "same.onnx")(batch), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_the_answering_convolution_and_arithmetic_stay_float():
    make = onnx.helper.make_node
    graph = onnx.helper.make_graph(
        [
            make("Conv", ["x", "w"], ["a"], "first"),
            make("Relu", ["a"], ["b"], "relu"),
            make("Add", ["b", "bias"], ["c"], "shift"),
            make("Conv", ["c", "w"], ["d"], "last"),
            make("Add", ["d", "d"], ["e"], "double"),
            make("Flatten", ["b"], ["f"], "flatten"),
            make("Add", ["f", "f"], ["g"], "arithmetic"),
        ],
        "g",
        [],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("e",)],
        [onnx.numpy_helper.from_array(np.zeros(1, np.float32), name) for name in ("w", "bias")],
    )
    assert float_nodes(graph) == ["last", "double", "flatten", "arithmetic"]


def test_averaged_ranges_are_not_those_of_one_outlier(composed, tmp_path):
    calm = np.random.default_rng(0).normal(size=(2, 3, *SIZE)).astype(np.float32)
    batches = [calm, 100 * calm, calm]

    def widest(averaged):
        file = quantise(composed[1], batches, tmp_path / "int8.onnx", averaged=averaged)
        graph = onnx.load(file).graph
        made = {node.input[1] for node in graph.node if node.op_type == "QuantizeLinear"}
        scales = [tensor for tensor in graph.initializer if tensor.name in made]
        return max(float(onnx.numpy_helper.to_array(scale).max()) for scale in scales)

    assert widest(averaged=True) < 0.4 * widest(averaged=False)


def test_quantisation_without_inputs_is_an_error(composed, tmp_path):
    with pytest.raises(ValueError, match="needs inputs"):
        quantise(composed[1], [], tmp_path / "int8.onnx")


class Doubling(nn.Module):
    """Two convolutions with a doubled resolution between them."""

    def __init__(self, mode):
        super().__init__()
        torch.manual_seed(0)
        self.before, self.after = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 4, 3, padding=1)
        self.last, self.mode = nn.Conv2d(4, 2, 1), mode

    def forward(self, images):
        doubled = F.interpolate(self.before(images), scale_factor=2.0, mode=self.mode)
        return self.last(F.relu(self.after(doubled)))


@pytest.mark.parametrize(("mode", "copied"), [("nearest", True), ("bilinear", False)])
def test_rows_and_columns_are_doubled_by_copies_to_the_byte(tmp_path, monkeypatch, mode, copied):
    card = model_card(CONFIG, "pose", "dark")
    file = export_onnx(Doubling(mode), ["heatmaps"], card, tmp_path / "float.onnx")
    batches = [np.random.default_rng(0).normal(size=(4, 3, *SIZE)).astype(np.float32)]
    quick = quantise(file, batches, tmp_path / "quick.onnx")
    monkeypatch.setattr("rmpe.quantise._double_by_copying", lambda _model: None)
    slow = quantise(file, batches, tmp_path / "slow.onnx")

    operators = [{node.op_type for node in onnx.load(one).graph.node} for one in (slow, quick)]
    assert ["Resize" in names for names in operators] == [True, not copied]
    np.testing.assert_array_equal(Session(quick)(batches[0])[0], Session(slow)(batches[0])[0])
    for one in (quick, slow):
        one.with_suffix(".back").write_bytes(dequantise(one))
    back = [Session(one.with_suffix(".back"))(batches[0])[0] for one in (quick, slow)]
    np.testing.assert_array_equal(*back)
    np.testing.assert_allclose(back[0], Session(quick)(batches[0])[0], atol=0.05)


@pytest.fixture
def photos(tmp_path):
    """Two photos with three people, as COCO JSON."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for index in (1, 2):
        save_image(
            tmp_path / "images" / f"{index}.png", rng.integers(0, 255, (60, 80, 3), np.uint8)
        )
    people = [(1, [10, 10, 30, 40]), (2, [5, 5, 20, 30]), (2, [40, 10, 25, 45])]
    data = {
        "images": [
            {"id": index, "file_name": f"{index}.png", "height": 60, "width": 80}
            for index in (1, 2)
        ],
        "annotations": [
            {
                "id": index,
                "image_id": image,
                "bbox": box,
                "keypoints": [0] * 51,
                "num_keypoints": 0,
                "iscrowd": 0,
            }
            for index, (image, box) in enumerate(people)
        ],
    }
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(data))
    return path


def test_calibration_crops_cover_the_data(photos):
    card = model_card(CONFIG, "pose", "dark")
    batches = list(calibration_batches(photos, photos.parent / "images", card, batch=2))
    assert [batch.shape for batch in batches] == [(2, 3, *SIZE), (1, 3, *SIZE)]
    assert all(batch.min() >= -1 and batch.max() <= 1.01 and batch.std() > 0.1 for batch in batches)
    assert (
        sum(
            len(batch)
            for batch in calibration_batches(photos, photos.parent / "images", card, people=2)
        )
        == 2
    )


def test_calibration_with_nobody_is_a_clear_error(tmp_path):
    empty = tmp_path / "empty.json"
    empty.write_text('{"images": [], "annotations": []}')
    with pytest.raises(DataError, match="contains no people"):
        next(calibration_batches(empty, tmp_path, model_card(CONFIG, "pose", "dark")))


def test_photos_without_int8_are_refused(tmp_path):
    checkpoint = tmp_path / "part.safetensors"
    save_checkpoint(checkpoint, build_net(TINY), {**CONFIG, "model": TINY})
    options = ["export", str(checkpoint), "--out", str(tmp_path / "out"), "--images", str(tmp_path)]
    result = CliRunner().invoke(rmpe, options)
    assert result.exit_code != 0 and "of --int8 FILE" in str(result.exception)


def test_command_line_exports_and_quantises_a_localisation_net(photos, tmp_path):
    checkpoint, out = tmp_path / "part.safetensors", tmp_path / "out"
    save_checkpoint(checkpoint, build_net(TINY), {**CONFIG, "model": TINY})
    result = CliRunner().invoke(
        rmpe, ["export", str(checkpoint), "--out", str(out), "--int8", str(photos)]
    )
    assert result.exit_code == 0, result.output
    assert {file.name for file in out.iterdir()} == {"stn.onnx", "stn_int8.onnx"}
    theta = load_stn(out / "stn_int8.onnx").session(np.zeros((2, 3, *SIZE), np.float32))[0]
    np.testing.assert_array_equal(theta, np.broadcast_to(np.eye(2, 3), (2, 2, 3)))


@pytest.mark.parametrize(
    ("net", "first"),
    [
        ({"name": "lite", "joints": 17, "pretrained": False}, 3),
        ({"name": "high_resolution", "joints": 17, "stages": [2, 3], "widths": [8, 8, 8]}, 8),
    ],
)
def test_a_pose_model_keeps_its_ends_in_float(net, first, photos, tmp_path):
    checkpoint = tmp_path / "pose.safetensors"
    save_checkpoint(checkpoint, build_net(net), {**CONFIG, "model": net})
    (file,) = export_checkpoint(checkpoint, tmp_path / "out")
    small = export_int8(file, photos, photos.parent / "images", tmp_path / "small.onnx")
    nodes = onnx.load(small).graph.node
    made = {name: node.op_type for node in nodes for name in node.output}
    convolutions = [made.get(node.input[1]) for node in nodes if node.op_type == "Conv"]
    ends = convolutions[:first] + convolutions[-4:]
    assert set(ends) == {None}  # weights in float, as they are
    assert set(convolutions[first:-4]) == {"DequantizeLinear"}


def test_a_detector_is_quantised_with_whole_photos(photos, tmp_path):
    detector = {"name": "person_detector", "width": 8}
    checkpoint, out = tmp_path / "detector.safetensors", tmp_path / "out"
    save_checkpoint(checkpoint, build_net(detector), {"model": detector, "size": [64, 64]})
    result = CliRunner().invoke(
        rmpe, ["export", str(checkpoint), "--out", str(out), "--int8", str(photos)]
    )
    assert result.exit_code == 0, result.output
    files = [out / "detector.onnx", out / "detector_int8.onnx"]
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32)
    (boxes, scores), (boxes8, scores8) = (Session(file)(image)[:2] for file in files)
    assert boxes8.shape == boxes.shape and scores8.shape == scores.shape
    np.testing.assert_allclose(scores8, scores, atol=0.1)
    batches = list(
        photo_batches(
            photos, photos.parent / "images", model_card(CONFIG, "detector", "boxes"), batch=2
        )
    )
    assert all(batch.shape[1:] == (3, *SIZE) for batch in batches)


def test_calibration_without_photos_is_a_clear_error(tmp_path):
    empty = tmp_path / "empty.json"
    empty.write_text('{"images": [], "annotations": []}')
    with pytest.raises(DataError, match="contains no photos"):
        next(photo_batches(empty, tmp_path, model_card(CONFIG, "detector", "boxes")))


def test_wrong_requests_are_clear_errors(checkpoint, tmp_path):
    with pytest.raises(UsageError, match="unknown way 'both'"):
        export_checkpoint(checkpoint, tmp_path, "both")
    with pytest.raises(UsageError, match="choose the way 'crop'"):
        export_checkpoint(checkpoint, tmp_path, extra=True)
    alone = tmp_path / "alone.safetensors"
    save_checkpoint(alone, build_net(SPPE), {**CONFIG, "model": SPPE})
    with pytest.raises(UsageError, match="no STN and SPPE to export"):
        export_checkpoint(alone, tmp_path, "crop")
    save_checkpoint(alone, build_net(SPPE), {"model": SPPE, "size": list(SIZE)})
    with pytest.raises(ModelError, match="has no 'skeleton'"):
        export_checkpoint(alone, tmp_path)
    with pytest.raises(UsageError, match="cannot create the folder"):
        export_checkpoint(checkpoint, checkpoint / "below a file")


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("nowhere", "nowhere: no such folder: name that of the photos with --images"),
        ("empty", "empty: has none of the 2 photos of"),
        ("others", "others: has none of the 2 photos of"),
        ("images", "contains no people to calibrate with whose photos are in"),
        ("broken", "2.png"),
    ],
)
def test_photos_that_int8_cannot_use_leave_nothing(photos, tmp_path, monkeypatch, folder, words):
    for name in ("empty", "others", "broken"):
        (tmp_path / name).mkdir()
    save_image(tmp_path / "others" / "3.png", np.zeros((60, 80, 3), np.uint8))
    (tmp_path / "broken" / "2.png").write_text("hello")
    if folder == "images":
        data = json.loads(photos.read_text()) | {"annotations": []}
        photos.write_text(json.dumps(data))
    checkpoint, out = tmp_path / "part.safetensors", tmp_path / "out"
    save_checkpoint(checkpoint, build_net(TINY), {**CONFIG, "model": TINY})
    if folder in ("nowhere", "empty", "others"):  # the net is not exported at all
        monkeypatch.setattr("rmpe.export.export_checkpoint", None)
    line = ["export", str(checkpoint), "--out", str(out), "--int8", str(photos)]
    result = CliRunner().invoke(rmpe, [*line, "--images", str(tmp_path / folder)])
    assert result.exit_code != 0
    assert isinstance(result.exception, RmpeError)
    assert words in str(result.exception)
    assert str(tmp_path / folder) in str(result.exception)
    assert not out.exists()


def test_what_the_card_says_in_words_can_be_given(tmp_path):
    checkpoint, out, words = (
        tmp_path / "part.safetensors",
        tmp_path / "out",
        tmp_path / "about.toml",
    )
    save_checkpoint(checkpoint, build_net(TINY), {**CONFIG, "model": TINY, "license": "MIT"})
    words.write_text('name = "mine"\nnotes = "line 1\\nline 2"\n')
    result = CliRunner().invoke(
        rmpe, ["export", str(checkpoint), "--out", str(out), "--card", str(words)]
    )
    assert result.exit_code == 0, result.output
    card = load_stn(out / "stn.onnx").card
    assert (card.name, card.notes, card.license) == ("mine", "line 1\nline 2", "MIT")


@pytest.mark.parametrize("text", ["name = 3", 'growth = "2"', "name = "])
def test_wrong_words_for_the_card(tmp_path, text):
    words = tmp_path / "about.toml"
    words.write_text(text)
    with pytest.raises(DataError, match=r"about\.toml"):
        read_about(words)
