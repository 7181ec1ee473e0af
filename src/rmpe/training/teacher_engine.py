"""The engines that run a teacher, and what it answers from inside its graph."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rmpe.errors import ModelError
from rmpe.estimate.pose_model import PoseModel, load_pose_model
from rmpe.runtime import Session, load_openvino

Engine: TypeAlias = Literal["onnxruntime", "openvino"]

# Not pinned: it would choose the first core, where the process that trains may be.
ONE_THREAD = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}

# Images in one call: more take longer an image, because the features leave the processor's cache.
IMAGES = 2


def load_teacher(
    path: Path, engine: Engine = "onnxruntime", *, mirrored: bool = False
) -> PoseModel:
    """A teacher of poses on one thread.

    Args:
        path: ONNX pose model of any kind that `rmpe predict` takes.
        engine: What runs it.
        mirrored: Whether it also looks at the mirrored crops, and the two answers are averaged.

    Raises:
        ModelError: If the model or the engine cannot be used.
    """
    model = load_pose_model(path, threads=1, flip_test=mirrored, batch=IMAGES)
    if engine == "openvino":
        model.session = OpenVino(path)
    return model


def load_engine(path: Path, engine: Engine, threads: int = 1) -> Session:
    """A model on so many threads, with OpenVINO on one.

    Raises:
        ModelError: If the model or the engine cannot be used.
    """
    return OpenVino(path) if engine == "openvino" else Session(path, "cpu", threads=threads)


class OpenVino(Session):
    """A model that OpenVINO runs on one thread; in bfloat16 where the CPU has it.

    It is compiled for every shape of inputs that comes: a free axis would cost a quarter more time.

    Raises:
        MissingPackageError: If OpenVINO is not installed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "cpu", threads=1)
        self._core = load_openvino().Core()
        self._model = self._core.read_model(str(path))
        self._requests: dict[tuple[int, ...], Any] = {}

    def __call__(self, array: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Run the model on its first input; all outputs in order.

        Raises:
            ModelError: If OpenVINO refuses the model or the input.
        """
        try:
            if array.shape not in self._requests:
                model = self._model.clone()
                model.reshape({next(iter(self.inputs)): list(array.shape)})
                compiled = self._core.compile_model(model, "CPU", ONE_THREAD)
                self._requests[array.shape] = compiled.create_infer_request()
            outputs = self._requests[array.shape].infer({0: array})
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise ModelError(
                f"{self.path}: OpenVINO refused an input of shape {array.shape}: {reason}"
            ) from error
        return [np.array(output, np.float32) for output in outputs.values()]


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
