"""Extras: one list, one line for what is missing, and `rmpe doctor` says which are there."""

import re
import sys
import tomllib

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import ROOT

from rmpe.cli import rmpe as command
from rmpe.errors import MissingPackageError
from rmpe.evaluation.figures.plots import _empty
from rmpe.evaluation.matching.clear_mot import hungarian
from rmpe.extras import EXTRAS, extra_of, missing_modules

# Distributions whose module is not called as they are.
MODULES = {"scikit-learn": "sklearn", "pyyaml": "yaml"}
# Extras of developers, which the package itself never asks for.
OURS = {"dev", "browser", "site"}


def test_the_list_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {}
    for extra, needs in project["optional-dependencies"].items():
        if extra in OURS:
            continue
        # An extra that holds another one is listed with what the other one installs.
        whole = [
            part
            for need in needs
            for part in (
                project["optional-dependencies"][need[5:-1]] if need.startswith("rmpe[") else [need]
            )
        ]
        names = [re.match(r"[\w.-]+", need)[0] for need in whole]
        declared[extra] = {MODULES.get(name, name.replace("-", "_")) for name in names}
    assert {extra: set(modules) for extra, modules in EXTRAS.items()} == declared


@pytest.mark.parametrize(
    ("package", "extra"),
    [("", None), ("numpy", None), ("torch", "train"), ("scipy", "eval"), ("ezc3d", "kinematics")],
)
def test_the_extra_of_a_package(package, extra):
    assert extra_of(package) == extra


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("scipy.optimize", lambda: hungarian(np.zeros((1, 1)))),
        ("matplotlib.figure", lambda: _empty((1, 1))),
    ],
)
def test_evaluation_without_its_extra_is_one_line(monkeypatch, module, call):
    package = module.partition(".")[0]
    for name in (package, module):
        monkeypatch.setitem(sys.modules, name, None)
    said = rf"^{package} is not installed: pip install 'rmpe\[eval\]'$"
    with pytest.raises(MissingPackageError, match=said):
        call()


def test_doctor_says_which_extras_are_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert missing_modules("heic") == ["pillow_heif"]
    said = CliRunner().invoke(command, ["doctor", "--pose", "no.onnx"]).output
    assert f"  {'rmpe[heic]':24} lacks pillow_heif: pip install 'rmpe[heic]'\n" in said
    for extra in EXTRAS:
        state = "lacks " if missing_modules(extra) else "installed\n"
        assert f"  {f'rmpe[{extra}]':24} {state}" in said
