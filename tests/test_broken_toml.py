"""Cards, skeletons, PGPG and NMS files with values that cannot be used."""

import tomllib

import pytest
from conftest import ROOT
from fuzz.structures import to_toml

from rmpe.cards import read_card
from rmpe.config import load_config
from rmpe.errors import DataError, ModelError
from rmpe.propose.pgpg import Pgpg
from rmpe.skeletons import load_skeleton
from rmpe.suppress import PoseNmsParameters

CARD = {"kind": "pose", "name": "x", "decoder": "dark"}
SKELETON = {
    "name": "x",
    "joints": ["a", "b"],
    "limbs": [["a", "b"]],
    "sigmas": [0.1, 0.1],
    "colors": [[1, 2, 3], [4, 5, 6]],
}


def written(folder, data):
    path = folder / "file.toml"
    path.write_bytes(to_toml(data))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"growth": float("inf")}, "growth has a number that is not finite"),
        ({"growth": float("nan")}, "growth has a number that is not finite"),
        ({"growth": 10**29}, "growth"),
        ({"growth": -1.0}, "must be above 0"),
        ({"sd": [0.0, 1.0, 1.0]}, "must be above 0"),
        ({"size": [-1, 5]}, "sides must be 0 to 8192"),
        ({"size": [10**6, 10**6]}, "sides must be 0 to 8192"),
        ({"nms": 2.0}, "must lie in"),
        ({"voters": 3}, "is for the decoders boxes and yolox only"),
        ({"kind": "detector", "decoder": "yolox", "voters": -1}, "must lie in"),
        ({"split": 0.0}, "must be above 0"),
        ({"blur": 2}, "must be 0 or an odd number"),
        ({"mean": [1.0, 2.0]}, "mean must be"),
        ({"decoder": "x"}, "decoder 'x'"),
        ({"kind": []}, "kind must be"),
        ({"skeleton": 5}, "skeleton must be str"),
    ],
)
def test_cards(tmp_path, changes, message):
    with pytest.raises(ModelError, match=r"file\.toml") as error:
        read_card(written(tmp_path, CARD | changes))
    assert message in str(error.value)


def test_the_skeleton_of_a_card_lies_beside_it(tmp_path):
    (tmp_path / "glove.toml").write_bytes(to_toml(SKELETON))
    card = read_card(written(tmp_path, CARD | {"skeleton": "glove.toml"}))
    assert load_skeleton(card.skeleton).joints == ("a", "b")
    assert read_card(written(tmp_path, CARD | {"skeleton": "none.toml"})).skeleton == "none.toml"
    assert read_card(written(tmp_path, CARD)).skeleton == "coco17"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joints": "abc"}, "joints is text 'abc', not a list"),
        ({"joints": []}, "different names"),
        ({"joints": ["a", "a"]}, "different names"),
        ({"joints": ["a", 5]}, "is 5, not text"),
        ({"joints": ["a", ""]}, "different names"),
        ({"sigmas": [float("nan"), 1.0]}, "sigmas has a number that is not finite"),
        ({"sigmas": [0.0, 1.0]}, "positive sigmas"),
        ({"sigmas": [0.1]}, "need 2 positive sigmas"),
        ({"sigmas": [1e30, 0.1]}, "is more than 1"),
        ({"sigmas": 5}, "sigmas is 5, not a list"),
        ({"limbs": [["a", "x"]]}, "does not name two of the joints"),
        ({"limbs": [["a"]]}, "does not name two of the joints"),
        ({"limbs": 10**29}, "limbs is a number of too many digits"),
        ({"colors": [[1, 2], [3, 4]]}, "must be 3 numbers"),
        ({"colors": [[1, 2, 256], [3, 4, 5]]}, "from 0 to 255"),
        ({"colors": [[1, 2, 0.5], [3, 4, 5]]}, "not a whole number"),
        ({"name": 5}, "name is 5, not text"),
    ],
)
def test_skeletons(tmp_path, changes, message):
    load_skeleton.cache_clear()
    with pytest.raises(DataError, match=r"file\.toml") as error:
        load_skeleton(str(written(tmp_path, SKELETON | changes)))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eta": 10**29}, "eta"),
        ({"eta": float("nan")}, "eta has a number that is not finite"),
        ({"sigma2": 1e-300}, "sigma2 must be above 0"),
        ({"lam": -1.0}, "lam must not be negative"),
    ],
)
def test_pose_nms(tmp_path, changes, message):
    with pytest.raises(DataError) as error:
        load_config(PoseNmsParameters, written(tmp_path, changes))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("atoms"), "it has no 'atoms'"),
        (lambda d: d.update(joints="abc"), "joints is text 'abc'"),
        (lambda d: d.update(iou=2.0), "iou is 2"),
        (lambda d: d["parts"][0].update(mean=[1.0]), "mean must be 4 numbers"),
        (lambda d: d["parts"][0].update(covariance=[[0.0] * 4] * 4), "not a PGPG file"),
        (lambda d: d["no_torso"].update(weights=[float("nan")] * len(d["parts"])), "not finite"),
        (lambda d: d["no_torso"].update(weights=[-1.0] * len(d["parts"])), "must be 0 or more"),
        (lambda d: d["atoms"][0].update(pose=[[1.0, 2.0]]), "must have"),
        (lambda d: d["atoms"][0]["pose"][0].__setitem__(0, 10**400), "too many digits|not finite"),
    ],
)
def test_pgpg(tmp_path, change, message):
    data = tomllib.loads((ROOT / "configs" / "pgpg_yolox_nano.toml").read_text())
    assert len(Pgpg.load(written(tmp_path, data)).joints) == 17
    change(data)
    with pytest.raises(DataError, match=message):
        Pgpg.load(written(tmp_path, data))
