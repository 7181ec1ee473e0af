"""ONNX Runtime sessions: the only place that touches the engine."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from rmpe.errors import ModelError

Device: TypeAlias = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[str, ...] = get_args(Device)


class Session:
    """A loaded ONNX model: arrays in, arrays out. Safe to call from several threads at once.

    Attributes:
        path: The file it came from.
        inputs: Name -> shape; a free axis is ``None``.
        outputs: Name -> shape; a free axis is ``None``.
        metadata: The custom properties stored in the file.
        providers: The engine's providers in use, best first.
    """

    def __init__(self, path: str | Path, device: Device = "auto", threads: int = 0) -> None:
        """Load a model.

        Args:
            path: ONNX file.
            device: ``cpu``, ``cuda``, or ``auto`` (CUDA when the installed engine has it).
            threads: Threads for one call; 0 = the engine's choice.

        Raises:
            ModelError: If the file is missing, is not an ONNX model, or the device is not there.
        """
        import onnxruntime

        self.path = Path(path)
        if not self.path.is_file():
            raise ModelError(f"{path}: no such model file")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
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
        self.inputs = {node.name: _shape(node.shape) for node in self._session.get_inputs()}
        self.outputs = {node.name: _shape(node.shape) for node in self._session.get_outputs()}
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.providers: list[str] = self._session.get_providers()

    def __call__(self, array: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Run the model on its first input; all outputs in order.

        Raises:
            ModelError: If the engine refuses the input, or an output holds NaN or infinity.
        """
        try:
            outputs: list[NDArray[np.float32]] = self._session.run(
                None, {next(iter(self.inputs)): array}
            )
        except Exception as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise ModelError(
                f"{self.path}: the model refused an input of shape {array.shape}: {reason}"
            ) from error
        for name, output in zip(self.outputs, outputs, strict=True):
            if not np.isfinite(output).all():
                raise ModelError(
                    f"{self.path}: output {name!r} holds NaN or infinity; the model is broken"
                )
        return outputs

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
            "no CUDA in the installed ONNX Runtime: pip uninstall onnxruntime, then pip install onnxruntime-gpu "
            "(the two overwrite each other; docs/install.md)"
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
