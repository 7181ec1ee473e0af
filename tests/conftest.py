"""Shared fixtures and helpers."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["tiny_models", "serving"]
ROOT = Path(__file__).resolve().parent.parent
# The rooms of the package that need torch; everything else runs without it.
TORCH_ROOMS = frozenset({"nets", "training", "export"})


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of photos, published models and reference outputs; without it tests skip."""
    root = Path(os.environ.get("RMPE_DATA", ROOT.parent / "shared"))
    if not (root / "parity").is_dir():
        pytest.skip(f"no data folder at {root}: set RMPE_DATA")
    return root


@pytest.fixture(scope="session")
def parity(data_root: Path) -> Path:
    return data_root / "parity"


@pytest.fixture(autouse=True)
def nobodys_models(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Isolate the tests from models that are installed on this machine, and from each other.

    `rmpe doctor` notes there which device is the fastest, and loads models on it from then on.
    """
    monkeypatch.setenv("RMPE_HOME", str(tmp_path_factory.mktemp("home") / "none"))
