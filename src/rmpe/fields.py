"""Values of parsed JSON and TOML, checked one by one.

Each has the type it should have, or one line says which value in which place of which file does
not. Every reader of a user's file takes its values out with these functions, so that nothing
behind a reader has to ask again.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.errors import DataError

# Ids are kept as 64-bit integers.
LARGEST_ID = 2**63 - 1
# No picture is that large; a coordinate beyond it overflows when areas are computed from it.
LARGEST_PIXEL = 1e7
NUMBERS = {int, float, bool}
# Text of a file that is repeated in a message is cut to so many characters.
SHOWN = 60


def shown(value: Any) -> str:
    """What a value is, in a few words, for an error message."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"{value}".lower()
    if isinstance(value, str):
        return f"text {cut(value)!r}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, int) and abs(value) > LARGEST_ID:
        return "a number of too many digits"
    return cut(repr(value))


def cut(text: str) -> str:
    """A text, or its beginning where it is long."""
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def table(value: Any, place: str) -> dict[str, Any]:
    """A table (an object of JSON).

    Args:
        value: The value.
        place: Where it stands: file and key.

    Raises:
        DataError: If it is none.
    """
    if isinstance(value, dict):
        return value
    raise DataError(f"{place} is {shown(value)}, not a table")


def items(value: Any, place: str) -> list[Any]:
    """A list; arguments and errors as for `table`."""
    if isinstance(value, list):
        return value
    raise DataError(f"{place} is {shown(value)}, not a list")


def text(value: Any, place: str) -> str:
    """Text; arguments and errors as for `table`."""
    if isinstance(value, str):
        return value
    raise DataError(f"{place} is {shown(value)}, not text")


def name(value: Any, place: str) -> str:
    """The name of a file: text without a null character, not empty; as for `table`."""
    if text(value, place) and "\0" not in value and value.isprintable():
        return str(value)
    raise DataError(f"{place} is {shown(value)}, not the name of a file")


def texts(value: Any, place: str) -> tuple[str, ...]:
    """A list of text; arguments and errors as for `table`."""
    return tuple(
        text(one, f"{place}, entry {index}") for index, one in enumerate(items(value, place))
    )


def flag(value: Any, place: str) -> bool:
    """True or false, also written 1 or 0; arguments and errors as for `table`."""
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    raise DataError(f"{place} is {shown(value)}, not 0 or 1")


def whole(value: Any, place: str) -> int:
    """A whole number of at most 64 bits, also written as 3.0; as for `table`."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_ID:
        return value
    raise DataError(f"{place} is {shown(value)}, not a whole number")


def number(value: Any, place: str) -> float:
    """A finite number; arguments and errors as for `table`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            result = float(value)
        except OverflowError:
            result = math.inf
        if math.isfinite(result):
            return result
        raise DataError(f"{place} has a number that is not finite")
    raise DataError(f"{place} is {shown(value)}, not a number")


def numbers(value: Any, place: str, count: int | None = None) -> NDArray[np.float64]:
    """A list of finite numbers as ``(N,)``.

    Args:
        value: The value.
        place: Where it stands.
        count: How many there must be; any number of them if not given.

    Raises:
        DataError: If it is anything else.
    """
    rows = items(value, place)
    if set(map(type, rows)) - NUMBERS:
        wrong = [one for one in rows if not isinstance(one, int | float | np.number)]
        if wrong:
            raise DataError(f"{place} must hold numbers only, not {shown(wrong[0])}")
    if count is not None and len(rows) != count:
        raise DataError(f"{place} must be {count} numbers, got {len(rows)}")
    try:
        result = np.array(rows, np.float64)
    except OverflowError:
        result = np.array([np.inf])
    if not np.isfinite(result).all():
        raise DataError(f"{place} has a number that is not finite")
    return result


def pixels(value: Any, place: str, count: int | None = None) -> NDArray[np.float64]:
    """A list of coordinates, sides or scores as ``(N,)``, as for `numbers`.

    They must be no larger than a picture can be.
    """
    result = numbers(value, place, count)
    if result.size and np.abs(result).max() > LARGEST_PIXEL:
        raise DataError(f"{place} has a number beyond {LARGEST_PIXEL:g}, larger than any picture")
    return result


def triples(value: Any, place: str) -> NDArray[np.float64]:
    """Joints ``(K, 3)`` written flat (x, y, flag, x, ...) or as lists of three; as for `pixels`."""
    rows = items(value, place)
    if rows and all(type(row) is list and len(row) == 3 for row in rows):
        rows = [one for row in rows for one in row]
    result = pixels(rows, place)
    if len(result) % 3:
        raise DataError(f"{place} must be 3 numbers a joint, got {len(result)} numbers")
    return result.reshape(-1, 3)
