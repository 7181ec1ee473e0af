"""Packages that only some uses need: imported when they are needed, with one line if missing."""

from importlib import import_module
from typing import Any

from rmpe.errors import MissingPackageError


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
        what = extra if extra == package else f"'rmpe[{extra}]'"
        raise MissingPackageError(f"{package} is not installed: pip install {what}") from error
