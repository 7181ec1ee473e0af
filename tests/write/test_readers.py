"""Result files in the programs that they are for; a program that is not installed is skipped."""

import json
import re

import numpy as np
import pytest

from rmpe.poses import Poses
from rmpe.skeletons import load_skeleton
from rmpe.write import coco, coco_dataset, mot, openpose, table, trc
from rmpe.write.journal import JournalRecord

COCO17 = load_skeleton("coco17")
ODD_NAMES = [
    "plain.jpg",
    "ä 写真.jpg",
    'comma, "quote".jpg',
    "line\nbreak.jpg",
    "not text \udcff.jpg",
]


def people(ids, x=10.0, missing=()):
    """Poses with the given track ids; the joints of ``missing`` are not found."""
    points = np.arange(17 * 2).reshape(1, 17, 2) + np.array(ids).reshape(-1, 1, 1) * 5 + x
    points = points.astype(np.float32).reshape(-1, 17, 2)
    scores = np.full((len(ids), 17), 0.5)
    points[:, list(missing)] = np.nan
    scores[:, list(missing)] = 0
    boxes = np.array([(x, 10, x + 16, 40)] * len(ids)).reshape(-1, 4)
    return Poses(points, scores, np.full(len(ids), 0.75), boxes, COCO17, ids)


def frame(index, ids=(0,), fps=10.0, missing=(), name=""):
    name = name or f"clip_{index:06d}.jpg"
    where = (name, name.removesuffix(".jpg"), "clip.mp4", (100, 200))
    return JournalRecord(index, *where, people(ids, missing=missing), index / 10, fps=fps)


def photo(number, name):
    return JournalRecord(
        number, name, name.removesuffix(".jpg"), name, (100, 200), people((-1, -1))
    )


TRACKS = {
    "one frame": [frame(3)],
    "whole": [frame(index) for index in range(6)],
    "last joint missing": [frame(index, missing=(16,)) for index in range(6)],
    "all joints missing": [frame(index, missing=range(17)) for index in range(6)],
    "last joints missing at times": [
        frame(index, missing=(15, 16) if index % 2 else ()) for index in range(6)
    ],
    "out of sight": [frame(index, (0,) if index not in {2, 3} else ()) for index in range(6)],
    "damaged frames": [frame(index) for index in (0, 1, 5, 6)],
    "two people": [frame(index, (0, 7)) for index in range(6)],
}


@pytest.mark.parametrize("kind", TRACKS)
def test_opensim_reads_every_trc(tmp_path, kind):
    opensim = pytest.importorskip("opensim")
    folder = trc.write(iter(TRACKS[kind]), COCO17, tmp_path)
    files = sorted(folder.iterdir())
    assert len(files) == (2 if kind == "two people" else 1)
    for path in files:
        rows = opensim.TimeSeriesTableVec3(str(path))
        numbers = [record.image_id for record in TRACKS[kind]]
        assert rows.getNumRows() == numbers[-1] - numbers[0] + 1
        assert np.allclose(rows.getIndependentColumn(), np.arange(numbers[0], numbers[-1] + 1) / 10)
        assert list(rows.getColumnLabels()) == list(COCO17.joints)
        markers = opensim.MarkerData(str(path))
        assert markers.getDataRate() == 10
        markers.convertToUnits(opensim.Units("m"))
        references = opensim.MarkersReference(
            str(path), opensim.SetMarkerWeights(), opensim.Units("m")
        )
        assert references.getNumRefs() == len(COCO17)
        if kind == "whole":
            nose = rows.getDependentColumn("nose").getElt(0, 0)
            assert np.allclose([nose[axis] for axis in range(3)], (10, 100 - 11, 0))


@pytest.mark.parametrize("kind", TRACKS)
def test_a_trc_says_its_scale_and_the_rate_of_the_clip(tmp_path, kind):
    for path in trc.write(iter(TRACKS[kind]), COCO17, tmp_path).iterdir():
        first, keys, values, *_, body = path.read_text().split("\n", 6)
        assert first.split("\t")[3:] == [path.name, "1 px is written as 1 mm"]
        header = dict(zip(keys.split("\t"), values.split("\t"), strict=True))
        assert (header["DataRate"], header["Units"]) == ("10.000", "mm")
        rows = [line.split("\t") for line in body.splitlines()]
        assert {len(row) for row in rows} == {2 + 3 * 17}
        assert all(cell for row in rows for cell in row)
        assert [int(row[0]) for row in rows] == list(
            range(TRACKS[kind][0].image_id + 1, TRACKS[kind][-1].image_id + 2)
        )


@pytest.mark.parametrize(
    ("records", "rate"),
    [
        ([frame(index, fps=0.0) for index in (0, 1, 5, 6)], "10.000"),  # by the times of its frames
        ([frame(0, fps=0.0)], "1.000"),
        ([frame(index, fps=30000 / 1001) for index in range(3)], "29.970"),
    ],
)
def test_the_rate_where_the_video_does_or_does_not_say(tmp_path, records, rate):
    (path,) = trc.write(iter(records), COCO17, tmp_path).iterdir()
    assert path.read_text().split("\n")[2].split("\t")[0] == rate


def test_pandas_reads_a_trc(tmp_path):
    pandas = pytest.importorskip("pandas")
    (path,) = trc.write(iter(TRACKS["out of sight"]), COCO17, tmp_path).iterdir()
    rows = pandas.read_csv(path, sep="\t", skiprows=6, header=None)
    assert rows.shape == (6, 2 + 3 * 17)
    assert rows[2].isna().tolist() == [False, False, True, True, False, False]


def test_a_cases_file_shows_what_opensim_refuses(data_root):
    opensim = pytest.importorskip("opensim")
    broken = data_root / "cases/trc_last_joint_missing/person_0003.trc"
    with pytest.raises(RuntimeError, match="Unexpected number of columns"):
        opensim.TimeSeriesTableVec3(str(broken))


@pytest.mark.parametrize("records", [[], [photo(1, name) for name in ODD_NAMES]])
def test_pandas_reads_the_table_whatever_the_names(tmp_path, records):
    path = table.write(iter(records), COCO17, tmp_path)
    path.read_bytes().decode("utf-8")
    pandas = pytest.importorskip("pandas")
    rows = pandas.read_csv(path)
    assert len(rows) == 2 * len(records)
    expected = [name.replace("\udcff", r"\udcff") for name in ODD_NAMES for _ in range(2)]
    assert rows["file_name"].tolist() == (expected if records else [])
    assert rows[["frame", "seconds", "fps"]].isna().all(axis=None)


def test_the_table_of_a_video_says_frame_time_and_rate(tmp_path):
    pandas = pytest.importorskip("pandas")
    rows = pandas.read_csv(table.write(iter(TRACKS["damaged frames"]), COCO17, tmp_path))
    assert rows["frame"].tolist() == rows["image_id"].tolist() == [0, 1, 5, 6]
    assert rows["seconds"].tolist() == [0, 0.1, 0.5, 0.6]
    assert set(rows["fps"]) == {10}
    assert rows["track_id"].tolist() == [0] * 4


def test_motmetrics_reads_mot(tmp_path):
    motmetrics = pytest.importorskip("motmetrics")
    path = mot.write(iter(TRACKS["damaged frames"]), COCO17, tmp_path)
    rows = motmetrics.io.loadtxt(path, fmt="mot15-2D")
    assert [number for number, _ in rows.index] == [1, 2, 6, 7]
    assert {identity for _, identity in rows.index} == {1}
    first = rows.iloc[0]
    # The reader turns MOT's corner, counted from 1, into one counted from 0.
    assert (first["X"], first["Y"], first["Width"], first["Height"]) == (10, 10, 16, 30)
    assert first["Confidence"] == pytest.approx(0.75)


def test_openpose_files_by_the_rules_of_pose2sim(tmp_path):
    """It takes the last digits of a name as the frame, and 75 numbers of each person."""
    folder = openpose.write(iter(TRACKS["damaged frames"]), COCO17, tmp_path)
    numbers = []
    for path in sorted(folder.glob("*.json")):
        numbers.append(int(re.split(r"(\d+)", path.name)[-2]))
        people_found = json.loads(path.read_text("utf-8"))["people"]
        assert [len(person["pose_keypoints_2d"]) for person in people_found] == [75]
    assert numbers == [0, 1, 5, 6]


@pytest.mark.parametrize("records", [[], [photo(1, name) for name in ODD_NAMES]])
def test_every_json_is_ascii_whatever_the_names(tmp_path, records):
    for path in (
        coco.write_images(iter(records), tmp_path),
        coco_dataset.write(iter(records), COCO17, tmp_path),
    ):
        data = json.loads(path.read_bytes().decode("ascii"))
        images = data if isinstance(data, list) else data["images"]
        assert [image["file_name"] for image in images] == [r.file_name for r in records]


def test_the_coco_tools_read_the_data_set(tmp_path):
    pycocotools = pytest.importorskip("pycocotools.coco")
    records = TRACKS["last joint missing"]
    truth = pycocotools.COCO(str(coco_dataset.write(iter(records), COCO17, tmp_path)))
    assert sorted(truth.imgs) == [0, 1, 2, 3, 4, 5]
    (person,) = truth.loadAnns(truth.getAnnIds(imgIds=[3]))
    assert person["num_keypoints"] == 16
    assert person["keypoints"][:3] == [10, 11, 2]
    assert person["keypoints"][-3:] == [0, 0, 0]
    assert (person["area"], person["iscrowd"], person["track_id"]) == (480, 0, 0)
    assert truth.loadCats([1])[0]["keypoints"] == list(COCO17.joints)
    results = truth.loadRes(str(coco.write(iter(records), COCO17, tmp_path)))
    assert len(results.anns) == 6


def test_supervision_reads_the_data_set(tmp_path):
    supervision = pytest.importorskip("supervision")
    cv2 = pytest.importorskip("cv2")
    records = TRACKS["two people"]
    for record in records:
        cv2.imwrite(str(tmp_path / record.file_name), np.zeros((*record.size, 3), np.uint8))
    path = coco_dataset.write(iter(records), COCO17, tmp_path)
    found = supervision.DetectionDataset.from_coco(str(tmp_path), str(path))
    assert found.classes == ["person"]
    boxes = [detections.xyxy.tolist() for _, _, detections in found]
    assert boxes == [[[10, 10, 26, 40]] * 2] * 6
