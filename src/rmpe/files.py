"""Reading small files whole: the door of JSON, TOML, XML and YAML."""

import io
import json
import os
import stat
import struct
import tokenize
import tomllib
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from rmpe.errors import DataError, OutputError
from rmpe.extras import load_extra
from rmpe.fields import cut

# Levels of lists and tables in each other; no file of ours has a tenth of it.
DEEPEST = 100
# Bytes of one array in a file of arrays.
LARGEST_ARRAY = 2**30
# What Python's readers of zip archives and NumPy's of their entries raise for broken ones.
BROKEN_ARCHIVE = (
    EOFError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    ``NaN`` and infinities, which are no JSON, are let through: whoever takes the value out says in
    which entry they stand.

    Raises:
        DataError: If it cannot be read or is not JSON, a key is in one table twice, or it is nested
            too deeply.
    """
    return parse_json(read_bytes(path), str(path))


def parse_json(data: bytes | str, source: str) -> Any:
    """Parse JSON; ``source`` begins the error messages, which are those of `read_json`."""
    return _parsed(lambda: json.loads(data, object_pairs_hook=_table), source, "JSON")


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        DataError: If it cannot be read or is not TOML, or is nested too deeply.
    """
    return parse_toml(read_bytes(path), str(path))


def parse_toml(data: bytes | str, source: str) -> dict[str, Any]:
    """Parse TOML; ``source`` begins the error messages, which are those of `read_toml`."""

    def parse() -> dict[str, Any]:
        text = data if isinstance(data, str) else data.decode("utf-8").removeprefix("\ufeff")
        # The parser's time grows with the square of the parts of a dotted key.
        if any(line.partition("=")[0].count(".") > DEEPEST for line in text.splitlines()):
            raise RecursionError
        return tomllib.loads(text)

    result: dict[str, Any] = _parsed(parse, source, "TOML")
    return result


def parse_xml(data: bytes, source: str) -> Element:
    """Parse XML; ``source`` begins the error messages.

    Files with a document type are refused: only one can declare entities, with which a small file
    claims gigabytes or reads other files. No program whose files are read here writes one.

    Raises:
        DataError: If it is not XML, has a document type, or is nested too deeply.
    """
    tree = TreeBuilder()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise DataError(
                f"{source}: not a file of ours: elements nested more than {DEEPEST} deep"
            )
        tree.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        tree.end(tag)

    def refuse(*_: Any) -> None:
        raise DataError(f"{source}: XML with a document type (<!DOCTYPE>) is not read: remove it")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = tree.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # an unknown encoding
        raise DataError(f"{source}: not XML: {error}") from error
    return tree.close()


def parse_yaml(data: bytes, source: str) -> Any:
    """Parse YAML; ``source`` begins the error messages.

    Aliases are refused: with them a small file claims gigabytes.

    Raises:
        DataError: If it is not YAML, has aliases, or is nested too deeply.
        MissingPackageError: If PyYAML is not installed.
    """
    yaml = load_extra("yaml", "exchange")
    starts = (
        yaml.FlowSequenceStartToken,
        yaml.FlowMappingStartToken,
        yaml.BlockSequenceStartToken,
        yaml.BlockMappingStartToken,
    )
    ends = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)

    def parse() -> Any:
        depth = 0
        for token in yaml.scan(data):  # piece by piece: deep nesting takes long to parse
            if isinstance(token, yaml.AliasToken):
                raise ValueError("aliases (*name) are not read")
            depth += isinstance(token, starts) - isinstance(token, ends)
            if depth > DEEPEST:
                raise RecursionError
        return yaml.safe_load(data)

    try:
        return _parsed(parse, source, "YAML")
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{source}: not YAML: {reason}") from error


def is_endless(path: Path) -> bool:
    """Whether reading might never end: a device, or a named pipe that perhaps nobody writes to.

    What the shell hands over (``<(command)``, ``/dev/stdin``) has a writer and is read.

    Raises:
        OSError: If nothing can be known of it.
    """
    kind = path.stat().st_mode
    handed_over = path.parent in (Path("/dev/fd"), Path("/proc/self/fd"))
    if stat.S_ISFIFO(kind):
        return not handed_over and path != Path("/dev/stdin")
    return stat.S_ISCHR(kind) or stat.S_ISBLK(kind) or stat.S_ISSOCK(kind)


def read_bytes(path: Path) -> bytes:
    """The contents of a file.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        if is_endless(path):
            raise DataError(f"{path}: not a regular file (a pipe or a device); name a file")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a null character in the name
        raise DataError(f"{str(path)!r} is not the name of a file: {error}") from error


def read_arrays_of(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
    """Numbers from a NumPy file ``.npz``.

    Args:
        path: The file.
        names: What it must hold; anything else in it is left alone.

    Raises:
        DataError: If it cannot be read, lacks an array, or one does not hold plain numbers.
    """
    found: dict[str, NDArray[np.float64]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(path))) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            for name in names:
                if f"{name}.npy" not in sizes:
                    raise DataError(f"{path}: needs arrays {', '.join(names)}; it has no {name!r}")
                if sizes[f"{name}.npy"] > LARGEST_ARRAY:
                    raise DataError(f"{path}: array {name!r} is too large")
                with archive.open(f"{name}.npy") as entry:
                    array = np.lib.format.read_array(entry, allow_pickle=False)
                if array.dtype.kind not in "biuf":
                    raise DataError(f"{path}: array {name!r} holds {array.dtype}, not numbers")
                found[name] = array.astype(np.float64)
    except (*BROKEN_ARCHIVE, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{path}: not a NumPy file of arrays (.npz): {reason}") from error
    return found


def make_folder(path: Path) -> None:
    """Make a folder, and those it lies in, if it is not there.

    Raises:
        OutputError: If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: cannot make the folder: {reason}") from error


def read_names(path: Path) -> set[str]:
    """The lines of a text file that are neither empty nor comments.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        lines = read_bytes(path).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot read the list of images: {error}") from error
    return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def home() -> Path:
    """The user's folder: ``$RMPE_HOME``, else ``~/.rmpe``."""
    return Path(os.environ.get("RMPE_HOME") or Path.home() / ".rmpe")


def is_file(path: Path) -> bool:
    """Whether a path is a file; also for names that the system does not take."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _parsed(parse: Callable[[], Any], source: str, language: str) -> Any:
    try:
        result = parse()
        if _too_deep(result):
            raise RecursionError
    except RecursionError as error:
        raise DataError(
            f"{source}: not a file of ours: lists or tables nested more than {DEEPEST} deep"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: not {language}: not UTF-8 text: {error.reason}") from error
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{source}: not {language}: {error}") from error
    except ValueError as error:  # Python converts no number of more than 4300 digits
        reason = "a number of too many digits" if "digits" in str(error) else str(error)
        raise DataError(f"{source}: not {language}: {reason}") from error
    return result


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        double = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {cut(double)!r} is in one table twice")
    return result


def _too_deep(value: Any) -> bool:
    """Whether a document is nested deeper than `DEEPEST`: level by level, not by recursion."""
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _nested(outer)]
        if not level:
            return False
    return True


def _nested(value: Any) -> list[Any]:
    """The lists and tables in one."""
    if not isinstance(value, list | dict):
        return []
    entries = value.values() if isinstance(value, dict) else value
    if {list, dict}.isdisjoint(map(type, entries)):  # the many lists of numbers
        return []
    return [entry for entry in entries if isinstance(entry, list | dict)]
