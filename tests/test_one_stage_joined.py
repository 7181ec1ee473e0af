"""A one-stage model on real photos: the shipped detector and pose model joined in one graph.

The graph detects, suppresses, cuts, estimates and decodes; its answers, as RTMO's are laid out,
must give what the two models give one after the other.
"""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("hotcoco")
from onnx import TensorProto, compose, helper, numpy_helper
from tiny_models import float_models

import rmpe
from rmpe.cards import find_card
from rmpe.detect.letterbox import letterbox
from rmpe.evaluation.files.submissions import check_people, check_results
from rmpe.evaluation.protocols.coco import evaluate_coco
from rmpe.files import read_json
from rmpe.runtime import Session

SIDE = 384
HEIGHT, WIDTH = 256, 192
ROWS, COLUMNS = 64, 48
MOST = 100
PHOTOS = 40
CARD = """kind = "one-stage"
name = "detector-person and pose-lite in one graph"
decoder = "rtmo"
score_threshold = {threshold}
"""


class Graph:
    """Nodes that are written down as they are used."""

    def __init__(self):
        self.nodes = []
        self.initializers = []
        self._names = (f"t{number}" for number in count())

    def __call__(self, operator, *inputs, **attributes):
        inputs = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        output = next(self._names)
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, value):
        value = np.asarray(value)
        if value.dtype == np.float64:
            value = value.astype(np.float32)
        name = next(self._names)
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def model(self, path, prefix, blob, output):
        """The nodes of another model, fed with ``blob``."""
        inner = compose.add_prefix(onnx.load(path), prefix).graph
        self.nodes.append(helper.make_node("Identity", [blob], [inner.input[0].name]))
        self.nodes += inner.node
        self.initializers += inner.initializer
        return [prefix + name for name in output]


def joined(path, files):
    """Write the joined graph of a detector and a pose model."""
    detector = find_card(Session(files["detector-person"], "cpu"))
    pose = find_card(Session(files["pose-lite"], "cpu"))
    g = Graph()
    blob = g("Div", g("Sub", "input", np.float32(detector.mean[0])), np.float32(detector.sd[0]))
    boxes, scores = g.model(files["detector-person"], "d_", blob, ["boxes", "scores"])
    boxes = g("Clip", boxes, np.float32(0), np.float32(SIDE))
    chosen = g(
        "NonMaxSuppression", boxes, g("Unsqueeze", scores, [1]), np.array([MOST]),
        np.array([detector.nms], np.float32), np.array([detector.score_threshold], np.float32),
    )  # fmt: skip
    index = g("Squeeze", g("Slice", chosen, [2], [3], [1]), [1])
    # A last box that nobody is in: no engine likes a batch of none.
    box = g("Gather", g("Squeeze", boxes, [0]), index)
    box = g("Concat", box, np.array([[0.0, 0.0, SIDE, SIDE]]), axis=0)
    score = g("Concat", g("Gather", g("Squeeze", scores, [0]), index), np.array([0.0]), axis=0)

    low, high = g("Slice", box, [0], [2], [1]), g("Slice", box, [2], [4], [1])
    center = g("Mul", g("Add", low, high), 0.5)
    scale = g("Div", g("Mul", g("Sub", high, low), pose.growth), np.array([WIDTH, HEIGHT]) * 1.0)
    scale = g("ReduceMax", scale, [1], keepdims=1)  # image pixels a crop pixel (N, 1)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    offsets = np.stack([x + 0.5 - WIDTH / 2, y + 0.5 - HEIGHT / 2], axis=-1)[None]
    edges = g(
        "Add", g("Unsqueeze", center, [1, 2]), g("Mul", g("Unsqueeze", scale, [1, 2]), offsets)
    )
    grid = g("Sub", g("Mul", edges, 2 / SIDE), 1.0)
    people = g("Concat", g("Shape", score), np.array([3, SIDE, SIDE]), axis=0)
    crops = g(
        "GridSample", g("Expand", "input", people), grid,
        mode="linear", padding_mode="zeros", align_corners=0,
    )  # fmt: skip
    blob = g("Div", g("Sub", crops, np.float32(pose.mean[0])), np.float32(pose.sd[0]))
    (maps,) = g.model(files["pose-lite"], "p_", blob, ["heatmaps"])

    flat = g("Reshape", maps, np.array([0, 17, ROWS * COLUMNS]))
    peak = g("ArgMax", flat, axis=2, keepdims=1)
    best = g("Squeeze", g("GatherElements", flat, peak, axis=2), [2])
    column, row = g("Mod", peak, np.array(COLUMNS)), g("Div", peak, np.array(COLUMNS))

    def beside(step):
        place = g("Clip", g("Add", peak, np.array(step)), np.array(0), np.array(ROWS * COLUMNS - 1))
        return g("GatherElements", flat, place, axis=2)

    inside = None
    for cell, side in ((column, COLUMNS), (row, ROWS)):
        between = g("And", g("Greater", cell, np.array(1)), g("Less", cell, np.array(side - 1)))
        inside = between if inside is None else g("And", inside, between)
    inside = g("Cast", inside, to=TensorProto.FLOAT)
    cells = []
    for cell, step in ((column, 1), (row, COLUMNS)):
        shift = g("Mul", g("Sign", g("Sub", beside(step), beside(-step))), 0.25)
        cells.append(g("Add", g("Cast", cell, to=TensorProto.FLOAT), g("Mul", shift, inside)))
    stride = WIDTH / COLUMNS
    crop = g("Mul", g("Add", g("Concat", *cells, axis=2), 0.5), stride)  # in edges of crop pixels
    offset = g("Sub", crop, np.array([WIDTH / 2, HEIGHT / 2]))
    place = g("Add", g("Unsqueeze", center, [1]), g("Mul", g("Unsqueeze", scale, [1]), offset))
    joints = g("Concat", g("Sub", place, 0.5), g("Unsqueeze", best, [2]), axis=2)
    dets = g("Concat", box, g("Unsqueeze", score, [1]), axis=1)
    for name, value in (("dets", dets), ("keypoints", joints)):
        axes = g.constant(np.array([0]))
        g.nodes.append(helper.make_node("Unsqueeze", [value, axes], [name]))
    shapes = {"dets": [1, "people", 5], "keypoints": [1, "people", 17, 3]}
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        g.nodes,
        "joined",
        [helper.make_tensor_value_info("input", floats, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, floats, shape) for name, shape in shapes.items()],
        g.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path)
    card = CARD.format(threshold=detector.score_threshold)
    path.with_suffix(".toml").write_text(card)
    argmax = path.with_name("argmax.toml")
    argmax.write_text(replace(pose, decoder="argmax").to_toml())
    return path, argmax


def average_precision(found, people):
    results, _ = check_results(found, people, "keypoints")
    return evaluate_coco(people, results).figures["AP"]


@pytest.mark.slow
def test_one_graph_finds_what_two_models_find(tmp_path, data_root):
    """On photos letterboxed beforehand, so that both look at the same pixels."""
    # In float: rounding makes much of a small difference in a crop.
    files = float_models(tmp_path)
    path, argmax = joined(tmp_path / "joined.onnx", files)
    one = rmpe.load(pose=path, device="cpu", min_score=0.0)
    two = rmpe.load(
        files["detector-person"],
        files["pose-lite"],
        stn="none",
        card=argmax,
        device="cpu",
        min_score=0.0,
    )
    two.detector.card = replace(two.detector.card, voters=0)  # the graph takes no vote
    annotations = read_json(data_root / "data/coco-val/annotations.json")
    images = annotations["images"][:PHOTOS]
    chosen = {image["id"] for image in images}
    scales, answers = {}, {"one": [], "two": []}
    counts, moved = [], []
    for image in images:
        photo = rmpe.read_image(data_root / "data/coco-val/images" / image["file_name"])
        canvas, scales[image["id"]] = letterbox(photo, (SIDE, SIDE))
        found = {"one": one(canvas), "two": two(canvas)}
        for name, poses in found.items():
            answers[name] += poses.to_coco(image["id"])
        likely = {name: poses[poses.scores > 0.3] for name, poses in found.items()}
        counts.append([len(poses) for poses in likely.values()])
        if len(likely["one"]) == len(likely["two"]):
            clear = likely["two"].keypoint_scores > 0.3
            moved.append(np.abs(likely["one"].keypoints - likely["two"].keypoints)[clear].ravel())
    truth = []
    for annotation in annotations["annotations"]:
        if annotation["image_id"] in chosen:
            scale = scales[annotation["image_id"]]
            points = np.array(annotation["keypoints"], float).reshape(-1, 3) * [scale, scale, 1]
            truth.append(
                annotation
                | {"keypoints": points.ravel().tolist(), "area": annotation["area"] * scale**2}
                | {"bbox": [side * scale for side in annotation["bbox"]]}
            )
    people = check_people(
        {"images": images, "annotations": truth, "categories": annotations["categories"]}
    )
    figures = {name: average_precision(found, people) for name, found in answers.items()}
    assert np.median(np.concatenate(moved)) < 0.05
    assert len(moved) > 0.9 * PHOTOS
    assert figures["two"] > 0.2
    assert figures["one"] == pytest.approx(figures["two"], abs=0.005)
