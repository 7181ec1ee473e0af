"""Weights of a quantised model, rounded so that the errors of a sum cancel.

Rounded one by one, the weights of a filter all err on their own. Here the error of each is made up
for by those that are rounded after it, as far as their inputs go together.

Source: Frantar et al., "GPTQ", ICLR 2023, which rounds matrices; here each group of a convolution
    is one.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Places of a batch at which the inputs of a convolution are looked at.
PLACES: Final = 1500
# Of the mean of the inputs' squares: how far what was seen of them is trusted.
DAMPING: Final = 0.01


def round_together(
    model: Any, original: Path, batches: Iterable[NDArray[np.float32]], largest: int
) -> None:
    """Round the weights of a quantised model's convolutions again, in place.

    Args:
        model: The ONNX model, with weights in int8 that are dequantised by channel.
        original: The same model in float; its convolutions have the same names.
        batches: Representative inputs ``(n, 3, H, W)``.
        largest: The largest integer of a weight.
    """
    import onnx
    from onnx import numpy_helper

    float_model = onnx.load(original)
    values = {tensor.name: tensor for tensor in float_model.graph.initializer}
    convolutions = {node.name: node for node in float_model.graph.node if node.op_type == "Conv"}
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    rounded = {
        node.name: weights
        for node in model.graph.node
        if node.op_type == "Conv"
        and (weights := makers.get(node.input[1])) is not None
        and weights.op_type == "DequantizeLinear"
    }
    chosen = {name: convolutions[name] for name in rounded}
    squares = _squares_of_inputs(float_model, chosen, values, batches)
    for name, dequantise in rounded.items():
        weights = numpy_helper.to_array(values[convolutions[name].input[1]]).astype(np.float64)
        steps = numpy_helper.to_array(stored[dequantise.input[1]]).astype(np.float64)
        groups, filters = len(squares[name]), len(weights)
        integers = rounded_rows(
            weights.reshape(groups, filters // groups, -1),
            np.broadcast_to(steps, filters).reshape(groups, -1),
            squares[name],
            largest,
        )
        place = dequantise.input[0]
        integers = integers.reshape(weights.shape).astype(np.int8)
        stored[place].CopyFrom(numpy_helper.from_array(integers, place))


def rounded_rows(
    rows: NDArray[np.float64],
    steps: NDArray[np.float64],
    squares: NDArray[np.float64],
    largest: int,
) -> NDArray[np.float64]:
    """Integers ``(G, R, K)`` that times ``steps`` answer nearly as ``rows`` do.

    Args:
        rows: ``(G, R, K)``, the R filters of each of G groups.
        steps: ``(G, R)``, what an integer of 1 stands for.
        squares: ``(G, K, K)``, sums of products of the K inputs of each group.
        largest: The largest integer.
    """
    count = rows.shape[2]
    mean = np.trace(squares, axis1=1, axis2=2) / count
    squares = squares + np.eye(count) * (DAMPING * mean + 1e-8)[:, None, None]
    # What matters most is rounded first: the others make up for it.
    order = np.argsort(-np.diagonal(squares, axis1=1, axis2=2), axis=1)
    rows = np.take_along_axis(rows, order[:, None, :], axis=2)
    squares = np.take_along_axis(squares, order[:, :, None], axis=1)
    squares = np.take_along_axis(squares, order[:, None, :], axis=2)
    # Row i of the factor says how the inputs after i make up for an error of i.
    factor = np.linalg.cholesky(np.linalg.inv(squares)).swapaxes(1, 2)
    integers = np.empty_like(rows)
    for index in range(count):
        now = rows[:, :, index]
        integers[:, :, index] = np.clip(np.round(now / steps), -largest, largest)
        error = (now - integers[:, :, index] * steps) / factor[:, index, index, None]
        rows[:, :, index + 1 :] -= error[:, :, None] * factor[:, None, index, index + 1 :]
    back = np.argsort(order, axis=1)
    return np.take_along_axis(integers, back[:, None, :], axis=2)


def _squares_of_inputs(
    model: Any,
    convolutions: dict[str, Any],
    values: dict[str, Any],
    batches: Iterable[NDArray[np.float32]],
) -> dict[str, NDArray[np.float64]]:
    """Sums of products of what each group of each convolution sees, ``(G, K, K)``."""
    import onnx
    import onnxruntime
    from onnx import helper

    graph = model.graph
    (given,) = (entry.name for entry in graph.input)
    wanted = sorted({node.input[0] for node in convolutions.values()} - {given})
    answers = {entry.name for entry in graph.output}
    graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in wanted
        if name not in answers
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    generator = np.random.default_rng(0)
    squares: dict[str, Any] = dict.fromkeys(convolutions, 0.0)
    for batch in batches:
        features = dict(zip(wanted, session.run(wanted, {given: batch}), strict=True))
        features[given] = batch
        for name, node in convolutions.items():
            seen = _seen(features[node.input[0]], node, values[node.input[1]].dims, generator)
            squares[name] = squares[name] + seen @ seen.swapaxes(1, 2)
    return squares


def _seen(
    features: NDArray[np.float32], node: Any, dims: Any, generator: np.random.Generator
) -> NDArray[np.float64]:
    """What each group of a convolution sees at some places, ``(G, K, P)``."""
    from onnx import helper

    options = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    top, left, bottom, right = options.get("pads", (0, 0, 0, 0))
    down, across = options.get("strides", (1, 1))
    apart = options.get("dilations", (1, 1))
    spans = [(side - 1) * step + 1 for side, step in zip(dims[2:], apart, strict=True)]
    padded = np.pad(features, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(2, 3))
    windows = windows[:, :, ::down, ::across, :: apart[0], :: apart[1]]
    count, _, height, width = windows.shape[:4]
    places = count * height * width
    drawn = generator.choice(places, min(PLACES, places), replace=False)
    image, row, column = np.unravel_index(drawn, (count, height, width))
    seen = windows[image, :, row, column].reshape(len(drawn), options.get("group", 1), -1)
    return seen.transpose(1, 2, 0).astype(np.float64)
