"""Configurations: a TOML file becomes a tree of frozen dataclasses.

Each dataclass stands beside the code that it governs.
"""

import dataclasses
import types
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from rmpe import fields
from rmpe.errors import DataError, UsageError
from rmpe.files import parse_toml, read_toml

__all__ = ["from_mapping", "load_config", "read_toml", "to_mapping"]

T = TypeVar("T")

CONFIGS = "configs"


def shipped_configs() -> Path:
    """The folder of configurations that ship: inside the package, or beside it in a checkout."""
    packaged = Path(str(resources.files("rmpe") / "data" / CONFIGS))
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / CONFIGS


def find_shipped(path: str | Path) -> Path:
    """A file as named, or the one that ships, where there is none of that name here.

    Args:
        path: A path, one that begins with ``configs/``, or the bare name of a configuration.
    """
    path = Path(path)
    if path.exists():
        return path
    if path.parts[:1] == (CONFIGS,):
        candidate = shipped_configs().joinpath(*path.parts[1:])
    elif len(path.parts) == 1:
        candidate = shipped_configs() / f"{path.name.removesuffix('.toml')}.toml"
    else:
        return path
    return candidate if candidate.is_file() else path


def load_config(kind: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """Read a configuration.

    Args:
        kind: A dataclass; its fields may be dataclasses, tuples of them, or plain values.
        path: TOML file.
        overrides: ``key=value`` with dots for tables, as in ``optim.lr=1e-3``; values are TOML,
            bare words are strings.

    Raises:
        DataError: If the file cannot be read, or a key or value in it is wrong; the message names
            the key.
        UsageError: If an override has no ``=``.
    """
    data = read_toml(path)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            said = fields.cut(override)
            raise UsageError(f"--set {said}: write key=value, e.g. --set optim.lr=1e-3")
        keys = key.strip().split(".")
        _place(data, keys, _value(text.strip()), f"--set {fields.cut(override)}")
    return from_mapping(kind, data, str(path))


def from_mapping(kind: type[T], data: Mapping[str, Any], source: str) -> T:
    """Build a dataclass from nested mappings; ``source`` begins the error messages.

    Raises:
        DataError: If a key is unknown (the nearest one is named), missing, or its value is of the
            wrong type, or the dataclass itself refuses the values.
    """
    result: T = _build(kind, data, source, "")
    return result


def to_mapping(config: Any) -> Any:
    """The inverse of `from_mapping`: nested dictionaries and lists, ready for JSON."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {
            field.name: to_mapping(getattr(config, field.name))
            for field in dataclasses.fields(config)
        }
    if isinstance(config, tuple | list):
        return [to_mapping(item) for item in config]
    if isinstance(config, Mapping):
        return {key: to_mapping(value) for key, value in config.items()}
    return str(config) if isinstance(config, Path) else config


def _build(kind: Any, data: Any, source: str, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise DataError(f"{source}: {where} must be a table, not {fields.shown(data)}")
    hints = get_type_hints(kind)
    known = {field.name: field for field in dataclasses.fields(kind)}
    for key in data:
        if key not in known:
            near = get_close_matches(key, known, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise DataError(f"{source}: unknown key {fields.cut(_join(where, key))!r}; {hint}")
    for name, field in known.items():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and name not in data:
            raise DataError(f"{source}: missing key {_join(where, name)!r}")
    values = {
        key: _convert(hints[key], value, source, _join(where, key)) for key, value in data.items()
    }
    try:
        return kind(**values)
    except ValueError as error:
        raise DataError(f"{source}: {where or 'configuration'}: {error}") from error


def _convert(hint: Any, value: Any, source: str, where: str) -> Any:
    """``value`` as TOML gave it, as the type ``hint`` wants it."""
    origin = get_origin(hint)
    arguments = get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, source, where)
    if origin is Literal and value in arguments:
        return value
    if origin in (Union, types.UnionType):
        options = [argument for argument in arguments if argument is not type(None)]
        for option in options:
            if get_origin(option) is Literal and value in get_args(option):
                return value
        return None if value is None else _convert(options[0], value, source, where)
    if origin is tuple and isinstance(value, list):
        items = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(items) == len(value):
            return tuple(
                _convert(item, one, source, where) for item, one in zip(items, value, strict=True)
            )
    if origin is dict and isinstance(value, Mapping):
        _check_plain(value, source, where)
        return dict(value)
    if hint is Path and isinstance(value, str):
        named = fields.name(value, f"{source}: {where}") if value else ""
        return find_shipped(named) if named.startswith(f"{CONFIGS}/") else Path(named)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return fields.number(value, f"{source}: {where}")
    if hint is int and type(value) is int:
        return fields.whole(value, f"{source}: {where}")
    if isinstance(hint, type) and type(value) is hint:
        return value
    wanted = (
        " or ".join(map(repr, arguments))
        if origin is Literal
        else getattr(hint, "__name__", str(hint))
    )
    raise DataError(f"{source}: {where} must be {wanted}, not {fields.shown(value)}")


def _check_plain(value: Any, source: str, where: str) -> None:
    """That a table without a type of its own holds text, sound numbers, lists and tables only."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            _check_plain(one, source, _join(where, key))
    elif isinstance(value, list):
        for one in value:
            _check_plain(one, source, where)
    elif isinstance(value, float):
        fields.number(value, f"{source}: {where}")
    elif isinstance(value, int):
        fields.whole(int(value), f"{source}: {where}")
    elif not isinstance(value, str):
        raise DataError(f"{source}: {where} is {fields.shown(value)}, not a plain value")


def _place(data: dict[str, Any], keys: list[str], value: Any, source: str) -> None:
    for key in keys[:-1]:
        data = data.setdefault(key, {})
        if not isinstance(data, dict):
            raise UsageError(f"{source}: {fields.cut(key)!r} is not a table")
    data[keys[-1]] = value


def _value(text: str) -> Any:
    try:
        parsed = parse_toml(f"value = {text}", text)
    except DataError:
        return text
    return parsed["value"] if len(parsed) == 1 else text


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
