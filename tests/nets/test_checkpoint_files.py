"""Checkpoints and states of runs that are damaged or are none."""

import json
import pickle

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save

from rmpe.checkpoints import read_header
from rmpe.errors import DataError, ModelError
from rmpe.nets.checkpoint import build_net, load_checkpoint, probe
from rmpe.training.loop import read_state

MODEL = {"name": "tiny_localisation", "size": [64, 48]}
CONFIG = {"model": MODEL, "skeleton": "coco17", "size": [64, 48], "growth": 1.3}
MARK = []


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return {name: value.contiguous() for name, value in build_net(MODEL).state_dict().items()}


def put(folder, weights, config):
    path = folder / "x.safetensors"
    text = config if isinstance(config, str) else json.dumps(config)
    path.write_bytes(save(weights, metadata={"rmpe": text}))
    return path


def test_a_sound_one_is_read(tmp_path, weights):
    path = put(tmp_path, weights, CONFIG)
    assert read_header(path).config == CONFIG
    assert set(read_header(path).shapes) == set(weights)
    assert load_checkpoint(path)[1] == CONFIG


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[]", "configuration is a list of 0, not a table"),
        ("{", "not JSON"),
        ("[" * 5000, "nested more than 100 deep"),
        ({}, "model is nothing"),
        (CONFIG | {"model": {"name": {}}}, "'name' is a table, not text"),
        (CONFIG | {"model": {"name": "x"}}, "unknown net 'x'"),
        (CONFIG | {"model": MODEL | {"zz": 1}}, "its arguments do not fit"),
        (CONFIG | {"model": MODEL | {"size": [10**9, 10**9]}}, "beyond any net's arguments"),
        (CONFIG | {"model": MODEL | {"size": "ab"}}, "its arguments do not fit"),
        (CONFIG | {"model": {"name": "lite", "joints": 17}}, "weights do not fit"),
        (CONFIG | {"model": {"name": "lite", "joints": 10**9}}, "beyond any net's arguments"),
        (CONFIG | {"size": [64]}, "size must be a height and a width"),
        (CONFIG | {"size": {}}, "size is a table, not a list"),
        (CONFIG | {"size": [0, 0]}, "size must be a height and a width"),
        (CONFIG | {"growth": "x"}, "growth is text 'x', not a number"),
        (CONFIG | {"skeleton": 5}, "skeleton is 5, not text"),
    ],
)
def test_configurations_that_are_refused(tmp_path, weights, config, message):
    with pytest.raises(ModelError, match=r"x\.safetensors|net ") as error:
        load_checkpoint(put(tmp_path, weights, config))
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_arguments_that_fail_on_an_input_only():
    net = build_net({"name": "lite", "joints": 17, "head": [0, 0, 0, 0]})
    net.train()
    with pytest.raises(ModelError, match="net 'lite' cannot take 64 x 48 pixels"):
        probe(net, (64, 48), "lite")
    assert net.training


class Harmful:
    def __reduce__(self):
        return (MARK.append, ("run",))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([1], "not the state of a run"),
        ({"step": 3}, "not the state of a run"),
        ({"step": "x", "net": {}, "average": {}, "optimizer": {}, "config": ""}, "'step' is text"),
        ({"step": -1, "net": {}, "average": {}, "optimizer": {}, "config": ""}, "'step' is -1"),
        ({"step": 1, "net": 5, "average": {}, "optimizer": {}, "config": ""}, "'net' is 5"),
    ],
)
def test_states_that_are_refused(tmp_path, state, message):
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(DataError) as error:
        read_state(tmp_path / "state.pt", "cpu")
    assert message in str(error.value)


@pytest.mark.parametrize(
    "data", [b"", b"x" * 100, pickle.dumps({"step": Harmful()}), pickle.dumps(Harmful())]
)
def test_damaged_states_run_nothing(tmp_path, data):
    (tmp_path / "state.pt").write_bytes(data)
    with pytest.raises(DataError, match="damaged, or not the state of a run") as error:
        read_state(tmp_path / "state.pt", "cpu")
    assert len(str(error.value).splitlines()) == 1
    assert MARK == []
