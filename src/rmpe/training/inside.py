"""What a teacher's file answers besides its outputs: tensors inside its graph."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from rmpe.errors import ModelError


def with_outputs(model: Path, tensors: Iterable[str], folder: Path) -> Path:
    """A copy of an ONNX model that also answers tensors inside it.

    Args:
        model: The file.
        tensors: Their names, each once.
        folder: Where to write the copy.

    Raises:
        ModelError: If there is no such tensor.
    """
    import onnx

    loaded = onnx.load(model)
    answered = {output.name for output in loaded.graph.output}
    known = {name for node in loaded.graph.node for name in node.output} - answered
    for name in tensors:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise ModelError(
                f"{model}: hints.tensors: no tensor {name!r}"
                + (f"; the nearest name is {near[0]!r}" if near else "")
            )
        value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        loaded.graph.output.append(value)
    file = folder / f"{model.stem}-hints.onnx"
    onnx.save(loaded, file)
    return file
