"""ONNX Runtime sessions: the only place that touches the engine."""

import hashlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from rmpe.errors import ModelError

# ONNX Runtime's names of the input types that images are fed as.
INPUT_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
# Most numbers in one input whose shape a model fixes: 256 MB as float32.
LARGEST_INPUT = 2**26
Device: TypeAlias = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[str, ...] = get_args(Device)


class Session:
    """A loaded ONNX model: arrays in, arrays out. Safe to call from several threads at once.

    Attributes:
        path: The file it came from.
        inputs: Name -> shape; a free axis is ``None``.
        outputs: Name -> shape; a free axis is ``None``.
        input_type: Number type that the first input takes.
        metadata: The custom properties stored in the file.
        providers: The engine's providers in use, best first.
    """

    def __init__(self, path: str | Path, device: Device = "auto", threads: int = 0) -> None:
        """Load a model.

        Args:
            path: ONNX file.
            device: ``cpu``, ``cuda``, or ``auto`` (CUDA when the installed engine has it).
            threads: Threads for one call, at most one a core; 0 = the engine's choice.

        Raises:
            ModelError: If the file is missing, is not an ONNX model, or the device is not there.
        """
        import onnxruntime

        self.path = Path(path)
        self._loaded_as = (self.path.absolute(), device, threads)
        if not self.path.is_file():
            raise ModelError(f"{path}: no such model file")
        options = onnxruntime.SessionOptions()
        # More threads than cores only wait, and the engine dies of a hundred thousand.
        options.intra_op_num_threads = min(threads, os.cpu_count() or 1)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning wins a little alone but starves the decoder and the other sessions of a pipeline.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(self.path),
                options,
                providers=choose_providers(device, onnxruntime.get_available_providers()),
            )
        except Exception as error:  # the engine raises a private class for each kind of fault
            reason = str(error).strip().splitlines()[0][:200]
            raise ModelError(f"{path}: not a model that ONNX Runtime can load: {reason}") from error
        try:
            nodes = self._session.get_inputs()
            self.inputs = {node.name: _shape(node.shape) for node in nodes}
            kinds = [node.type for node in nodes]
            self.outputs = {node.name: _shape(node.shape) for node in self._session.get_outputs()}
            self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError as error:
            raise ModelError(f"{path}: damaged: its names are not text") from error
        if not self.inputs:
            raise ModelError(f"{path}: takes no input; not a model of images")
        if kinds[0] not in INPUT_TYPES:
            raise ModelError(f"{path}: its input is {kinds[0]}; known: {', '.join(INPUT_TYPES)}")
        self.input_type: type[np.generic] = INPUT_TYPES[kinds[0]]
        if math.prod(side or 1 for side in self.input_shape) > LARGEST_INPUT:
            raise ModelError(
                f"{path}: takes an input of shape {self.input_shape}, more than"
                f" {LARGEST_INPUT} numbers"
            )
        self.providers: list[str] = self._session.get_providers()

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """Shape of the first input; a free axis is ``None``."""
        return next(iter(self.inputs.values()))

    def __call__(self, array: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Run the model on its first input; all outputs in order, as float32.

        Args:
            array: Of any number type; it is converted to the one that the model takes. Values for a
                uint8 input are rounded.

        Raises:
            ModelError: If the engine refuses the input, or an output holds NaN or infinity.
        """
        try:
            outputs: list[NDArray[Any]] = self._session.run(
                None, {next(iter(self.inputs)): self._converted(array)}
            )
        except Exception as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise ModelError(
                f"{self.path}: the model refused an input of shape {array.shape}: {reason}"
            ) from error
        for name, output in zip(self.outputs, outputs, strict=True):
            if not isinstance(output, np.ndarray) or output.dtype.kind not in "fiub":
                raise ModelError(f"{self.path}: output {name!r} holds no numbers")
            if not np.isfinite(output).all():
                raise ModelError(
                    f"{self.path}: output {name!r} holds NaN or infinity; the model is broken"
                )
        return [np.asarray(output, np.float32) for output in outputs]

    def _converted(self, array: NDArray[Any]) -> NDArray[Any]:
        """The input in the type that the model takes."""
        if self.input_type == np.uint8:
            array = np.clip(np.rint(array), 0, 255)
        return array.astype(self.input_type, copy=False)

    def __reduce__(self) -> tuple[type["Session"], tuple[Path, Device, int]]:
        """A pickle holds the file's name, not the engine's state: the model is loaded anew."""
        return Session, self._loaded_as

    def __repr__(self) -> str:
        return f"Session({self.path.name}, {self.providers[0]})"


def choose_providers(device: Device, available: list[str]) -> list[str]:
    """The engine's providers for a device, best first.

    Raises:
        ModelError: If CUDA is asked for and the installed engine cannot use it, or the device is
            unknown.
    """
    if device not in DEVICES:
        raise ModelError(f"unknown device {device!r}; known: {', '.join(DEVICES)}")
    cuda = "CUDAExecutionProvider" in available
    if device == "cuda" and not cuda:
        raise ModelError(
            "no CUDA in the installed ONNX Runtime: pip uninstall onnxruntime, then pip install"
            " onnxruntime-gpu (the two overwrite each other; docs/install.md)"
        )
    return (
        ["CUDAExecutionProvider", "CPUExecutionProvider"]
        if cuda and device != "cpu"
        else ["CPUExecutionProvider"]
    )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex.

    Raises:
        ModelError: If the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error


def _shape(shape: list[Any]) -> tuple[int | None, ...]:
    return tuple(side if isinstance(side, int) else None for side in shape)
