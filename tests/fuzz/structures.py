"""Mutation of parsed documents: what people and broken programs do to JSON and TOML files."""

import copy
import json
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

Path = tuple[Any, ...]

# Values that turn up where others belong.
ODD: tuple[Any, ...] = (
    0, 1, -1, 2, 0.5, 3.7, -0.0, 1e-300, 1e39, 1e308, -1e308, math.inf, -math.inf, math.nan,
    2**31, 2**63, -(2**63) - 1, 10**29, -(10**28), 10**400, True, False, None,
    "", " ", "x", "0", "1", "1.5", "nan", "\0", "\n", "../../x", "/", "\ud800", "é" * 100,
    "x" * 5000,
    [], {}, [None], [[]], [1, 2, 3], [1, 2, 3, 4, 5], ["a", "a", "a", "a"], {"a": 1}, {"id": 1},
    [1] * 300, [[1, 2], [3]],
)  # fmt: skip
# Whole files that are none.
FILES = (
    b"", b" ", b"\0", b"null", b"1", b'"x"', b"[]", b"{}", b"[1]", b"[[]]", b"[null]", b"{", b"[",
    b"\xff\xfe", b"\xef\xbb\xbf[]", b"\xef\xbb\xbf{}", b"[" * 100000, b'{"a":' * 100000,
    b"[" * 400 + b"]" * 400, b"[" + b"1" * 5000 + b"]", b"[NaN]", b"[1e999]", b'{"a":1,"a":2}',
    b'{"images":[1],"annotations":[2]}', b'{"images":[],"annotations":[]}',
    b'{"images":[],"annotations":[],"categories":[]}', b"x = " + b"[" * 100000,
    b"x = " + b"1" * 5000, b"x.y = 1", b"a" + b".a" * 3000 + b" = 1", b"\x80abc",
)  # fmt: skip


def places(data: Any, path: Path = ()) -> Iterator[Path]:
    """Where every value of a document stands."""
    entries: Any = ()
    if isinstance(data, dict):
        entries = data.items()
    elif isinstance(data, list):
        entries = enumerate(data)
    for key, value in entries:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutated(generator: random.Random, document: Any) -> Any:
    """A copy of a document with one to three things wrong in it."""
    data = copy.deepcopy(document)
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        known = list(places(data))
        if not known:
            return generator.choice(ODD)
        # Every depth alike: else the many numbers of the keypoints hide everything else.
        depth = generator.choice(sorted({len(path) for path in known}))
        _change(generator, data, generator.choice([path for path in known if len(path) == depth]))
    return data


def _change(generator: random.Random, data: Any, path: Path) -> None:
    parent = _at(data, path[:-1])
    key = path[-1]
    change = generator.choice(
        ("set", "set", "set", "delete", "swap", "rename", "double", "shorten", "extend", "wrap")
    )
    value = parent[key]
    if change == "set":
        parent[key] = copy.deepcopy(generator.choice(ODD))
    elif change == "delete":
        del parent[key]
    elif change == "wrap":
        parent[key] = [value]
    elif change == "rename" and isinstance(parent, dict):
        parent[generator.choice(("x", "", f"{key}s", str(key).upper()))] = parent.pop(key)
    elif change == "double" and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(value))
    elif change == "shorten" and isinstance(value, list):
        del value[generator.randrange(len(value) + 1) :]
    elif change == "extend" and isinstance(value, list):
        value.append(copy.deepcopy(generator.choice(ODD)))
    else:  # swap with a value from anywhere that does not hold it
        others = [place for place in places(data) if place[: len(path)] != path]
        other = generator.choice(others or [path])
        parent[key] = copy.deepcopy(_at(data, other))


def _at(data: Any, path: Path) -> Any:
    for key in path:
        data = data[key]
    return data


def broken(write: Callable[[Any], bytes], generator: random.Random, document: Any) -> bytes:
    """A mutated document as a file, sometimes broken as bytes, too."""
    choice = generator.random()
    if choice < 0.04:
        return generator.choice(FILES)
    data = write(mutated(generator, document)) if choice < 0.9 else write(document)
    return damaged(generator, data) if choice >= 0.88 else data


def damaged(generator: random.Random, data: bytes) -> bytes:
    """Bytes flipped, cut off, doubled or put in."""
    result = bytearray(data)
    for _ in range(generator.choice((1, 1, 3, 20))):
        place = generator.randrange(len(result) + 1)
        change = generator.choice(("flip", "cut", "insert", "double", "drop"))
        if change == "flip" and place < len(result):
            result[place] ^= 1 << generator.randrange(8)
        elif change == "cut":
            del result[place:]
        elif change == "insert":
            result[place:place] = generator.choice(
                (b"\0", b"\xff", b"[", b"}", b",", b"-", b'"', b"e9")
            )
        elif change == "double":
            result[place:place] = result[place : place + 40]
        else:
            del result[place : place + generator.randrange(1, 40)]
    return bytes(result)


def to_json(data: Any) -> bytes:
    """JSON with all that Python's own writer lets through: NaN, infinities, half a surrogate."""
    return json.dumps(data).encode()


def to_toml(data: Any) -> bytes:
    """TOML of a document, tables inline; what TOML cannot say is text."""
    if not isinstance(data, dict):
        return b"x = " + _toml(data).encode("utf-8", "surrogatepass")
    lines = [f"{_key(key)} = {_toml(value)}\n" for key, value in data.items()]
    return "".join(lines).encode("utf-8", "surrogatepass")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, int | float):
        return repr(value)
    return _quoted(str(value))


def _key(key: Any) -> str:
    return _quoted(str(key))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
