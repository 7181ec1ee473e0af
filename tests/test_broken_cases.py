"""Inputs that once gave a traceback or a wrong figure: read, or refused in one line."""

import re
from pathlib import Path

import pytest
from fuzz import data_files, driver

from rmpe.errors import RmpeError

FOLDER = Path(driver.os.environ.get("RMPE_DATA", driver.ROOT.parent / "shared")) / "cases" / "fuzz"
# Group of a case -> the doors that its file was given to.
DOORS = {
    "boxes": ("boxes-annotations", "boxes-results", "boxes-results-by-number"),
    "coco": ("train", "train-lsp"),
    "ids": ("ids",),
    "journal": ("journal",),
    "learn": ("learn-pgpg-ann", "learn-nms-ann", "learn-nms-cand"),
    "card": ("card",),
    "skel": ("skeleton",),
    "train": ("train", "detector"),
    "pgpg": ("pgpg",),
    "nms": ("nms",),
}


def cases():
    found = sorted(FOLDER.glob("api/*/")) + sorted(FOLDER.glob("json/*/"))
    return found or [pytest.param(None, marks=pytest.mark.skip(reason=f"no cases in {FOLDER}"))]


def in_one_line(call):
    try:
        call()
    except RmpeError as error:
        assert len(str(error).splitlines()) == 1
        return


@pytest.mark.parametrize("case", cases(), ids=lambda case: getattr(case, "name", "none"))
def test_every_case_is_read_or_refused(case, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("hotcoco")
    files = {path.name: path for path in case.iterdir()}
    if "ann.json" in files:
        protocol = re.match(r"eval(?:special)?-([a-z]+)", case.name).group(1)
        frames = "_frames" in case.name
        found = files["res.json"] if "res.json" in files and not frames else None
        in_one_line(lambda: data_files._measured(protocol, files["ann.json"], found))
        return
    inputs = [path for name, path in files.items() if name != "note.txt"]
    group = case.name.split("_")[0]
    if not inputs:
        pytest.skip("the case is an option or a checkpoint, see its note")
    kinds = driver.kinds_of("toml" if inputs[0].suffix == ".toml" else "json")
    for kind in kinds:
        if kind.name in DOORS[group]:
            in_one_line(lambda kind=kind: kind.consume(tmp_path, inputs[0].read_bytes()))


def test_the_doors_exist():
    known = {kind.name for group in ("json", "toml") for kind in driver.kinds_of(group)}
    assert {door for doors in DOORS.values() for door in doors} <= known
