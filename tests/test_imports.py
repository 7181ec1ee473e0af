"""Imports point one way, and using the package costs little."""

import ast
import subprocess
import sys

import pytest
from conftest import ROOT

PACKAGE = ROOT / "src" / "rmpe"
HEAVY = {
    "torch",
    "scipy",
    "sklearn",
    "matplotlib",
    "pandas",
    "onnx",
    "tensorboard",
    "openvino",
    "pycocotools",
    "hotcoco",
}
# A layer may import those before it, and itself.
LAYERS = [
    {"errors", "affine", "files", "config", "skeletons", "boxes", "poses"},
    {"runtime", "cards", "models"},
    {"write", "media", "draw", "propose", "suppress"},
    {"detect", "estimate", "tracking"},
    {"pipeline"},
    {"options", "streaming", "video"},
    {"evaluation", "learn", "nets", "datasets", "training", "export", "quantise"},
    {"ablation"},
    {"cli", "__main__"},
]
TORCH = {"nets", "datasets", "training", "export", "quantise", "learn"}


def modules():
    return sorted(
        path
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py" or path.parent != PACKAGE
    )


def part(path):
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imported(path, top_level_only=False):
    tree = ast.parse(path.read_text("utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(name):
    return next((level for level, names in enumerate(LAYERS) if name in names), None)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_one_way(path):
    own = layer_of(part(path))
    assert own is not None, f"{part(path)} is in no layer"
    for name in imported(path):
        if name.startswith("rmpe.") and (other := layer_of(name.split(".")[1])) is not None:
            assert other <= own, f"{path.name} imports {name}, which lies above it"


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_inference_imports_nothing_heavy(path):
    if part(path) in TORCH:
        return
    heavy = {name.split(".")[0] for name in imported(path, top_level_only=True)} & HEAVY
    assert not heavy, f"imports {heavy} at the top of the module"
    torch_rooms = {name for name in imported(path, top_level_only=True) if name.startswith("rmpe.")}
    assert not {name.split(".")[1] for name in torch_rooms} & TORCH or part(path) == "cli"


@pytest.mark.parametrize("module", ["rmpe", "rmpe.pipeline", "rmpe.cli.predict"])
def test_importing_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*(set(name.split('.')[0] for name in sys.modules) & set({sorted(HEAVY)!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_public_name_is_there():
    import rmpe

    for name in rmpe.__all__:
        assert getattr(rmpe, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'pose'"):
        _ = rmpe.pose
