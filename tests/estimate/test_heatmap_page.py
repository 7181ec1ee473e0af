"""A person's heatmaps on a page: the cross lies on the heat, for every kind of answer."""

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from tiny_models import simcc_model, spot_pose_model, spots

from rmpe.affine import apply
from rmpe.cli import rmpe
from rmpe.errors import ModelError
from rmpe.estimate.crops import cut
from rmpe.estimate.heatmap_page import COLUMNS, HEIGHT, heatmap_page
from rmpe.estimate.pose_model import BoxCropper, load_pose_model
from rmpe.media.tiles import FONT, GAP, MARGIN, write_label

BOX = np.array([10, 10, 70, 110], np.float32)
CENTERS = [(30, 40), (50, 80), (25, 95)]
PHOTO = spots((120, 90), CENTERS, 3)


def tile(page, index, size):
    height, width = HEIGHT, round(size[1] * HEIGHT / size[0])
    row, column = divmod(index, COLUMNS)
    y, x = GAP + row * (height + GAP), GAP + column * (width + GAP)
    return page[y : y + height, x : x + width]


def test_heat_lies_where_the_joint_is_read(tmp_path):
    model = load_pose_model(simcc_model(tmp_path))
    page = heatmap_page(PHOTO, BOX, model, BoxCropper(model))
    crops = cut(PHOTO, model.crop_maps(BOX[None]), model.size)
    points, scores = model(crops)
    response = model.response(crops)
    assert response.shape[:2] == (1, 17)
    rows, columns = np.divmod(response[0].reshape(17, -1).argmax(axis=1), response.shape[3])
    assert np.allclose(np.stack([columns, rows], axis=1) / model.card.split, points[0])
    assert np.allclose(np.clip(response[0].max(axis=(1, 2)), 0, 1), scores[0], atol=1e-6)
    assert page.shape[0] == 3 * (HEIGHT + GAP) + GAP


@pytest.mark.parametrize("joint", range(3))
def test_a_spot_is_drawn_at_its_place(joint, tmp_path):
    model = load_pose_model(spot_pose_model(tmp_path))
    page = heatmap_page(PHOTO, BOX, model, BoxCropper(model)).astype(float)
    own = tile(page, joint + 1, model.size)[24:]  # below the name
    bright = own.sum(axis=2) > 0.7 * own.sum(axis=2).max()
    y, x = np.argwhere(bright).mean(axis=0)
    place = apply(model.crop_maps(BOX[None])[0], np.array([CENTERS[joint]]))[0]
    scale = HEIGHT / model.size[0]
    assert np.allclose([x, y + 24], (place + 0.5) * scale - 0.5, atol=2 * scale)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", 1),
        ("left_wrist 0.93", 1),
        ("12  0.40 s", 1),
        ("rmpe high resolution pose estimator 256x192, int8", 2),
        ("n" * 30 + "m" * 30, 3),
    ],
)
def test_a_long_label_is_written_whole_in_lines(monkeypatch, text, lines):
    written = {}
    monkeypatch.setattr(
        "cv2.putText", lambda _tile, line, corner, *_style: written.setdefault(line, corner)
    )
    write_label(np.zeros((HEIGHT, 240, 3), np.uint8), text)
    assert len(written) == lines
    assert "".join(written).replace(" ", "") == text.replace(" ", "")
    assert all(cv2.getTextSize(line, *FONT, 1)[0][0] <= 240 - 2 * MARGIN for line in written)


def test_models_without_heatmaps_and_photos_without_people_say_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = load_pose_model(spot_pose_model(tmp_path))
    monkeypatch.setattr(model, "_decoder", "keypoints")
    with pytest.raises(ModelError, match="not heatmaps"):
        heatmap_page(PHOTO, BOX, model, BoxCropper(model))
    cv2.imwrite("black.png", np.zeros((90, 90, 3), np.uint8))
    cv2.imwrite("spots.png", PHOTO)
    done = CliRunner().invoke(rmpe, ["heatmaps", "black.png"])
    assert "nobody was found" in str(done.exception)
    models = ["--detector", "whole-image", "--pose", str(tmp_path / "spots.onnx")]
    done = CliRunner().invoke(rmpe, ["heatmaps", "spots.png", *models])
    assert done.exit_code == 0, done.exception
    assert (tmp_path / "spots_heatmaps.png").is_file()
