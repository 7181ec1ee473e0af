"""Static int8 quantisation of convolutional ONNX models, and the way back to float."""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rmpe.rounding import round_together

# Operators that pass features on. They are quantised with the adjacent convolutions; otherwise each
# would cost two conversions.
PASSING: Final = ("Add", "Clip", "Relu", "Resize", "MaxPool", "AveragePool")
# Operators that only move values, quantised or not.
MOVING: Final = ("Concat", "Reshape", "Squeeze", "Transpose")
# Of seven bits a weight.
LARGEST_WEIGHT: Final = 64
# Batches of inputs that weights are rounded by, about.
ROUNDED_BY: Final = 6


def quantise(
    path: Path,
    batches: Iterable[NDArray[np.float32]],
    out: Path,
    *,
    first: int = 0,
    last: int = 0,
    averaged: bool = False,
) -> Path:
    """Quantise a model to int8, with weight scales per channel and activation scales per tensor.

    Weights are rounded together (`rmpe.rounding`). The output convolutions and everything else
    outside the convolutional part (sampling, decoding) stay in float. The metadata, which includes
    the card, is copied.

    Args:
        path: ONNX file with one input.
        batches: Representative inputs ``(n, 3, H, W)``; a few hundred crops in total suffice.
        out: File to write.
        first: How many convolutions at the beginning stay in float, too.
        last: How many at the end.
        averaged: Whether the range of an activation is the mean of those of the batches. Else it is
            the widest, which a few outliers stretch.

    Raises:
        ValueError: If there are no batches.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, feeds: list[dict[str, NDArray[np.float32]]]) -> None:
            self.feeds = iter(feeds)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self.feeds, None)

    inputs = list(batches)
    if not inputs:
        raise ValueError("quantisation needs inputs to calibrate with")
    properties = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    with tempfile.TemporaryDirectory() as folder:
        fused = Path(folder) / "fused.onnx"  # with folded batch norms and inferred shapes
        quant_pre_process(path, fused, skip_symbolic_shape=True)
        graph = onnx.load(fused).graph
        reader = Reader([{graph.input[0].name: batch} for batch in inputs])
        quantize_static(
            fused,
            out,
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", *PASSING],
            nodes_to_exclude=float_nodes(graph, first, last),
            per_channel=True,
            # 7 bits a weight: without VNNI, sums of two products of 8 bits would saturate.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"CalibMovingAverage": averaged},  # of one pass: the mean over it
        )
        model = onnx.load(out)
        round_together(model, fused, inputs[:: max(1, len(inputs) // ROUNDED_BY)], LARGEST_WEIGHT)
    _double_by_copying(model)
    _store_matrices_small(model.graph)
    onnx.helper.set_model_props(model, properties)
    onnx.save(model, out)
    return out


def _double_by_copying(model: Any) -> None:
    """Repeat rows and columns of quantised features where a Resize doubles them to the nearest.

    Int8 convolutions of ONNX Runtime want channels last, where its Resize goes value by value.
    Copies of whole pixels and rows give the same bytes in a quarter of the time; the transpositions
    around them cancel those of the convolutions.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    nodes = []
    for node in graph.node:
        given = _doubled(node, makers, values)
        if not given:
            nodes.append(node)
            continue
        once, pixels, pairs, wide, rows, apart, tall = (f"{node.name}_{part}" for part in range(7))
        shapes = {"pixels": [0, 0, 0, 1, -1], "wide": [0, 0, 1, -1, 0], "tall": [0, 1, -1, 0, 0]}
        names = {key: f"{node.name}_{key}" for key in [*shapes, "one"]}
        graph.initializer.extend(
            numpy_helper.from_array(np.array(numbers), names[key])
            for key, numbers in (shapes | {"one": [1]}).items()
        )
        # An axis of length 1 becomes the two copies. No shape is computed: where one is, OpenVINO's
        # scores are wrong.
        steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
            ("Transpose", [given], once, {"perm": [0, 2, 3, 1]}),
            ("Reshape", [once, names["pixels"]], pixels, {}),
            ("Concat", [pixels, pixels], pairs, {"axis": 3}),
            ("Reshape", [pairs, names["wide"]], wide, {}),
            ("Concat", [wide, wide], rows, {"axis": 2}),
            ("Reshape", [rows, names["tall"]], apart, {}),
            ("Squeeze", [apart, names["one"]], tall, {}),
            ("Transpose", [tall], node.output[0], {"perm": [0, 3, 1, 2]}),
        ]
        nodes += [
            helper.make_node(operator, inputs, [made], made, **attributes)
            for operator, inputs, made, attributes in steps
        ]
    _keep(graph, nodes)


def _doubled(node: Any, makers: Mapping[str, Any], values: Mapping[str, NDArray[Any]]) -> str:
    """The name of the quantised features whose rows and columns ``node`` answers twice, or ``""``.

    ``node`` quantises what a Resize made of them, with the scale and zero point that they have: so
    the bytes are theirs.
    """
    resize = makers.get(node.input[0]) if node.op_type == "QuantizeLinear" else None
    if resize is None or resize.op_type != "Resize" or len(resize.input) != 3:
        return ""
    before = makers.get(resize.input[0])
    if before is None or before.op_type != "DequantizeLinear":
        return ""
    words = {entry.name: entry.s for entry in resize.attribute if entry.s}
    repeats = {"mode": b"nearest", "nearest_mode": b"floor"}
    repeats["coordinate_transformation_mode"] = b"asymmetric"
    scales = values.get(resize.input[2], np.zeros(0)).tolist()
    same = all(
        np.array_equal(values[one], values[other])
        for one, other in zip(before.input[1:], node.input[1:], strict=True)
    )
    doubles = repeats.items() <= words.items() and scales == [1, 1, 2, 2]
    return str(before.input[0]) if doubles and same else ""


def _keep(graph: Any, nodes: list[Any]) -> None:
    """Replace the nodes of a graph; what none of them leads to an output goes, constants too."""
    wanted = {output.name for output in graph.output}
    kept = []
    for node in reversed(nodes):  # outputs first
        if wanted & set(node.output):
            kept.append(node)
            wanted.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in wanted]:
        graph.initializer.remove(tensor)


def _store_matrices_small(graph: Any) -> None:
    """Keep the matrices of the float parts in int8, a scale a row; they are multiplied in float."""
    import onnx
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Gemm"]:
        tensor = tensors.get(node.input[1])
        if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        scale = np.maximum(np.abs(values).max(axis=1), np.finfo(np.float32).tiny) / 127
        name = tensor.name
        parts = {
            f"{name}_quantized": np.round(values / scale[:, None]).astype(np.int8),
            f"{name}_scale": scale.astype(np.float32),
            f"{name}_zero_point": np.zeros(len(scale), np.int8),
        }
        graph.initializer.remove(tensor)
        graph.initializer.extend(numpy_helper.from_array(part, key) for key, part in parts.items())
        graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", [*parts], [name], axis=0))


def dequantise(path: Path) -> bytes:
    """A quantised model with activations in float, which are no longer rounded.

    Engines without int8 instructions (WebAssembly) run it in less time than the quantised one.
    Weights stay int8 in the file; an engine folds their scales (ONNX Runtime with the session's
    entry ``session.disable_quant_qdq``). Quantised activations saturate, which replaces ReLU; here
    a Clip does.

    Args:
        path: What `quantise` wrote.

    Returns:
        The ONNX model with its metadata.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    rounded = {}
    nodes = []
    for node in graph.node:  # in topological order
        if node.op_type == "QuantizeLinear":
            rounded[node.output[0]] = node.input[0]
            continue
        if node.op_type in MOVING and node.input[0] in rounded:  # bytes are moved, or numbers
            moved = [rounded.get(name, name) for name in node.input]
            del node.input[:]
            node.input.extend(moved)
            rounded[node.output[0]] = node.output[0]
        if node.op_type == "DequantizeLinear" and node.input[0] in rounded:
            scale, zero = (numpy_helper.to_array(constants[name]) for name in node.input[1:3])
            limits = np.iinfo(zero.dtype)
            ends = [f"{node.output[0]}_least", f"{node.output[0]}_most"]
            graph.initializer.extend(
                numpy_helper.from_array((np.float32(end) - np.float32(zero)) * scale, name)
                for name, end in zip(ends, (limits.min, limits.max), strict=True)
            )
            inputs = [rounded[node.input[0]], *ends]
            node = onnx.helper.make_node("Clip", inputs, node.output)  # noqa: PLW2901
        nodes.append(node)
    _keep(graph, nodes)
    written: bytes = model.SerializeToString()
    return written


def float_nodes(graph: Any, first: int = 0, last: int = 0) -> list[str]:
    """Names of the nodes that stay in float: first, last and output convolutions, no features.

    A node passes features on if its operator does and all its inputs are features or constants. The
    output of a convolution is a feature, unless an output of the graph can be reached from it
    without another convolution.
    """
    stay_float = _answering_convolutions(graph)
    convolutions = [node.name for node in graph.node if node.op_type == "Conv"]
    stay_float |= {*convolutions[:first], *convolutions[len(convolutions) - last :]}
    features: set[str] = set()
    constants = {tensor.name for tensor in graph.initializer} | {""}
    stay = []
    for node in graph.node:  # in topological order
        inputs = set(node.input) - constants
        passing = node.op_type in PASSING and bool(inputs) and inputs <= features
        if (node.op_type == "Conv" and node.name not in stay_float) or passing:
            features.update(node.output)
        else:
            stay.append(node.name)
    return stay


def _answering_convolutions(graph: Any) -> set[str]:
    made_by = {name: node for node in graph.node for name in node.output}
    convolutions = set()
    seen = set()
    waiting = [output.name for output in graph.output]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in made_by:
            continue
        seen.add(name)
        if made_by[name].op_type == "Conv":
            convolutions.add(made_by[name].name)
        else:
            waiting.extend(made_by[name].input)
    return convolutions
