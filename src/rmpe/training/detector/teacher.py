"""A published detector as a teacher, on the same augmented inputs and the same grid of cells."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rmpe.errors import ModelError
from rmpe.nets.detectors.person_detector import cells, decode
from rmpe.training.teacher_engine import IMAGES, Engine, load_engine, with_outputs

PERSON = 0  # COCO's first class


class TeacherAnswer(NamedTuple):
    """What a teacher finds.

    Attributes:
        boxes: ``(B, A, 4)`` xyxy input pixels.
        scores: ``(B, A)``, of people.
        hints: The tensors inside it that were asked for.
    """

    boxes: Tensor
    scores: Tensor
    hints: list[Tensor]


class YoloxTeacher:
    """A YOLOX export with raw heads, for any batch and input size.

    It runs during training instead of once in advance, because its predictions cannot be
    transferred to mosaics.

    Args:
        path: The ONNX file, whose input shape is made dynamic.
        engine: What runs it.
        threads: Of the CPU; 0 = all.
        hints: Names of tensors inside the model to answer, too.

    Raises:
        ModelError: If the file does not exist, there is no such tensor, or the engine cannot be
            used.
    """

    def __init__(
        self,
        path: Path,
        engine: Engine = "onnxruntime",
        threads: int = 0,
        hints: Sequence[str] = (),
    ) -> None:
        import onnx

        if not path.is_file():
            raise ModelError(f"{path}: no such teacher model")
        with tempfile.TemporaryDirectory() as folder:
            model = onnx.load(with_outputs(path, hints, Path(folder)) if hints else path)
            shape = model.graph.input[0].type.tensor_type.shape
            for axis, name in zip(shape.dim, ("batch", "", "height", "width"), strict=True):
                if name:
                    axis.dim_param = name
            del model.graph.output[0].type.tensor_type.shape.dim[:]
            del model.graph.value_info[:]
            _free_batch(model)
            file = Path(folder) / path.name
            onnx.save(model, file)
            self._session = load_engine(file, engine, threads)

    def __call__(self, images: Tensor) -> TeacherAnswer:
        """What it finds in images ``(B, 3, H, W)`` RGB, 0..255."""
        bgr = np.ascontiguousarray(images.flip(1).cpu().numpy(), np.float32)
        parts = [self._session(bgr[start : start + IMAGES]) for start in range(0, len(bgr), IMAGES)]
        rows, *hints = (
            torch.from_numpy(np.concatenate(outputs)).to(images.device)
            for outputs in zip(*parts, strict=True)
        )
        centers, strides = cells(images.shape[-2:], images.device)
        # YOLOX offsets are relative to the cell's corner.
        boxes = decode(rows[..., :4], centers - strides / 2, strides)
        return TeacherAnswer(boxes, rows[..., 4] * rows[..., 5 + PERSON], hints)


def _free_batch(model: Any) -> None:
    """Make the batch dynamic where heads end in a reshape to (1, channels, -1)."""
    from onnx import numpy_helper

    shapes = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    for tensor in model.graph.initializer:
        if tensor.name in shapes:
            shape = numpy_helper.to_array(tensor).copy()
            shape[0] = 0
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
