"""Engines and devices: the same answers, and auto takes what was measured."""

import importlib.util

import cv2
import numpy as np
import pytest
from conftest import ROOT
from tiny_models import constant_model, float_models, spot_pose_model

from rmpe.cards import find_card
from rmpe.errors import ModelError, OutputError
from rmpe.media.images import read_image
from rmpe.models import shipped_models
from rmpe.runtime import (
    DEVICES,
    Session,
    auto_device,
    available_devices,
    choose_providers,
    fastest_device,
    remember_fastest,
)

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
openvino = pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="no OpenVINO")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RMPE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("device", "available", "expected"),
    [
        ("cpu", [CPU], [CPU]),
        ("cpu", [CUDA, CPU], [CPU]),
        ("auto", [CPU], [CPU]),
        ("auto", [CUDA, CPU], [CUDA, CPU]),
        ("cuda", [CUDA, CPU], [CUDA, CPU]),
        ("coreml", ["CoreMLExecutionProvider", CPU], ["CoreMLExecutionProvider", CPU]),
        ("directml", ["DmlExecutionProvider", CPU], ["DmlExecutionProvider", CPU]),
    ],
)
def test_providers(device, available, expected):
    assert choose_providers(device, available) == expected


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("cuda", "onnxruntime-gpu"),
        ("coreml", "macOS"),
        ("directml", "onnxruntime-directml"),
        ("tpu", "unknown device 'tpu'"),
    ],
)
def test_devices_that_are_not_there(device, words):
    with pytest.raises(ModelError, match=words):
        choose_providers(device, [CPU])


def test_this_machine():
    assert "cpu" in available_devices()
    assert set(available_devices()) <= set(DEVICES) - {"auto"}


@openvino
@pytest.mark.parametrize("name", sorted(shipped_models()))
def test_openvino_answers_as_onnx_runtime(name, tmp_path):
    # In float: each engine rounds int8 in its own way.
    file = float_models(tmp_path)[name]
    one = Session(file, "cpu", 1)
    other = Session(file, "openvino", 1)
    assert (one.inputs, one.outputs) == (other.inputs, other.outputs)
    assert dict(one.metadata) == dict(other.metadata)
    size = (1, 3, *find_card(one).size)
    array = np.random.default_rng(0).normal(size=size).astype(np.float32)
    for expected, got in zip(one(array), other(array), strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-3, rtol=1e-3)
    first = other(array)[0]
    other(np.zeros_like(array))
    np.testing.assert_array_equal(first, other(array)[0])  # an answer is a copy


@openvino
@pytest.mark.parametrize("name", sorted(shipped_models()))
def test_openvino_answers_nearly_as_onnx_runtime_in_int8(name):
    one, other = (Session(shipped_models()[name], engine, 1) for engine in ("cpu", "openvino"))
    height, width = find_card(one).size
    photo = cv2.resize(read_image(ROOT / "examples" / "basketball1.png"), (width, height))
    array = ((photo.astype(np.float32) - 127) / 128).transpose(2, 0, 1)[None]
    # The engines round differently, and a deep net makes that larger.
    least = {"pose-hr": 0.97}.get(name, 0.99)
    for expected, got in zip(one(array), other(array), strict=True):
        assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > least


def test_a_checkpoint_is_no_model_to_run(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"1")
    with pytest.raises(ModelError, match=r"rmpe export .*model\.safetensors --out DIR"):
        Session(tmp_path / "model.safetensors")


@openvino
def test_faults_of_openvino_are_one_line(tmp_path):
    file = tmp_path / "text.onnx"
    file.write_text("hello")
    with pytest.raises(
        ModelError, match=r"text\.onnx: not a model that OpenVINO can load"
    ) as error:
        Session(file, "openvino")
    assert "\n" not in str(error.value)
    broken = spot_pose_model(tmp_path, broken=True)
    with pytest.raises(ModelError, match="NaN"):
        Session(broken, "openvino")(np.zeros((1, 3, 64, 48), np.float32))
    with pytest.raises(ModelError, match="refused an input of shape"):
        Session(broken, "openvino")(np.zeros((1, 3, 7, 48), np.float32))


def test_auto_takes_what_was_measured(monkeypatch, home):
    monkeypatch.setattr("rmpe.runtime.available_devices", lambda: ["cpu", "cuda", "openvino"])
    assert auto_device() == "cuda"
    remember_fastest("openvino")
    assert auto_device() == "openvino"
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert auto_device(4) == "openvino"
    assert auto_device(1) == "cuda", "measured with a thread a core"
    remember_fastest("cpu")
    assert auto_device() == "cpu"
    monkeypatch.setattr("importlib.metadata.version", lambda package: "99")
    assert auto_device() == "cuda", "other engines: what was measured says nothing"
    remember_fastest("openvino")
    monkeypatch.setattr("rmpe.runtime.available_devices", lambda: ["cpu"])
    assert auto_device() == "cpu"
    (home / "devices.toml").write_text("broken = [")
    assert auto_device() == "cpu"


def test_another_device_than_the_cpu_must_be_clearly_faster():
    assert fastest_device({"cpu": [1.0]}) == "cpu"
    assert (
        fastest_device({"cpu": [1.0] * 4, "cuda": [2.0] * 4, "openvino": [0.6] * 4}) == "openvino"
    )
    assert fastest_device({"cpu": [1.0] * 4, "openvino": [0.95] * 4}) == "cpu"
    # Other work on the machine: all are slow in the same rounds, ...
    busy = {"cpu": [1.0, 5.0, 1.0, 4.0, 1.0], "openvino": [0.8, 4.0, 0.8, 3.2, 3.0]}
    assert fastest_device(busy) == "openvino"
    # ... or the CPU was unlucky in half of them.
    assert fastest_device({"cpu": [1.0, 1.0, 3.0, 3.0], "openvino": [1.0] * 4}) == "cpu"


def test_a_measurement_that_cannot_be_kept(home):
    home.write_text("a file")
    with pytest.raises(OutputError, match="home"):
        remember_fastest("cpu")


@openvino
def test_auto_loads_the_measured_engine(tmp_path, monkeypatch):
    model = constant_model(
        tmp_path,
        "c.onnx",
        {"x": ["n", 3, 4, 4]},
        np.arange(3, dtype=np.float32),
        ["n", 3],
    )
    assert Session(model).providers[0] != "OpenVINO"
    remember_fastest("openvino")
    session = Session(model)
    assert session.providers == ["OpenVINO"]
    np.testing.assert_array_equal(session(np.zeros((2, 3, 4, 4), np.float32))[0], [[0, 1, 2]] * 2)
