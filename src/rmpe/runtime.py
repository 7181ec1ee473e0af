"""Sessions of ONNX Runtime or OpenVINO: the only place that touches the engines."""

import hashlib
import math
import os
import platform
import sys
import threading
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import NDArray

from rmpe.atomic import write_text
from rmpe.errors import ModelError
from rmpe.extras import load_extra
from rmpe.files import home, is_file

# ONNX Runtime's names of the input types that images are fed as.
INPUT_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
# OpenVINO's names of the same types.
OPENVINO_TYPES = {"f32": "float", "f16": "float16", "f64": "double", "u8": "uint8"}
# Most numbers in one input whose shape a model fixes: 256 MB as float32.
LARGEST_INPUT = 2**26
Device: TypeAlias = Literal["auto", "cpu", "cuda", "coreml", "directml", "openvino"]
DEVICES: tuple[Device, ...] = get_args(Device)
# Device -> ONNX Runtime's provider of it, and the package that has it.
PROVIDERS = {
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime, on macOS"),
    "directml": ("DmlExecutionProvider", "onnxruntime-directml, on Windows"),
}
CPU = "CPUExecutionProvider"
# What `auto` takes in place of cpu must have needed at most this share of cpu's time, ...
CLEARLY_FASTER = 0.9
# ... in this share of the rounds: on a busy machine one round says little.
ROUNDS_FASTER = 0.75


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
            device: One of `DEVICES`; ``auto`` = see `auto_device`.
            threads: Threads for one call, at most one a core; 0 = the engine's choice.

        Raises:
            ModelError: If the file is missing, is not an ONNX model, or the device is not there.
        """
        self.path = Path(path)
        self._loaded_as = (self.path.absolute(), device, threads)
        if not is_file(self.path):
            raise ModelError(f"{path}: no such model file")
        if self.path.suffix == ".safetensors":
            raise ModelError(f"{path}: a checkpoint to train from: rmpe export {path} --out DIR")
        # More threads than cores only wait, and the engine dies of a hundred thousand.
        threads = min(threads, os.cpu_count() or 1)
        chosen = auto_device(threads) if device == "auto" else device
        engine = _OpenVino if chosen == "openvino" else _OnnxRuntime
        self._engine: _OpenVino | _OnnxRuntime = engine(self.path, chosen, threads)
        self.inputs = self._engine.inputs
        self.outputs = self._engine.outputs
        self.metadata: Mapping[str, str] = self._engine.metadata
        self.providers: list[str] = self._engine.providers
        if not self.inputs:
            raise ModelError(f"{path}: takes no input; not a model of images")
        if self._engine.input_kind not in INPUT_TYPES:
            raise ModelError(
                f"{path}: its input is {self._engine.input_kind}; known: {', '.join(INPUT_TYPES)}"
            )
        self.input_type: type[np.generic] = INPUT_TYPES[self._engine.input_kind]
        if math.prod(side or 1 for side in self.input_shape) > LARGEST_INPUT:
            raise ModelError(
                f"{path}: takes an input of shape {self.input_shape}, more than"
                f" {LARGEST_INPUT} numbers"
            )

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
        # OpenVINO answers an input of another shape with nothing, and does not say so.
        wanted = self.input_shape
        if len(wanted) != array.ndim or any(
            side not in (None, given) for side, given in zip(wanted, array.shape, strict=True)
        ):
            raise ModelError(
                f"{self.path}: the model refused an input of shape {array.shape}: it takes {wanted}"
            )
        try:
            outputs = self._engine.run(self._converted(array))
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


class _OnnxRuntime:
    """A model loaded by ONNX Runtime."""

    def __init__(self, path: Path, device: Device, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads wait for the next operator awake: small nets take a quarter less time. Afterwards
        # they would starve the decoder and the other sessions of a pipeline, so they stop.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if device == "directml":  # its provider asks for this
            options.enable_mem_pattern = False
        providers = choose_providers(device, onnxruntime.get_available_providers())
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # the engine raises a private class for each kind of fault
            reason = str(error).strip().splitlines()[0][:200]
            raise ModelError(f"{path}: not a model that ONNX Runtime can load: {reason}") from error
        try:
            nodes = self._session.get_inputs()
            self.inputs = {node.name: _shape(node.shape) for node in nodes}
            self.outputs = {node.name: _shape(node.shape) for node in self._session.get_outputs()}
            self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError as error:
            raise ModelError(f"{path}: damaged: its names are not text") from error
        self.input_kind: str = nodes[0].type if nodes else ""
        self.providers: list[str] = self._session.get_providers()

    def run(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """All outputs in order."""
        outputs: list[NDArray[Any]] = self._session.run(None, {next(iter(self.inputs)): array})
        return outputs


class _OpenVino:
    """A model loaded by OpenVINO, on the CPU, in the precision of its weights."""

    def __init__(self, path: Path, device: Device, threads: int) -> None:  # noqa: ARG002
        openvino = load_openvino()
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            hints["INFERENCE_NUM_THREADS"] = str(threads)
        try:
            core = openvino.Core()
            model = core.read_model(str(path))
            self._compiled = core.compile_model(model, "CPU", hints)
        except Exception as error:  # one class for every kind of fault, with a stack in its text
            reason = str(error).strip().splitlines()[-1][:200]
            raise ModelError(f"{path}: not a model that OpenVINO can load: {reason}") from error
        self.inputs = {port.any_name: _dimensions(port) for port in model.inputs}
        self.outputs = {port.any_name: _dimensions(port) for port in model.outputs}
        facts = model.rt_info  # a map of its own, without get
        about = facts["framework"] if "framework" in facts else {}  # noqa: SIM401
        self.metadata: Mapping[str, str] = {
            key: about[key].value for key in about if isinstance(about[key].value, str)
        }
        kinds = [port.get_element_type().get_type_name() for port in model.inputs]
        self.input_kind = f"tensor({OPENVINO_TYPES.get(kinds[0], kinds[0])})" if kinds else ""
        self.providers = ["OpenVINO"]
        self._requests = threading.local()  # a request works for one thread at a time

    def run(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """All outputs in order."""
        request = getattr(self._requests, "mine", None)
        if request is None:
            request = self._requests.mine = self._compiled.create_infer_request()
        answers = request.infer([array])
        return [np.array(answers[index]) for index in range(len(self.outputs))]


def load_openvino() -> Any:
    """OpenVINO, without its telemetry.

    Importing it reports to its makers over the network; it takes a missing package for a no.

    Raises:
        MissingPackageError: If it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # None: not there
    return load_extra("openvino", "openvino")


def choose_providers(device: Device, available: list[str]) -> list[str]:
    """The providers of ONNX Runtime for a device, best first.

    Raises:
        ModelError: If the installed engine has no such device, or it is unknown.
    """
    if device not in DEVICES:
        raise ModelError(f"unknown device {device!r}; known: {', '.join(DEVICES)}")
    if device == "auto":
        device = "cuda" if PROVIDERS["cuda"][0] in available else "cpu"
    if device not in PROVIDERS:
        return [CPU]
    provider, package = PROVIDERS[device]
    if provider in available:
        return [provider, CPU]
    if device == "cuda":
        raise ModelError(
            "no CUDA in the installed ONNX Runtime: pip uninstall onnxruntime, then pip install"
            " onnxruntime-gpu (the two overwrite each other; docs/install.md)"
        )
    raise ModelError(f"no {device} in the installed ONNX Runtime: {package} has it")


def available_devices() -> list[Device]:
    """The devices that the installed engines have, without ``auto``."""
    import onnxruntime

    there = onnxruntime.get_available_providers()
    found: list[Device] = ["cpu"]
    found += [device for device in DEVICES if PROVIDERS.get(device, ("",))[0] in there]
    return found + (["openvino"] if find_spec("openvino") else [])


def auto_device(threads: int = 0) -> Device:
    """What ``auto`` stands for: the device that was measured to be the fastest on this machine.

    `rmpe doctor` measures with a thread a core. Where it has not, other engines are installed
    since, or a session has fewer threads, it is CUDA if the engine has it, else the CPU.

    Args:
        threads: Those of the session; 0 = one a core.
    """
    try:
        measured = tomllib.loads(_measured_file().read_text("utf-8"))
        fastest = measured["fastest"]
        if (
            threads in (0, os.cpu_count())
            and measured["engines"] == _engines()
            and fastest in available_devices()
        ):
            return cast(Device, fastest)
    except (OSError, ValueError, KeyError):
        pass  # not measured: that is no fault
    return "cuda" if "cuda" in available_devices() else "cpu"


def fastest_device(times: Mapping[Device, Sequence[float]]) -> Device:
    """The device that needs the least time; ``cpu`` unless another one is clearly faster.

    Args:
        times: Device -> seconds that the same work took, one number a round; with ``cpu``. The
            devices take turns, so that other work on the machine disturbs all in the same rounds.
    """
    compared: dict[Device, float] = {
        device: float(np.quantile(np.divide(seconds, times["cpu"]), ROUNDS_FASTER))
        for device, seconds in times.items()
        if device != "cpu"
    }
    faster = [device for device in compared if compared[device] <= CLEARLY_FASTER]
    return min(faster, key=lambda device: compared[device], default="cpu")


def remember_fastest(fastest: Device) -> None:
    """Note which device ``auto`` takes from now on.

    Raises:
        OutputError: If it cannot be written.
    """
    write_text(_measured_file(), f'engines = "{_engines()}"\nfastest = "{fastest}"\n')


def _measured_file() -> Path:
    return home() / "devices.toml"


def _engines() -> str:
    """What a measurement depends on: the machine and the versions of the engines."""
    from importlib.metadata import PackageNotFoundError, version  # slow to load, seldom needed

    packages = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "openvino")
    found = []
    for package in packages:
        with suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return ", ".join([platform.node(), *found])


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


def _dimensions(port: Any) -> tuple[int | None, ...]:
    """The shape of an input or output of OpenVINO; a free axis is ``None``."""
    return tuple(
        None if side.is_dynamic else side.get_length() for side in port.get_partial_shape()
    )
