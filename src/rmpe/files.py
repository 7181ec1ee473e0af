"""Reading small files whole."""

import json
from pathlib import Path
from typing import Any

from rmpe.errors import DataError


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        DataError: If it cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not JSON: {error}") from error


def read_names(path: Path) -> set[str]:
    """The lines of a text file that are neither empty nor comments.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read the list of images: {error}") from error
    return {line.strip() for line in lines if line.strip() and not line.startswith("#")}
