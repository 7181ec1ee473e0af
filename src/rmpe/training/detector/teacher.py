"""A published detector as a teacher, on the same augmented inputs and the same grid of cells."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmpe.errors import ModelError
from rmpe.nets.detectors.person_detector import cells, decode

PERSON = 0  # COCO's first class


class YoloxTeacher:
    """A YOLOX export with raw heads, for any batch and input size.

    It runs during training instead of once in advance, because its predictions cannot be
    transferred to mosaics.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        """Load the model and make its input shape dynamic.

        Raises:
            ModelError: If the file does not exist.
        """
        import onnx
        import onnxruntime

        if not path.is_file():
            raise ModelError(f"{path}: no such teacher model")
        model = onnx.load(path)
        shape = model.graph.input[0].type.tensor_type.shape
        for axis, name in zip(shape.dim, ("batch", "", "height", "width"), strict=True):
            if name:
                axis.dim_param = name
        del model.graph.output[0].type.tensor_type.shape.dim[:]
        del model.graph.value_info[:]
        _free_batch(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        self._input = self._session.get_inputs()[0].name

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes ``(B, A, 4)`` xyxy and person scores ``(B, A)``.

        Args:
            images: ``(B, 3, H, W)`` RGB, 0..255.
        """
        bgr = np.ascontiguousarray(images.flip(1).cpu().numpy(), np.float32)
        rows = torch.from_numpy(self._session.run(None, {self._input: bgr})[0]).to(images.device)
        centers, strides = cells(images.shape[-2:], images.device)
        # YOLOX offsets are relative to the cell's corner.
        boxes = decode(rows[..., :4], centers - strides / 2, strides)
        return boxes, rows[..., 4] * rows[..., 5 + PERSON]


def _free_batch(model: Any) -> None:
    """Make the batch dynamic where heads end in a reshape to (1, channels, -1)."""
    from onnx import numpy_helper

    shapes = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    for tensor in model.graph.initializer:
        if tensor.name in shapes:
            shape = numpy_helper.to_array(tensor).copy()
            shape[0] = 0
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
