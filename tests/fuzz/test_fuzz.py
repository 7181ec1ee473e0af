"""A small slice of the fuzzing: the same doors, a fixed seed and a fixed number of tries."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmpe.annotations.coco import parse_coco
from rmpe.errors import DataError

from .driver import OUTCOMES, kinds_of, run

TRIES = {
    "json": 600,
    "toml": 300,
    "exchange": 120,
    "npz": 100,
    "images": 700,
    "videos": 80,
    "onnx": 90,
}
NEEDS = {"images": "PIL", "onnx": "onnx", "exchange": "yaml"}
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner)
)
KEYS = st.sampled_from(
    ["id", "image_id", "file_name", "bbox", "keypoints", "area", "iscrowd", "category_id", "name"]
)
RECORDS = st.lists(st.dictionaries(KEYS, VALUES | st.integers(0, 3)), max_size=3)


def test_nothing_to_try():
    counts = run("npz", 0)
    assert [count.outcomes.total() for count in counts.values()] == [0]


@pytest.mark.slow
@pytest.mark.parametrize("group", TRIES)
def test_broken_files_are_refused_in_one_line_and_sound_ones_read(group):
    if group in ("json", "toml"):
        pytest.importorskip("torch")
        pytest.importorskip("hotcoco")
    if group in NEEDS:
        pytest.importorskip(NEEDS[group])
    counts = run(group, TRIES[group], seed=1)
    assert sum(count.outcomes.total() for count in counts.values()) == TRIES[group]
    faults = {
        f"{group} {name}, try {number}": fault
        for name, count in counts.items()
        for fault, number in count.faults.items()
    }
    assert not faults
    # Doors that refuse everything would pass, too; a few tries may well all be broken.
    reading = [name for name, count in counts.items() if count.outcomes["read"]]
    assert len(reading) > len(counts) / 2
    assert {kind.name for kind in kinds_of(group)} == set(counts)
    assert set().union(*(count.outcomes for count in counts.values())) <= set(OUTCOMES)


@settings(max_examples=300, deadline=None)
@given(images=RECORDS | VALUES, annotations=RECORDS | VALUES, categories=RECORDS | VALUES)
def test_any_document_is_read_or_refused(images, annotations, categories):
    data = {"images": images, "annotations": annotations, "categories": categories}
    with contextlib.suppress(DataError):
        parse_coco(data, "a.json")
