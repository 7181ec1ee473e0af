"""The door of JSON, TOML and NumPy files, and the values that come through it."""

import os
from pathlib import Path

import numpy as np
import pytest

from rmpe import fields
from rmpe.checkpoints import read_header
from rmpe.errors import DataError, ModelError, RmpeError
from rmpe.evaluation.files.mot import read_mot
from rmpe.files import parse_json, parse_toml, read_arrays_of, read_bytes, read_json
from rmpe.kinematics.tracks import read_tracks

DEEP = "lists or tables nested more than 100 deep"


def test_empty_documents():
    assert parse_json(b"[]", "a") == []
    assert parse_toml(b"", "a") == {}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\x80", "not UTF-8 text"),
        (b"[" * 100000, DEEP),
        (b"[" * 101 + b"]" * 101, DEEP),
        (b"[" + b"1" * 5000 + b"]", "a number of too many digits"),
        (b'{"a": {"b": 1, "b": 2}}', "the key 'b' is in one table twice"),
    ],
)
def test_json_that_is_refused(data, message):
    with pytest.raises(DataError, match=r"a\.json: ") as error:
        parse_json(data, "a.json")
    assert message in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "data", [b"\xef\xbb\xbf[1]", b"[1]", "[1]".encode("utf-16"), b"[" * 100 + b"]" * 100]
)
def test_json_that_is_read(data):
    assert isinstance(parse_json(data, "a.json"), list)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x = ", "not TOML"),
        (b"\xff", "not UTF-8 text"),
        (b"x = " + b"[" * 100000, DEEP),
        (b"x = " + b"1" * 5000, "a number of too many digits"),
        (b"a" + b".a" * 3000 + b" = 1", DEEP),
        (b"x = 1\nx = 2", "not TOML"),
    ],
)
def test_toml_that_is_refused(data, message):
    with pytest.raises(DataError, match=r"a\.toml: ") as error:
        parse_toml(data, "a.toml")
    assert message in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "none.json", tmp_path, tmp_path / "a\0b", tmp_path / ("x" * 300)):
        with pytest.raises(DataError, match=r"cannot be read|is not the name of a file"):
            read_json(path)


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (fields.table, [], "p is a list of 0, not a table"),
        (fields.items, {}, "p is a table, not a list"),
        (fields.text, None, "p is nothing (null), not text"),
        (fields.name, "a\0b", "not the name of a file"),
        (fields.name, "", "not the name of a file"),
        (fields.flag, "true", "p is text 'true', not 0 or 1"),
        (fields.whole, 1.5, "p is 1.5, not a whole number"),
        (fields.whole, True, "p is true, not a whole number"),
        (fields.whole, 10**30, "p is a number of too many digits, not a whole number"),
        (fields.whole, float("inf"), "p is inf, not a whole number"),
        (fields.number, 10**400, "p has a number that is not finite"),
        (fields.number, "1", "p is text '1', not a number"),
        (fields.numbers, [1, "2"], "p must hold numbers only, not text '2'"),
        (fields.numbers, [1, [2]], "p must hold numbers only, not a list of 1"),
        (fields.pixels, [1e9], "larger than any picture"),
        (fields.triples, [1, 2], "p must be 3 numbers a joint, got 2 numbers"),
        (fields.text, ["x" * 500], "p is a list of 1, not text"),
    ],
)
def test_values_that_are_refused(check, value, message):
    with pytest.raises(DataError) as error:
        check(value, "p")
    assert message in str(error.value)


def test_values_that_are_read():
    assert fields.whole(3.0, "p") == 3
    assert fields.flag(1.0, "p") is True
    assert fields.numbers([], "p").tolist() == []
    assert fields.triples([[1, 2, 3], [4, 5, 6]], "p").tolist() == [[1, 2, 3], [4, 5, 6]]
    assert len(fields.shown("x" * 500)) < 80


@pytest.mark.parametrize(
    ("message", "expected"), [("", ""), ("a\nb", "a\\nb"), ("\ud800\0", "\\ud800\\x00")]
)
def test_an_error_is_one_line_whatever_it_repeats(message, expected):
    assert str(RmpeError(message)) == expected


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "it has no 'a'"),
        ({"a": np.array(["x"])}, "holds <U1, not numbers"),
        ({"a": np.array([None])}, "not a NumPy file"),
    ],
)
def test_arrays_that_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=r"x\.npz") as error:
        read_arrays_of(tmp_path / "x.npz", ("a",))
    assert message in str(error.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_may_never_end_is_refused_and_what_the_shell_hands_over_is_read(tmp_path):
    pipe = tmp_path / "annotations.json"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(DataError, match="not a regular file"):
            read_json(path)
        with pytest.raises(DataError, match="not a regular file"):
            read_mot(path)
        with pytest.raises(DataError, match="not a regular file"):
            read_tracks(path)
        with pytest.raises(ModelError, match="not a regular file"):
            read_header(path)
    reader, writer = os.pipe()
    os.write(writer, b"[1]")
    os.close(writer)
    if Path("/dev/fd").is_dir():
        assert read_bytes(Path(f"/dev/fd/{reader}")) == b"[1]"
    os.close(reader)
