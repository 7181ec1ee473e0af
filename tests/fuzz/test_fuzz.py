"""A small slice of the fuzzing: the same doors, a fixed seed and a fixed number of tries."""

import pytest

from .driver import OUTCOMES, kinds_of, run

TRIES = {"json": 600, "toml": 300, "npz": 100}


def test_nothing_to_try():
    counts = run("npz", 0)
    assert [count.outcomes.total() for count in counts.values()] == [0]


@pytest.mark.parametrize("group", TRIES)
def test_broken_files_are_refused_in_one_line(group):
    if group in ("json", "toml"):
        pytest.importorskip("torch")
        pytest.importorskip("hotcoco")
    counts = run(group, TRIES[group], seed=1)
    assert sum(count.outcomes.total() for count in counts.values()) == TRIES[group]
    faults = {
        f"{group} {name}, try {number}": fault
        for name, count in counts.items()
        for fault, number in count.faults.items()
    }
    assert not faults


@pytest.mark.parametrize("group", TRIES)
def test_sound_files_are_read(group, tmp_path):
    """A door that refuses everything would pass the other test."""
    if group in ("json", "toml"):
        pytest.importorskip("torch")
        pytest.importorskip("hotcoco")
    counts = run(group, TRIES[group], seed=2)
    for name, count in counts.items():
        assert count.outcomes["read"], name
    assert {kind.name for kind in kinds_of(group)} == set(counts)
    assert set(count.outcomes) <= set(OUTCOMES)
