"""A release is one: the same version and dependencies everywhere, and notes that lead somewhere."""

import re
import tomllib
from importlib import import_module

import pytest
import yaml
from conftest import ROOT, TORCH_ROOMS

import rmpe

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
RECIPE = (ROOT / "deploy" / "conda" / "meta.yaml").read_text("utf-8")
CONDA_NAMES = {"opencv-python-headless": "py-opencv"}


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    recipe = re.search(r'version = "(.+?)"', RECIPE)
    newest = re.search(r"^## (\S+)", changelog, re.MULTILINE)
    versions = [PROJECT["version"], rmpe.__version__, citation["version"], recipe[1], newest[1]]
    assert len(set(versions)) == 1, versions


def test_the_conda_recipe_has_the_same_dependencies():
    run = RECIPE.partition("  run:\n")[2].partition("\n\n")[0]
    found = dict(re.findall(r"^    - (\S+) (\S+)", run, re.MULTILINE))
    wanted = {"python": PROJECT["requires-python"]}
    for line in PROJECT["dependencies"]:
        name, limit = re.fullmatch(r"([\w-]+)(.*)", line).groups()
        wanted[CONDA_NAMES.get(name, name)] = limit
    assert found == wanted


UPGRADE = (ROOT / "docs" / "upgrade.md").read_text("utf-8")
MOVES = re.findall(r"^\| (`rmpe.+?) \| (`rmpe.+?) \|$", UPGRADE, re.MULTILINE)


@pytest.mark.parametrize(("before", "now"), MOVES, ids=[before for before, _ in MOVES])
def test_what_has_moved_is_where_the_notes_say(before, now):
    """`a.b`, `c` | `x.b`, ...: every name of the left is in the package of the right."""
    names = re.findall(r"`([\w.]+)`", before)
    new = re.findall(r"`([\w.]+)`", now)[0]
    if "..." in now:
        package = new.rpartition(".")[0]
        targets = [f"{package}.{name.rpartition('.')[2]}" for name in names]
    else:
        targets = [new]
    for target in targets:
        if target.split(".")[1] in TORCH_ROOMS | {"learn"}:
            pytest.importorskip("torch")
        try:
            import_module(target)
        except ModuleNotFoundError:
            module, _, name = target.rpartition(".")
            assert hasattr(import_module(module), name), target


def test_there_is_a_move_to_check():
    assert len(MOVES) > 10


@pytest.mark.parametrize("name", ["release.yml", "test.yml"])
def test_workflows_are_valid(name):
    data = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text("utf-8"))
    for job in data["jobs"].values():
        assert job["runs-on"] and job["timeout-minutes"]
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])


def test_publishing_stores_no_secret():
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    publish = yaml.safe_load(text)["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert "secrets." not in text and "password" not in text
