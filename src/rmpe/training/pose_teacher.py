"""The engines that run a teacher of poses."""

from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rmpe.errors import ModelError
from rmpe.estimate.pose_model import PoseModel, load_pose_model
from rmpe.runtime import Session

Engine: TypeAlias = Literal["onnxruntime", "openvino"]

# Crops in one call: more take longer a crop, because the features leave the processor's cache.
CROPS = 2


def load_teacher(path: Path, engine: Engine = "onnxruntime", *, mirrored: bool = False) -> PoseModel:
    """A teacher on one thread.

    Args:
        path: ONNX pose model of any kind that `rmpe predict` takes.
        engine: What runs it.
        mirrored: Whether it also looks at the mirrored crops, and the two answers are averaged.

    Raises:
        ModelError: If the model or the engine cannot be used.
    """
    model = load_pose_model(path, threads=1, flip_test=mirrored, batch=CROPS)
    if engine == "openvino":
        model.session = OpenVino(path)
    return model


class OpenVino(Session):
    """A model that OpenVINO runs on one thread; in bfloat16 where the CPU has it.

    Raises:
        ModelError: If OpenVINO is not installed or cannot load the model.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "cpu", threads=1)
        try:
            from openvino import Core
        except ImportError as error:
            raise ModelError("this engine needs: pip install openvino") from error
        try:
            compiled = Core().compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1})
        except RuntimeError as error:
            raise ModelError(f"{path}: not a model that OpenVINO can load: {str(error).splitlines()[0]}") from error
        self._request = compiled.create_infer_request()

    def __call__(self, array: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Run the model on its first input; all outputs in order."""
        return [np.asarray(output, np.float32) for output in self._request.infer({0: array}).values()]
