"""docs/results.md holds exactly the recorded figures, and a record is what was measured."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from record import RESULTS, record, show
from render_results import DOCUMENT, render


def save(folder, rows, columns=("what", "AP"), name="table"):
    return record(
        name,
        title="T",
        command="c",
        data="d",
        columns=list(columns),
        rows=rows,
        notes="n",
        folder=folder,
    )


def test_document_is_generated_from_the_files():
    assert DOCUMENT.read_text("utf-8") == render(), "run: python benchmarks/render_results.py"


def test_every_record_is_whole():
    for path in RESULTS.glob("*.json"):
        result = json.loads(path.read_text("utf-8"))
        assert all(
            result[key]
            for key in ("title", "command", "data", "date", "commit", "machine", "columns")
        ), path
        assert all(len(row) == len(result["columns"]) for row in result["rows"]), path
        script = next((word for word in result["command"].split() if word.endswith(".py")), None)
        assert script is None or (ROOT / script).is_file(), f"{path}: {script} does not exist"


def test_record_keeps_full_precision(tmp_path):
    path = save(tmp_path, [["a", np.float64(1 / 3)], ["b", None], ["c", 12345.678]])
    assert json.loads(path.read_text("utf-8"))["rows"] == [
        ["a", 1 / 3],
        ["b", None],
        ["c", 12345.678],
    ]
    assert "| a | 0.3333 |\n| b | - |\n| c | 12346 |" in render(tmp_path)


def test_empty_folder_renders(tmp_path):
    assert render(tmp_path).startswith("# Results")


@pytest.mark.parametrize(
    ("rows", "name", "message"),
    [
        ([["a"]], "table", "2 columns"),
        ([["a", float("nan")]], "table", "finite"),
        ([["a", [1]]], "table", "not list"),
        ([], "Bad name", "lower case"),
    ],
)
def test_record_refuses(tmp_path, rows, name, message):
    with pytest.raises(ValueError, match=message):
        save(tmp_path, rows, name=name)


@pytest.mark.parametrize("wanted", [True, False])
def test_a_table_is_shown_and_kept_if_wanted(tmp_path, capsys, wanted):
    about = {"title": "T", "command": "c", "data": "d", "notes": "n", "columns": ["what", "AP"]}
    show("table", save=wanted, **about, rows=[["first one", 1 / 3], ["b", None]], folder=tmp_path)
    assert capsys.readouterr().out == "\nT\nwhat       AP\nfirst one  0.3333\nb          -\nn\n"
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"] * wanted
