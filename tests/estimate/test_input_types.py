"""ONNX models get the number type and the order of axes that they ask for."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_models import RGB3, constant_model, spot_pose_model, spots, yolox_model

import rmpe
from rmpe.boxes import Boxes
from rmpe.errors import ModelError
from rmpe.runtime import LARGEST_INPUT, Session

JOINTS = [(25, 20), (40, 30), (32, 45)]
PHOTO = spots((64, 64), JOINTS, 3)
PEOPLE = [(32, 32, 30, 40, 1, 0.9)]
CARD = """kind = "pose"
name = "spots"
decoder = "dark"
skeleton = "{skeleton}"
growth = 1.3
alignment = "center"
"""


def found(image, name=""):
    return Boxes([[8, 4, 56, 60]])


def with_input(path, kind, layout="nchw", scale=1.0):
    """The same model behind an input of another type and layout; ``scale`` is applied inside."""
    model = onnx.load(path)
    graph = model.graph
    (given,) = graph.input
    name = given.name
    shape = [side.dim_param or side.dim_value for side in given.type.tensor_type.shape.dim]
    order = [0, 2, 3, 1] if layout == "nhwc" else [0, 1, 2, 3]
    back = [0, 3, 1, 2] if layout == "nhwc" else [0, 1, 2, 3]
    nodes = [
        helper.make_node("Cast", ["given"], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["as_float"], ["turned"], perm=back),
        helper.make_node("Mul", ["turned", "input_scale"], [name]),
    ]
    graph.initializer.append(numpy_helper.from_array(np.array(scale, np.float32), "input_scale"))
    del graph.input[:]
    graph.input.append(
        helper.make_tensor_value_info("given", kind, [shape[axis] for axis in order])
    )
    every = [*nodes, *graph.node]
    del graph.node[:]
    graph.node.extend(every)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    "kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8]
)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_pose_model_of_any_input(tmp_path, kind, layout):
    want = rmpe.load(found, spot_pose_model(tmp_path, name="plain.onnx"))(PHOTO)
    path = spot_pose_model(tmp_path)
    card = CARD.format(skeleton=(tmp_path / "rgb3.toml").as_posix())
    as_pixels = kind == TensorProto.UINT8
    with_input(path, kind, layout, 1 / 255 if as_pixels else 1.0)
    path.with_suffix(".toml").write_text(
        card + f'layout = "{layout}"\n' + ("" if as_pixels else "sd = [255, 255, 255]\n")
    )
    for flip in (False, True):
        got = rmpe.load(found, path, flip_test=flip, batch=3)(PHOTO)
        if not flip:
            np.testing.assert_allclose(got.keypoints, want.keypoints, atol=0.05)
            np.testing.assert_allclose(got.scores, want.scores, atol=0.01)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.UINT8])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_detector_of_any_input(tmp_path, kind, layout):
    path = with_input(yolox_model(tmp_path, PEOPLE), kind, layout)
    path.with_suffix(".toml").write_text(
        f'kind = "detector"\nname = "tiny"\ndecoder = "yolox"\nlayout = "{layout}"\n'
    )
    estimator = rmpe.load(path, spot_pose_model(tmp_path))
    np.testing.assert_allclose(estimator(PHOTO).boxes, [[17, 12, 47, 52]], atol=0.1)


def test_outputs_of_half_precision_are_float32(tmp_path):
    shape = ["n", 3, 8, 8]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "half",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "half.onnx")
    (answer,) = Session(tmp_path / "half.onnx")(np.full((1, 3, 8, 8), 0.5, np.float32))
    assert answer.dtype == np.float32
    assert (answer == 0.5).all()


def test_a_layout_that_is_not_said_is_asked_for(tmp_path):
    path = with_input(spot_pose_model(tmp_path), TensorProto.FLOAT, "nhwc")
    with pytest.raises(ModelError, match=r"layout = \"nhwc\" in its card .*this one takes"):
        rmpe.load(found, path)


def test_normalised_values_are_not_rounded_into_pixels(tmp_path):
    path = with_input(spot_pose_model(tmp_path), TensorProto.UINT8)
    card = path.with_suffix(".toml")
    card.write_text(card.read_text() + "mean = [123, 117, 104]\n")
    with pytest.raises(ModelError, match="takes uint8 pixels: leave mean and sd out"):
        rmpe.load(found, path)(PHOTO)


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        (TensorProto.INT64, [1, 3, 8, 8], r"its input is tensor\(int64\); known: tensor\(float\)"),
        (TensorProto.BOOL, [1, 3, 8, 8], r"its input is tensor\(bool\)"),
        (TensorProto.FLOAT, [1, 3, 2**20, 2**20], f"more than {LARGEST_INPUT} numbers"),
        (TensorProto.FLOAT, [2**40, 3, 64, 48], f"more than {LARGEST_INPUT} numbers"),
    ],
)
def test_inputs_that_no_image_is(tmp_path, kind, shape, message):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "strange",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "strange.onnx")
    with pytest.raises(ModelError, match=message) as caught:
        Session(tmp_path / "strange.onnx")
    assert "\n" not in str(caught.value)


def test_boxes_that_overflow_are_a_broken_model(tmp_path):
    model = yolox_model(tmp_path, [(32, 32, 1e38, 1e38, 1, 0.9)])
    loaded = onnx.load(model)
    for array in loaded.graph.initializer:
        if array.name == "rows":
            rows = numpy_helper.to_array(array).copy()
            rows[rows > 80] = 900  # exp of it is infinite
            array.CopyFrom(numpy_helper.from_array(rows, "rows"))
    onnx.save(loaded, model)
    with pytest.raises(ModelError, match="boxes that are not finite; the model is broken"):
        rmpe.load(model, spot_pose_model(tmp_path))(PHOTO)


@pytest.mark.parametrize("name", ["onnx_01", "onnx_02"])
def test_models_of_the_cases(tmp_path, data_root, name):
    """Found by fuzzing: boxes that overflow, and an input of 36 PiB."""
    path = tmp_path / ("yolox.onnx" if name == "onnx_01" else "spots.onnx")
    path.write_bytes((data_root / "cases/fuzz" / name / "m.onnx").read_bytes())
    (tmp_path / "rgb3.toml").write_text(RGB3)
    if name == "onnx_02":
        card = CARD.format(skeleton=(tmp_path / "rgb3.toml").as_posix())
        path.with_suffix(".toml").write_text(card)
    with pytest.raises(ModelError):
        rmpe.load(
            *(
                (path, spot_pose_model(tmp_path, name="p.onnx"))
                if name == "onnx_01"
                else (found, path)
            )
        )(PHOTO)


@pytest.mark.parametrize("zoom", [0.0, 1e-9, 50.0, 1e6, 1e18])
def test_a_transformer_that_looks_nowhere_keeps_the_box(tmp_path, zoom):
    theta = np.array([zoom, 0, 0, 0, zoom, 0], np.float32)
    stn = constant_model(tmp_path, "stn.onnx", {"image": ["n", 3, 32, 24]}, theta, ["n", 6])
    card = 'kind = "stn"\nname = "far"\ndecoder = "theta"\ngrowth = 1.3\nalignment = "center"\n'
    stn.with_suffix(".toml").write_text(card)
    pose = spot_pose_model(tmp_path)
    moved = rmpe.load(found, pose, stn=stn)(PHOTO)
    np.testing.assert_allclose(moved.keypoints, rmpe.load(found, pose)(PHOTO).keypoints, atol=0.2)
