"""Imports point one way, and using the package costs little."""

import ast
import subprocess
import sys

import pytest
from conftest import ROOT, TORCH_ROOMS

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
    "pyarrow",
    "fsspec",
    "ray",
    "ezc3d",
    "supervision",
    "IPython",
}
# A layer may import those before it, and itself.
LAYERS = [
    {"errors", "extras", "affine", "fields", "files", "atomic", "config", "skeletons", "svg"},
    {"annotations", "boxes", "poses"},
    {"runtime", "cards", "models", "catalogue", "download", "checkpoints"},
    {"write", "media", "draw", "faces", "trails", "notebook", "propose", "suppress"},
    {"detect", "estimate", "tracking"},
    {"associate"},
    {"pipeline", "install"},
    {"one_stage"},
    {"options", "streaming", "video"},
    {"kinematics", "exchange"},
    {"evaluation.files"},
    {"evaluation.matching"},
    {"evaluation.protocols"},
    {"evaluation.figures"},
    {"evaluation.benchmarks", "evaluation"},
    {"rounding"},
    {"learn", "datasets", "nets", "quantise"},
    {"training", "export"},
    {"training.pose", "training.detector"},
    {"ablation", "serve", "farm"},
    {"cli", "__main__"},
]
HEAVY_ROOMS = TORCH_ROOMS | {
    "quantise",
    "rounding",
    "learn",
}  # these may import scikit-learn or onnx on top


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
each_file = pytest.mark.parametrize(
    "path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix()
)


def name_of(path):
    """``media.video`` for media/video.py; ``media`` for media/__init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path) for path in FILES}


def room(name):
    return name.split(".")[0]


def imports(tree, hidden):
    """Modules imported at the top of the file, or ``hidden`` in functions; types do not count."""
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside |= {id(child) for child in ast.walk(node)}
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            inside |= {id(child) for child in ast.walk(node)}
            hidden_types = {id(child) for child in ast.walk(node)}
            for child in ast.walk(node):
                child.types_only = id(child) in hidden_types
    for node in ast.walk(tree):
        if (id(node) in inside) != hidden or getattr(node, "types_only", False):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full.removeprefix("rmpe.") in MODULES else node.module


def ours(path, *, hidden=False):
    """Names of our modules that a file imports, without ``rmpe.``."""
    tree = ast.parse(path.read_text("utf-8"))
    return {
        name.removeprefix("rmpe.") for name in imports(tree, hidden) if name.startswith("rmpe.")
    } & MODULES


def others(path):
    """Top-level packages of others that a file imports when it is loaded."""
    return {name.split(".")[0] for name in imports(ast.parse(path.read_text("utf-8")), False)}


def layer_of(name):
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        for level, names in enumerate(LAYERS):
            if ".".join(parts[:length]) in names:
                return level
    raise AssertionError(f"{name} is in no layer")


@each_file
def test_imports_point_one_way(path):
    own = layer_of(name_of(path))
    for name in ours(path) | ours(path, hidden=True):
        assert layer_of(name) <= own, f"imports {name}, which lies above it"


def test_no_import_circles():
    below = {name_of(path): ours(path) | ours(path, hidden=True) for path in FILES}
    while leaves := [name for name, names in below.items() if not names & below.keys() - {name}]:
        for name in leaves:
            del below[name]
    assert not below, f"these import each other: {sorted(below)}"


@each_file
def test_no_import_hides_in_a_function_but_to_load_heavy_libraries_late(path):
    hidden = {name for name in ours(path, hidden=True) if not weighs(name, set())}
    assert not hidden, f"import at the top: {sorted(hidden)}"


def weighs(name, seen):
    """Whether loading one of our modules loads a heavy library."""
    seen.add(name)
    file = PACKAGE / f"{name.replace('.', '/')}.py"
    path = file if file.is_file() else file.with_suffix("") / "__init__.py"
    return bool(others(path) & (HEAVY | {"av", "fastapi", "uvicorn"})) or any(
        weighs(other, seen) for other in ours(path) - seen
    )


@each_file
def test_heavy_libraries_stay_in_their_rooms(path):
    name = name_of(path)
    if room(name) not in HEAVY_ROOMS:
        assert not others(path) & HEAVY
        assert not {room(other) for other in ours(path)} & TORCH_ROOMS
    assert "torch" not in others(path) or room(name) in TORCH_ROOMS


@pytest.mark.parametrize("module", ["rmpe", "rmpe.pipeline", "rmpe.cli.predict"])
def test_importing_loads_nothing_heavy(module):
    loaded = "{name.split('.')[0] for name in sys.modules}"
    code = f"import sys, {module}; print(*({loaded} & set({sorted(HEAVY)!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_public_name_is_there():
    import rmpe

    for name in rmpe.__all__:
        assert getattr(rmpe, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'pose'"):
        _ = rmpe.pose
