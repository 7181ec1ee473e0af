"""MOT Challenge folders: layouts, distractors, and figures against motmetrics."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from rmpe.boxes import iou, to_xyxy
from rmpe.cli.evaluate import evaluate
from rmpe.errors import DataError, UsageError
from rmpe.evaluation.benchmarks import PROTOCOLS

pytest.importorskip("scipy")


def line(frame, track, box, *rest):
    return ",".join(map(str, (frame, track, *box, *rest)))


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{one}\n" for one in lines), "utf-8")
    return path


def walk(seed, frames=30, people=5):
    """Annotated people who walk, and tracks of them with misses, swaps, jitter and ghosts."""
    rng = np.random.default_rng(seed)
    start, speed = rng.uniform(0, 400, (people, 2)), rng.uniform(-6, 6, (people, 2))
    names = np.arange(people) + 10
    truth, found = [], []
    for frame in range(1, frames + 1):
        if rng.uniform() < 0.15:
            a, b = rng.choice(people, 2, replace=False)
            names[[a, b]] = names[[b, a]]
        for person in range(people):
            x, y = start[person] + frame * speed[person]
            truth.append(line(frame, person + 1, (x, y, 50, 120), 1, 1, 1.0))
            if rng.uniform() > 0.2:
                dx, dy = rng.normal(0, 9, 2)
                found.append(line(frame, names[person], (x + dx, y + dy, 50, 120), 0.9, -1, -1, -1))
        if rng.uniform() < 0.3:
            found.append(line(frame, 99, (*rng.uniform(0, 400, 2), 50, 120), 0.5, -1, -1, -1))
    return truth, found


@pytest.mark.parametrize("seed", range(4))
def test_figures_equal_motmetrics(tmp_path, seed):
    motmetrics = pytest.importorskip("motmetrics")
    truth, found = walk(seed)
    gt, results = write(tmp_path / "gt.txt", truth), write(tmp_path / "results.txt", found)
    figures = PROTOCOLS["mot"](gt, results).figures
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    tables = [np.array([one.split(",") for one in rows], np.float64) for rows in (truth, found)]
    for frame in range(1, 31):
        people, tracks = (table[table[:, 0] == frame] for table in tables)
        overlap = iou(to_xyxy(people[:, 2:6]), to_xyxy(tracks[:, 2:6]))
        distances = np.where(overlap >= 0.5, 1 - overlap, np.nan)
        accumulator.update(people[:, 1].astype(int), tracks[:, 1].astype(int), distances)
    expected = motmetrics.metrics.create().compute(
        accumulator,
        metrics=["mota", "idf1", "num_switches", "num_misses", "num_false_positives", "recall"],
    )
    expected = expected.iloc[0]
    assert figures["switches"] == expected["num_switches"] > 0
    assert figures["misses"] == expected["num_misses"]
    assert figures["false_positives"] == expected["num_false_positives"]
    assert figures["MOTA"] == pytest.approx(100 * expected["mota"])
    assert figures["IDF1"] == pytest.approx(100 * expected["idf1"])
    assert figures["recall"] == pytest.approx(100 * expected["recall"])


BOX = (10, 10, 40, 100)
TABLE = [
    ("nothing", [], [], {"objects": 0, "answers": 0}),
    ("nobody found", [line(1, 1, BOX, 1, 1, 1)], [], {"MOTA": 0, "misses": 1}),
    ("nobody there", [], [line(1, 1, BOX)], {"false_positives": 1}),
    ("found", [line(1, 1, BOX, 1, 1, 1)], [line(1, 7, BOX)], {"MOTA": 100, "IDF1": 100}),
    ("no class, as in 2015", [line(1, 1, BOX, 1, -1, -1)], [line(1, 7, BOX)], {"MOTA": 100}),
    ("not counted", [line(1, 1, BOX, 0, 1, 1)], [], {"objects": 0}),
    ("a car", [line(1, 1, BOX, 1, 3, 1)], [line(1, 7, BOX)], {"false_positives": 1}),
    ("a mannequin", [line(1, 1, BOX, 0, 8, 1)], [line(1, 7, BOX)], {"answers": 0, "objects": 0}),
    (
        "a mannequin behind a person",
        [line(1, 1, BOX, 1, 1, 1), line(1, 2, (12, 10, 40, 100), 0, 8, 1)],
        [line(1, 7, BOX)],
        {"MOTA": 100, "answers": 1},
    ),
]


@pytest.mark.parametrize(
    ("truth", "found", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_who_counts(tmp_path, truth, found, expected):
    gt, results = write(tmp_path / "gt.txt", truth), write(tmp_path / "results.txt", found)
    figures = PROTOCOLS["mot"](gt, results).figures
    assert {name: figures[name] for name in expected} == pytest.approx(expected)


def test_folders_of_sequences(tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        truth, found = walk(seed)
        write(tmp_path / "train" / name / "gt" / "gt.txt", truth)
        write(tmp_path / "results" / f"{name}.txt", found)
    train, results = tmp_path / "train", tmp_path / "results"
    measured = PROTOCOLS["mot"](train, results)
    alone = [PROTOCOLS["mot"](train / name, results / f"{name}.txt").figures for name in "ab"]
    assert measured.figures["per_sequence"]["sequence"] == ["a", "b"]
    assert measured.figures["per_sequence"]["MOTA"] == [one["MOTA"] for one in alone]
    assert measured.figures["switches"] == sum(one["switches"] for one in alone)
    assert measured.headline(np.ones(2)) == pytest.approx(measured.figures["MOTA"])
    assert measured.headline(np.array([0.0, 1.0])) == pytest.approx(alone[1]["MOTA"])
    arguments = ["mot", "--annotations", train, "--results", results, "--json"]
    answer = CliRunner().invoke(evaluate, list(map(str, arguments)), catch_exceptions=False)
    assert json.loads(answer.stdout)["IDF1"] == pytest.approx(measured.figures["IDF1"])
    (results / "b.txt").unlink()
    for where, words in (
        ((train, results), "b.txt: the sequence has no results"),
        ((train, results / "a.txt"), "one file for the 2 sequences"),
        ((results, results), "no sequence: expected NAME/gt/gt.txt"),
        ((write(tmp_path / "short.txt", ["1,2,3"]), results / "a.txt"), "line 1 needs 6"),
        ((write(tmp_path / "text.txt", ["1,2,a,4,5,6"]), results / "a.txt"), "not MOT text"),
        ((write(tmp_path / "thin.txt", ["1,2,3,4,0,6"]), results / "a.txt"), "width and height"),
    ):
        with pytest.raises(DataError, match=words):
            PROTOCOLS["mot"](*where)
    with pytest.raises(UsageError, match="rmpe track --format mot"):
        CliRunner().invoke(
            evaluate,
            ["mot", "--annotations", str(train), "--images", str(tmp_path)],
            catch_exceptions=False,
        )
