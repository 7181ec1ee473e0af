"""Poses in data frames, supervision and notebooks, and back from COCO files."""

import json
import sys

import numpy as np
import pytest
from test_poses import COCO, some_poses

import rmpe
from rmpe.errors import DataError, MissingPackageError
from rmpe.extras import load_extra
from rmpe.poses import Poses
from rmpe.skeletons import load_skeleton
from rmpe.write import coco_dataset
from rmpe.write.journal import JournalRecord

PEOPLE = [Poses.empty(COCO), some_poses(1), some_poses(3, ids=[4, -1, 9])]


def with_missing(poses):
    points = poses.keypoints.copy()
    scores = poses.keypoint_scores.copy()
    points[:, 2] = np.nan
    scores[:, 2] = 0
    return poses.replace(keypoints=points, keypoint_scores=scores)


@pytest.mark.parametrize("poses", PEOPLE, ids=len)
def test_a_data_frame_has_a_row_for_each_joint(poses):
    pandas = pytest.importorskip("pandas")
    poses = with_missing(poses)
    rows = poses.to_pandas()
    assert len(rows) == 17 * len(poses)
    assert np.array_equal(
        rows[["x", "y"]].to_numpy().reshape(len(poses), 17, 2), poses.keypoints, equal_nan=True
    )
    assert rows["joint"].tolist() == list(COCO.joints) * len(poses)
    assert rows["track_id"].isna().sum() == 17 * (poses.track_ids < 0).sum()
    assert (
        rows["track_id"].dropna().tolist()
        == np.repeat(poses.track_ids[poses.track_ids >= 0], 17).tolist()
    )
    assert isinstance(rows, pandas.DataFrame)


@pytest.mark.parametrize("poses", PEOPLE, ids=len)
def test_supervision_takes_them(poses):
    supervision = pytest.importorskip("supervision")
    poses = with_missing(poses)
    found = poses.to_supervision()
    assert isinstance(found, supervision.KeyPoints) and len(found) == len(poses)
    assert (found.xy[:, 2] == 0).all()
    kept = [at for at in range(17) if at != 2]
    assert np.array_equal(found.xy[:, kept], poses.keypoints[:, kept])
    if len(poses):
        image = np.zeros((300, 300, 3), np.uint8)
        edges = [(start + 1, end + 1) for start, end in COCO.limbs]
        drawn = supervision.EdgeAnnotator(edges=edges).annotate(image.copy(), found)
        assert drawn.any()
        assert found[0].data["tracker_id"].tolist() == [poses.track_ids[0]]


@pytest.mark.parametrize("poses", PEOPLE, ids=len)
def test_a_notebook_shows_figures_and_a_line_a_person(poses):
    shown = with_missing(poses)._repr_html_()
    assert shown.count("<tr>") == (len(poses) + 1 if len(poses) else 0)
    assert shown.count("<svg") == bool(len(poses))
    assert "nan" not in shown
    if len(poses):
        between = sum(2 not in limb for limb in COCO.limbs)
        assert shown.count("<line") == between * len(poses)


@pytest.mark.parametrize("poses", PEOPLE, ids=len)
def test_poses_draw_themselves_as_the_function_does(poses):
    image = np.full((300, 300, 3), 40, np.uint8)
    style = rmpe.DrawStyle(color_by="person", boxes=True)
    drawn = poses.draw(image, style=style, min_score=0)
    assert np.array_equal(drawn, rmpe.draw_poses(image, poses, style=style, min_score=0))
    assert np.array_equal(poses.draw(image), rmpe.draw_poses(image, poses))
    assert (image == 40).all()


@pytest.mark.parametrize("poses", PEOPLE, ids=len)
def test_poses_and_results_have_a_png(poses, tmp_path):
    poses = with_missing(poses)
    shown = poses._repr_png_()
    assert (shown is None) == (len(poses) == 0)
    if shown is not None:
        picture = rmpe.read_image(shown)
        assert max(picture.shape) == 480 + 2 * 24
        assert picture.any()
    image = np.full((300, 300, 3), 40, np.uint8)
    result = rmpe.Result(tmp_path / "a.png", image, poses)
    assert np.array_equal(rmpe.read_image(result._repr_png_()), poses.draw(image))
    assert np.array_equal(rmpe.read_image(rmpe.Result(tmp_path, image)._repr_png_()), image)
    assert rmpe.Result(tmp_path, error="gone")._repr_png_() is None


def test_nothing_in_sight_has_no_picture():
    poses = some_poses(1)
    nothing = poses.replace(
        keypoints=np.full_like(poses.keypoints, np.nan), keypoint_scores=np.zeros((1, 17))
    )
    assert "<svg" not in nothing._repr_html_()
    assert nothing._repr_png_() is None


def write_json(path, data):
    path.write_text(json.dumps(data))
    return path


def test_results_come_back(tmp_path):
    poses = with_missing(some_poses(3, ids=[4, -1, 9]))
    data = poses.to_coco(7) + some_poses(1, seed=1).to_coco(8)
    found = rmpe.from_coco(write_json(tmp_path / "coco.json", data))
    assert set(found) == {7, 8}
    for name in ("keypoints", "keypoint_scores", "boxes", "scores"):
        assert np.allclose(getattr(found[7], name), getattr(poses, name), atol=2e-3, equal_nan=True)
    assert rmpe.from_coco(write_json(tmp_path / "none.json", [])) == {}


def test_a_data_set_comes_back(tmp_path):
    poses = with_missing(some_poses(2))
    records = [
        JournalRecord(number, f"{number}.jpg", str(number), f"{number}.jpg", (400, 400), people)
        for number, people in ((1, poses), (2, Poses.empty(COCO)))
    ]
    found = rmpe.from_coco(coco_dataset.write(iter(records), COCO, tmp_path))
    assert set(found) == {1, 2} and len(found[2]) == 0
    assert np.allclose(found[1].keypoints, poses.keypoints, atol=2e-3, equal_nan=True)
    assert set(np.unique(found[1].keypoint_scores)) == {0, 1}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"images": []}, "not COCO annotations"),
        ([{"image_id": 1, "score": 1, "keypoints": [1, 2, 3]}], "keypoints"),
        ([{"image_id": 1, "score": 1, "keypoints": [1, 2, 7] * 17}], r"\[0, 1\]"),
        ("text", "a list"),
    ],
)
def test_what_is_no_coco_file_is_one_line(tmp_path, data, said):
    path = write_json(tmp_path / "wrong.json", data)
    with pytest.raises(DataError, match=said) as caught:
        rmpe.from_coco(path)
    assert str(path) in str(caught.value)


def test_a_data_set_of_another_skeleton_is_one_line(tmp_path):
    records = [JournalRecord(1, "1.jpg", "1", "1.jpg", (400, 400), some_poses(1))]
    path = coco_dataset.write(iter(records), COCO, tmp_path)
    with pytest.raises(DataError, match="name the right skeleton"):
        rmpe.from_coco(path, load_skeleton("mpii16"))


@pytest.mark.parametrize("extra", ["kinematics", "pandas"])
def test_a_missing_package_is_one_line(monkeypatch, extra):
    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    monkeypatch.setitem(sys.modules, "pandas", None)
    what = "pandas" if extra == "pandas" else r"'rmpe\[kinematics\]'"
    with pytest.raises(MissingPackageError, match=f"^pandas is not installed: pip install {what}$"):
        load_extra("pandas", extra)


def test_a_package_that_lacks_another_is_not_called_missing(monkeypatch, tmp_path):
    (tmp_path / "half_there.py").write_text("import nowhere_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        load_extra("half_there", "kinematics")


def test_show_hands_a_png_to_the_notebook(monkeypatch):
    shown = []

    class Display:
        @staticmethod
        def Image(data):
            return data

        @staticmethod
        def display(data):
            shown.append(data)

    monkeypatch.setitem(sys.modules, "IPython", Display)
    monkeypatch.setitem(sys.modules, "IPython.display", Display)
    image = np.zeros((300, 300, 3), np.uint8)
    rmpe.show(image)
    rmpe.show(image, some_poses(2), rmpe.DrawStyle(color_by="person"))
    first, second = (rmpe.read_image(data) for data in shown)
    assert not first.any() and second.any()
