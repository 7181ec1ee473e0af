"""The pages of results hold exactly the recorded figures, and a record is what was measured."""

import json
import re
import subprocess
from dataclasses import replace

import click
import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("matplotlib")
from PIL import Image

from benchmarks import options, record
from benchmarks.pages import OTHERS, PAGES, SCRIPTS, Table, chance
from benchmarks.plots import digest
from benchmarks.record import RESULTS, ROOT, DirtyTreeError, Record, clean_commit, read
from benchmarks.render import anchor, cells_of, render, table_lines

PLAIN = Record("name", "T", "rmpe", "d", "2026-01-01", "abc1234", "m", "", ["what", "AP"], [])
NUMBER = re.compile(r"-?\d+(?:\.(\d+))?")


def test_documents_are_generated_from_the_files() -> None:
    for path, text in render().items():
        assert (ROOT / path).read_text("utf-8") == text, "run: python -m benchmarks.render"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_plots_are_drawn_from_the_files(page) -> None:
    with Image.open(ROOT / page.plot) as image:
        assert image.text["Records"] == digest(read, page.drawn), "run: python -m benchmarks.render"


def test_every_record_is_whole_and_on_a_page() -> None:
    shown = {table.record for page in PAGES for table in page.tables}
    recorded = {path.stem for path in RESULTS.glob("*.json")}
    assert recorded == shown, "say in benchmarks/pages.py which page shows it"
    for name in shown:
        table = read(name)
        for attribute in ("title", "command", "data", "date", "commit", "machine", "columns"):
            assert getattr(table, attribute), (name, attribute)
        assert all(len(row) == len(table.columns) for row in table.rows), name


def test_every_script_of_the_index_exists_and_every_benchmark_is_in_it() -> None:
    benchmarks = ROOT / "benchmarks"
    files = [file for file in benchmarks.glob("*/*.py") if file.stem != "__init__"]
    commands = {file for file in files if '"__main__"' in file.read_text("utf-8")}
    modules = [script.module for script in SCRIPTS] + [name for name in OTHERS if "." in name]
    named = {benchmarks / f"{module.replace('.', '/')}.py" for module in modules}
    assert named == commands


def test_links_of_the_indexes_lead_to_headings() -> None:
    for index in ("docs/results.md", "benchmarks/README.md"):
        text = (ROOT / index).read_text("utf-8")
        links = re.findall(r"\]\(([^)#]+)#([^)]+)\)", text)
        assert links
        for page, heading in links:
            lines = ((ROOT / index).parent / page).read_text("utf-8").splitlines()
            assert heading in {anchor(line[3:]) for line in lines if line.startswith("## ")}, (
                heading
            )


def test_columns_have_one_rounding() -> None:
    for page in PAGES:
        for table in page.tables:
            head, rows, _ = cells_of(table, read(table.record))
            for name, column in zip(head, zip(*rows, strict=True), strict=True):
                if name in table.mixed:
                    continue
                numbers = [NUMBER.fullmatch(cell) for cell in column if cell]
                decimals = {len(number[1] or "") for number in numbers if number}
                assert len(decimals) <= 1, (table.record, name, decimals)
                assert max(decimals, default=0) <= 6, (table.record, name)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([["a", 1], ["a", 2]], ["what", "AP"], "two rows are called"),
        ([list("abcdefghijk")], list("abcdefghijk"), "11 columns"),
    ],
)
def test_a_table_that_cannot_be_read_is_not_rendered(rows, columns, message) -> None:
    with pytest.raises(ValueError, match=message):
        table_lines(Table("name", None), replace(PLAIN, columns=columns, rows=rows))


def test_cells_are_rounded_and_empty_columns_left_out() -> None:
    rows = [["a", 1 / 3, None, True], ["b", -0.0001, None, False]]
    table = replace(PLAIN, columns=["what", "AP", "none", "same"], rows=rows)
    lines = table_lines(Table("name", None, digits={"AP": 2}), table)
    assert lines[:4] == [
        "| what | AP | same |",
        "| :--- | ---: | :--- |",
        "| a | 0.33 | yes |",
        "| b | 0.00 | no |",
    ]
    assert table_lines(Table("name", None, show=("what", "AP")), PLAIN)[0] == "| what | AP |"


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        ("+0.0 [-0.0, +0.0]", "within chance"),
        ("-0.2 [-1.2, +0.5]", "within chance"),
        ("-1.0 [-1.8, -0.1]", "beyond chance"),
        ("+7.1 [+5.1, +9.0]", "beyond chance"),
    ],
)
def test_an_interval_without_zero_is_beyond_chance(difference, words) -> None:
    assert chance(difference) == words


def test_a_cell_is_looked_up_by_the_one_row_of_that_name() -> None:
    table = replace(PLAIN, rows=[["a", 1], ["b", 2], ["b", 3]])
    assert table.at("AP", "a") == 1
    for name in ("b", "c"):
        with pytest.raises(KeyError, match="rows begin with"):
            table.at("AP", name)


def git(folder, *arguments) -> None:
    name = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    subprocess.run(["git", *name, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "src" / "code.py").write_text("1\n")
    (tmp_path / "docs" / "page.md").write_text("1\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "clean"),
    [
        (None, True),
        ("docs/page.md", True),
        ("src/code.py", False),
        ("src/new.py", False),
        ("benchmarks/new.py", False),
    ],
)
def test_a_table_is_only_recorded_from_a_clean_tree(checkout, file, clean) -> None:
    if file:
        (checkout / file).parent.mkdir(exist_ok=True)
        (checkout / file).write_text("2\n")
    if clean:
        assert re.fullmatch(r"[0-9a-f]{7,}", clean_commit(checkout))
    else:
        with pytest.raises(DirtyTreeError, match=file):
            clean_commit(checkout)


def test_a_table_is_only_recorded_in_a_checkout(tmp_path) -> None:
    with pytest.raises(DirtyTreeError, match="git checkout"):
        clean_commit(tmp_path)


def test_a_dirty_tree_is_refused_before_anything_is_measured(monkeypatch) -> None:
    def dirty() -> None:
        raise DirtyTreeError("commit these changes")

    @options.benchmark("save")
    def command(save) -> None:
        click.echo(f"measured, save {save}")

    monkeypatch.setattr(options, "clean_commit", dirty)
    assert "measured, save False" in CliRunner().invoke(command, []).output
    refused = CliRunner().invoke(command, ["--save"])
    assert refused.exit_code == 2
    assert "commit these changes" in refused.output
    assert "measured" not in refused.output


@pytest.fixture
def clean(monkeypatch) -> None:
    monkeypatch.setattr(record, "clean_commit", lambda: "abc1234")


def save(folder, rows, name="table"):
    about = {"title": "T", "command": "c", "data": "d", "notes": "n", "columns": ["what", "AP"]}
    return record.record(name, rows=rows, folder=folder, **about)


def test_a_record_keeps_full_precision(tmp_path, clean) -> None:
    rows = [["a", np.float64(1 / 3)], ["b", None], ["c", 12345.678]]
    path = save(tmp_path, rows)
    assert json.loads(path.read_text("utf-8"))["rows"] == [
        ["a", 1 / 3],
        ["b", None],
        ["c", 12345.678],
    ]
    assert read("table", tmp_path).commit == "abc1234"


def test_a_dirty_tree_is_not_recorded(tmp_path, monkeypatch) -> None:
    def dirty() -> None:
        raise DirtyTreeError("commit these changes")

    monkeypatch.setattr(record, "clean_commit", dirty)
    with pytest.raises(DirtyTreeError):
        save(tmp_path, [["a", 1]])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("rows", "name", "message"),
    [
        ([["a"]], "table", "2 columns"),
        ([["a", float("nan")]], "table", "finite"),
        ([["a", [1]]], "table", "not list"),
        ([], "Bad name", "lower case"),
    ],
)
def test_record_refuses(tmp_path, clean, rows, name, message) -> None:
    with pytest.raises(ValueError, match=message):
        save(tmp_path, rows, name=name)


@pytest.mark.parametrize("wanted", [True, False])
def test_a_table_is_shown_and_kept_if_wanted(tmp_path, clean, capsys, wanted) -> None:
    about = {"title": "T", "command": "c", "data": "d", "notes": "n", "columns": ["what", "AP"]}
    rows = [["first one", 1 / 3], ["b", None]]
    record.show("table", save=wanted, **about, rows=rows, folder=tmp_path)
    assert capsys.readouterr().out == "\nT\nwhat       AP\nfirst one  0.3333\nb          -\nn\n"
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"] * wanted


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ([], ""),
        (["--save", "--threads", "2"], " --save --threads 2"),
        (["--data", "/mnt/data", "--save"], " --save"),
        (["--data=/mnt/data", "a file"], " 'a file'"),
    ],
)
def test_the_command_is_recorded_without_the_machines_own_paths(
    monkeypatch, arguments, kept
) -> None:
    monkeypatch.setattr(record.sys, "argv", ["x", *arguments])
    assert re.fullmatch(rf"python -m [\w.]+{re.escape(kept)}", record.this_command())
