"""Photos, tiny models and commands for the tests of the farm."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_models import JOINTS, spots

from rmpe.cli import rmpe as command
from rmpe.media.images import save_image


@pytest.fixture
def importable_stubs(monkeypatch):
    """Workers of the tests can be imported where they run."""
    paths = [str(Path(__file__).parent / "farm"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))


@pytest.fixture
def photos(tmp_path):
    """Ten photos: two of one name in two folders, names with odd characters."""
    names = [*(f"{number}.png" for number in range(6)), "sub/0.png", "sub/ä b.png", "%41'\".png"]
    for place, name in enumerate([*names, "x/y/[z]?.png"]):
        points = [(x + place % 3, y) for x, y in JOINTS]
        save_image(tmp_path / "photos" / name, spots((64, 64), points, 3))
    return tmp_path / "photos"


@pytest.fixture
def rmpe():
    """Run ``rmpe``, or ``rmpe farm`` if the first word is one of its commands."""

    def run(*arguments, **options):
        words = [str(argument) for argument in arguments]
        if words[0] in ("plan", "run", "status", "merge"):
            words.insert(0, "farm")
        return CliRunner().invoke(command, words, **options)

    return run


@pytest.fixture
def planned(tmp_path, rmpe, models, photos):
    """A run of ten photos in three shards."""
    result = rmpe("plan", photos, "--out", tmp_path / "run", "--shard", 4, *models)
    assert result.exit_code == 0, result.output
    return tmp_path / "run"


@pytest.fixture
def status(rmpe):
    return lambda run: json.loads(rmpe("status", run, "--json").stdout)
