"""Tiny ONNX models with known outputs, to test the whole pipeline without published models."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rmpe.models import shipped_models
from rmpe.quantise import dequantise

# Spots of a person, and the box around them as `yolox_model` answers it.
JOINTS = [(30.0, 22.0), (34.0, 40.0), (26.0, 50.0)]
PEOPLE = [(30, 36, 24, 48, 0.9, 0.9)]

RGB3 = """name = "rgb3"
joints = ["left_red", "right_green", "blue"]
limbs = [["left_red", "blue"], ["right_green", "blue"]]
sigmas = [0.1, 0.1, 0.1]
"""
CARD = """kind = "pose"
name = "colour spots"
decoder = "{decoder}"
skeleton = "{skeleton}"
sd = [255, 255, 255]
growth = 1.3
alignment = "center"
"""


def float_models(folder):
    """The models that ship with activations in float, by name; written into ``folder``."""
    files = {name: folder / file.name for name, file in shipped_models().items()}
    for name, file in shipped_models().items():
        files[name].write_bytes(dequantise(file))
    return files


def save(path, nodes, inputs, outputs, initializers=(), metadata=None):
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in inputs.items()
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in outputs.items()
        ],
        [numpy_helper.from_array(array, name) for name, array in initializers],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return Path(path)


def spot_pose_model(
    folder, decoder="dark", joints=3, broken=False, with_card=True, name="spots.onnx"
):
    """A heatmap model of stride 4 with three joints: joint n is where channel n is brightest."""
    skeleton = Path(folder) / "rgb3.toml"
    skeleton.write_text(RGB3)
    nodes = [
        helper.make_node("AveragePool", ["image"], [pool], kernel_shape=side, strides=side)
        for pool, side in (("pooled", [4, 4]), ("coarse", [8, 8]))  # the second only as a hint
    ]
    initializers = []
    if broken:
        initializers.append(("nan", np.array(np.nan, np.float32)))
        nodes.append(helper.make_node("Add", ["pooled", "nan"], ["heatmap"]))
    else:
        nodes.append(helper.make_node("Identity", ["pooled"], ["heatmap"]))
    path = save(
        Path(folder) / name,
        nodes,
        {"image": ["n", 3, 64, 48]},
        {"heatmap": ["n", joints, 16, 12]},
        initializers,
    )
    if with_card:
        path.with_suffix(".toml").write_text(
            CARD.format(decoder=decoder, skeleton=skeleton.as_posix())
        )
    return path


def spots(size, centers, sigma):
    """An image with a red, a green and a blue spot at the given points (x, y)."""
    y, x = np.mgrid[: size[0], : size[1]]
    channels = [np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2)) for cx, cy in centers]
    return (np.stack(channels, axis=-1) * 250).astype(np.uint8)


def yolox_model(folder, people, size=(64, 64), decoded=False, classes=2, name="yolox.onnx"):
    """A YOLOX export that finds the same people in every image.

    Args:
        people: Rows (cx, cy, w, h, objectness, person score) in input pixels.
    """
    cells = [
        (x, y, stride)
        for stride in (8, 16, 32)
        for y in range(size[0] // stride)
        for x in range(size[1] // stride)
    ]
    rows = np.zeros((len(cells), 5 + classes), np.float32)
    for index, (x, y, stride) in enumerate(cells):
        rows[index, :4] = (x * stride, y * stride, stride, stride) if decoded else (0, 0, 0, 0)
    for cx, cy, w, h, objectness, score in people:
        index = next(
            i
            for i, (x, y, s) in enumerate(cells)
            if s == 8 and x == int(cx // 8) and y == int(cy // 8)
        )
        x, y, stride = cells[index]
        box = (
            (cx, cy, w, h)
            if decoded
            else (cx / stride - x, cy / stride - y, np.log(w / stride), np.log(h / stride))
        )
        rows[index] = (*box, objectness, score, *[0.01] * (classes - 1))
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["rows", "nothing"], ["output"]),
    ]
    return save(
        Path(folder) / name,
        nodes,
        {"images": [1, 3, *size]},
        {"output": [1, len(cells), 5 + classes]},
        [("zero", np.array(0, np.float32)), ("rows", rows[None])],
    )


def simcc_model(folder, joints=17, size=(64, 48), split=2, name="rtm.onnx"):
    """A SimCC export: all joints are at the brightest column and row of the red channel."""
    width, height = size[1] * split, size[0] * split
    nodes = [
        helper.make_node("Slice", ["image", "start", "end", "axis"], ["red"]),
        helper.make_node("ReduceMax", ["red"], ["columns"], axes=[1, 2], keepdims=0),
        helper.make_node("ReduceMax", ["red"], ["rows"], axes=[1, 3], keepdims=0),
    ]
    for axis in ("columns", "rows"):
        nodes += [
            helper.make_node("Unsqueeze", [axis, "ones"], [f"{axis}_1"]),
            helper.make_node(
                "Resize",
                [f"{axis}_1", "", f"{axis}_scale"],
                [f"{axis}_2"],
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            ),
            helper.make_node(
                "Expand",
                [f"{axis}_2", f"{axis}_shape"],
                ["simcc_x" if axis == "columns" else "simcc_y"],
            ),
        ]
    one = np.array([1], np.int64)
    return save(
        Path(folder) / name,
        nodes,
        {"image": ["n", 3, *size]},
        {"simcc_x": ["n", joints, width], "simcc_y": ["n", joints, height]},
        [
            ("start", np.array([0], np.int64)),
            ("end", one),
            ("axis", one),
            ("ones", one),
            ("columns_scale", np.array([1, 1, split], np.float32)),
            ("rows_scale", np.array([1, 1, split], np.float32)),
            ("columns_shape", np.array([1, joints, width], np.int64)),
            ("rows_shape", np.array([1, joints, height], np.int64)),
        ],
    )


def constant_model(folder, name, inputs, answer, output_shape):
    """A model with the same output for every item of a batch."""
    nodes = [
        helper.make_node("ReduceMean", [next(iter(inputs))], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Reshape", ["nothing", "column"], ["each"]),
        helper.make_node("Add", ["each", "answer"], ["output"]),
    ]
    return save(
        Path(folder) / name,
        nodes,
        inputs,
        {"output": output_shape},
        [
            ("zero", np.array(0, np.float32)),
            ("column", np.array([-1] + [1] * answer.ndim, np.int64)),
            ("answer", answer[None]),
        ],
    )


@pytest.fixture
def models(tmp_path):
    """Flags of a command that finds the one person of three spots."""
    folder = tmp_path / "models"
    folder.mkdir()
    return ["--detector", str(yolox_model(folder, PEOPLE)), "--pose", str(spot_pose_model(folder))]
