"""Static int8 quantisation of convolutional ONNX models."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Operators that pass features on. They are quantised with the adjacent convolutions; otherwise each
# would cost two conversions.
PASSING: Final = ("Add", "Clip", "Relu", "Resize", "MaxPool", "AveragePool")


def quantise(path: Path, batches: Iterable[NDArray[np.float32]], out: Path) -> Path:
    """Quantise a model to int8, with weight scales per channel and activation scales per tensor.

    The output convolutions and everything else outside the convolutional part (sampling, decoding)
    stay in float. The metadata, which includes the card, is copied.

    Args:
        path: ONNX file with one input.
        batches: Representative inputs ``(n, 3, H, W)``; a few hundred crops in total suffice.
        out: File to write.

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
            nodes_to_exclude=float_nodes(graph),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    properties = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    model = onnx.load(out)
    onnx.helper.set_model_props(model, properties)
    onnx.save(model, out)
    return out


def float_nodes(graph: Any) -> list[str]:
    """Names of the nodes that stay in float: output convolutions and nodes outside the features.

    A node passes features on if its operator does and all its inputs are features or constants. The
    output of a convolution is a feature, unless an output of the graph can be reached from it
    without another convolution.
    """
    answering = _answering_convolutions(graph)
    features: set[str] = set()
    constants = {tensor.name for tensor in graph.initializer} | {""}
    stay = []
    for node in graph.node:  # in topological order
        inputs = set(node.input) - constants
        passing = node.op_type in PASSING and bool(inputs) and inputs <= features
        if (node.op_type == "Conv" and node.name not in answering) or passing:
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
