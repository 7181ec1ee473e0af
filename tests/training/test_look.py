"""Runs to look at: curves from the log, a page of samples."""

import json
import sys

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from small_set import write_set

torch = pytest.importorskip("torch")

from test_fit import small, trainer

from rmpe.cli.train import train
from rmpe.errors import DataError
from rmpe.skeletons import load_skeleton
from rmpe.training.look import read_log, write_curves, write_samples


def log_of(folder, rows):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "log.jsonl"


@pytest.mark.parametrize(
    ("rows", "steps"),
    [
        ([], []),
        ([{"step": 1, "pose": 1.0}, {"step": 2, "pose": 0.5}], [1, 2]),
        # resumed at 1, then at 2
        ([{"step": n, "pose": 1.0} for n in (1, 2, 3, 2, 4, 3)], [1, 2, 3]),
        # started anew
        ([{"step": n, "pose": 1.0} for n in (5, 9, 1)], [1]),
        # validated at a step that has a line
        ([{"step": 3, "pose": 1.0}, {"step": 3, "validation_AP": 0.1}], [3]),
    ],
    ids=["nothing", "two", "resumed", "anew", "validated"],
)
def test_a_log_is_read_without_what_was_done_again(rows, steps, tmp_path):
    series = read_log(log_of(tmp_path, rows))
    assert series.get("pose", ([], []))[0] == steps


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x", "not JSON"),
        ("[1]", "not a table"),
        ('{"pose": 1}', "'step'"),
        ('{"step": "a"}', "text"),
    ],
)
def test_a_damaged_log_is_one_line(line, message, tmp_path):
    (tmp_path / "log.jsonl").write_text(f'{{"step": 1, "pose": 1.0}}\n{line}\n')
    with pytest.raises(DataError, match="line 2") as caught:
        read_log(tmp_path / "log.jsonl")
    assert message in str(caught.value)


def test_curves_are_drawn_even_of_one_line_and_of_nothing(tmp_path):
    pytest.importorskip("matplotlib")
    log_of(tmp_path, [])
    assert write_curves(tmp_path) is None
    log_of(tmp_path, [{"step": 1, "time": 0, "pose": float("nan"), "lr": 1e-3}])
    image = cv2.imread(str(write_curves(tmp_path)))
    assert image.shape[0] > 300 and image.std() > 5


def test_samples_fill_a_page(tmp_path):
    pictures = [np.full((64, 48, 3), shade, np.uint8) for shade in range(30)]
    page = cv2.imread(str(write_samples(pictures, tmp_path)))
    assert page.shape == (3 * (256 + 4) + 4, 8 * (192 + 4) + 4, 3)
    shown = [
        int(page[4 + 260 * row + 9, 4 + 196 * column + 9, 0]) for row, column in [(0, 0), (2, 7)]
    ]
    assert shown == [0, 23]


def test_a_run_leaves_pictures_with_labels_where_they_are_learnt(tmp_path):
    pytest.importorskip("matplotlib")
    run = trainer(small(tmp_path, write_set(tmp_path / "set", load_skeleton("coco17"))))
    batch = run.batch(0)
    pictures = run.task.pictures(batch)
    assert len(pictures) == 4
    plain = (batch.images * 128 + 127).clamp(0, 255).permute(0, 2, 3, 1).numpy()
    for picture, image, points, weights in zip(
        pictures, plain, batch.keypoints.numpy(), batch.visible.numpy(), strict=True
    ):
        changed = np.abs(picture.astype(float) - image).max(axis=2) > 20
        for (x, y), weight in zip(points, weights, strict=True):
            inside = 1 <= x < 46 and 1 <= y < 62
            if weight > 0 and inside:
                assert changed[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].any()
        if not (weights > 0).any():
            assert not changed.any()
    run.fit()
    assert (tmp_path / "run" / "samples.png").is_file()
    assert (tmp_path / "run" / "curves.png").is_file()


def test_show_draws_without_training(tmp_path):
    file = small(tmp_path, write_set(tmp_path / "set", load_skeleton("coco17")))
    done = CliRunner().invoke(train, [str(file), "--show"])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == f"wrote {tmp_path / 'run' / 'samples.png'}"
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_training_goes_on_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    lines = []
    run = trainer(small(tmp_path, write_set(tmp_path / "set", load_skeleton("coco17"))))
    run.log = lines.append
    assert run.fit().is_file()
    assert "no curves: matplotlib is not installed: pip install 'rmpe[train]'" in lines
