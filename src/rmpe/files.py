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
