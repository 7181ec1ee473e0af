"""``rmpe track`` end to end on tiny models; a resumed run gives the same results."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_models import JOINTS, PEOPLE, spot_pose_model, spots, yolox_model

from rmpe import track
from rmpe.cli import rmpe as command
from rmpe.cli.track import _folders
from rmpe.errors import RmpeError, UsageError
from rmpe.media.images import read_image, save_image
from rmpe.media.video import Video
from rmpe.media.video_writer import VideoWriter
from rmpe.options import load
from rmpe.poses import Poses
from rmpe.skeletons import load_skeleton
from rmpe.write import mot, posetrack, trc
from rmpe.write.journal import JournalRecord

FRAMES = 24


@pytest.fixture
def clip(tmp_path):
    """One swaying person of three spots, at 10 frames per second."""
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, fps=10, crf=5) as writer:
        for number in range(FRAMES):
            shift = 3 * np.sin(number / 3)
            writer.write(spots((64, 64), [(x + shift, y) for x, y in JOINTS], 3), number / 10)
    return path


def run(*arguments):
    return CliRunner().invoke(command, ["track", *map(str, arguments)])


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()[1:]]


def test_a_video(tmp_path, models, clip):
    out = tmp_path / "out"
    formats = ["coco", "csv", "mot", "trc", "alphapose"]
    chosen = [part for name in formats for part in ("--format", name)]
    result = run(clip, "--out", out, *models, *chosen, "--contact-sheet")
    assert result.exit_code == 0, result.output
    assert f"{FRAMES} frames, 1.0 people a frame (score >= 0.3), 1 ids" in result.output
    tracked = lines(out / "tracks.jsonl")
    assert [line["image_id"] for line in tracked] == list(range(FRAMES))
    assert np.allclose([line["seconds"] for line in tracked], np.arange(FRAMES) / 10, atol=1e-3)
    assert {tuple(line["poses"]["track_ids"]) for line in tracked} == {(0,)}
    seen = np.array([line["poses"]["keypoints"][0] for line in tracked])[..., 0]
    expected = np.array([x for x, _ in JOINTS]) + 3 * np.sin(np.arange(FRAMES) / 3)[:, None]
    assert np.abs(seen - expected).max() < 0.6
    people = json.loads((out / "coco.json").read_text())
    assert [person["track_id"] for person in people] == [0] * FRAMES
    with Video(out / "drawn.mp4") as video:
        assert [round(frame.seconds, 2) for frame in video] == [
            round(number / 10, 2) for number in range(FRAMES)
        ]
    assert read_image(out / "contact.jpg").shape[1] > 3 * 480
    for name in (
        "poses.csv",
        "mot.txt",
        "trc/person_0000.trc",
        "alphapose-results.json",
    ):
        assert (out / name).stat().st_size > 0
    refused = run(clip, "--out", tmp_path / "none", *models, "--format", "openpose")
    assert isinstance(refused.exception, UsageError)
    assert "openpose: it has none of the joints" in str(refused.exception)
    assert not (tmp_path / "none").exists()


def test_detecting_now_and_then_finds_the_same_person(tmp_path, models, clip):
    for every in ("5", "auto"):
        out = tmp_path / every
        assert run(clip, "--out", out, *models, "--detect-every", every, "--no-draw").exit_code == 0
        tracked = lines(out / "tracks.jsonl")
        assert {tuple(line["poses"]["track_ids"]) for line in tracked} == {(0,)}
        seen = np.array([line["poses"]["keypoints"][0] for line in tracked])[..., 0]
        expected = np.array([x for x, _ in JOINTS]) + 3 * np.sin(np.arange(FRAMES) / 3)[:, None]
        assert np.abs(seen - expected).max() < 1.5
        assert not (out / "drawn.mp4").exists()


def test_a_folder_of_images_of_mixed_sizes(tmp_path, models):
    """With one wider frame, the person keeps the id and each result its frame's pixels and size."""
    widths = [64, 64, 80, 80, 64, 97]
    for number, width in enumerate(widths):
        save_image(tmp_path / "frames" / f"{number}.png", spots((64, width), JOINTS, 3))
    for tracker in ("poseflow", "oks"):
        out = tmp_path / tracker
        result = run(
            tmp_path / "frames", "--out", out, *models, "--tracker", tracker, "--smooth", "one-euro"
        )
        assert result.exit_code == 0, result.output
        tracked = lines(out / "tracks.jsonl")
        assert [line["size"] for line in tracked] == [[64, width] for width in widths]
        assert {tuple(line["poses"]["track_ids"]) for line in tracked} == {(0,)}
        seen = np.array([line["poses"]["keypoints"][0] for line in tracked])
        assert np.abs(seen - JOINTS).max() < 1
        with Video(out / "drawn.mp4") as video:
            assert {frame.image.shape for frame in video} == {(64, 64, 3)}


def test_smoothing_is_off_in_the_estimates(tmp_path, models, clip):
    run(clip, "--out", tmp_path / "raw", *models, "--no-draw", "--tracker", "oks")
    run(
        clip,
        "--out",
        tmp_path / "smooth",
        *models,
        "--no-draw",
        "--tracker",
        "oks",
        "--smooth",
        "one-euro",
    )
    assert lines(tmp_path / "raw" / "journal.jsonl") == lines(tmp_path / "smooth" / "journal.jsonl")
    raw, smooth = (lines(tmp_path / name / "tracks.jsonl") for name in ("raw", "smooth"))
    assert raw != smooth


def test_python_says_the_same(tmp_path, models, clip):
    run(clip, "--out", tmp_path / "out", *models, "--no-draw", "--tracker", "oks")
    estimator = load(models[1], models[3])
    found = [
        (frame.index, poses.to_dict()) for frame, poses in track(estimator, clip, tracker="oks")
    ]
    assert found == [
        (line["image_id"], line["poses"]) for line in lines(tmp_path / "out" / "tracks.jsonl")
    ]


@pytest.mark.parametrize("kept", [1, 9, FRAMES + 1])
@pytest.mark.parametrize("every", ["1", "7"])
def test_resume_after_the_journal_was_cut_off(tmp_path, models, clip, kept, every):
    arguments = [clip, *models, "--detect-every", every, "--no-draw"]
    assert run(*arguments, "--out", tmp_path / "whole").exit_code == 0
    out = tmp_path / "cut"
    out.mkdir()
    rows = (tmp_path / "whole" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (out / "journal.jsonl").write_bytes(
        b"".join(rows[:kept]) + (rows[kept][:40] if kept < len(rows) else b"")
    )
    assert run(*arguments, "--out", out, "--resume").exit_code == 0
    for name in ("journal.jsonl", "tracks.jsonl", "coco.json", "images.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_stopped_run_goes_on(tmp_path, models, how):
    long = tmp_path / "long.mp4"
    with VideoWriter(long, fps=10, crf=5) as writer:
        for number in range(200):
            writer.write(
                spots((64, 64), [(x + 3 * np.sin(number / 3), y) for x, y in JOINTS], 3),
                number / 10,
            )
    arguments = [str(part) for part in (long, *models, "--threads", "1", "--smooth", "one-euro")]
    out = tmp_path / "stopped"
    code = "import sys; from rmpe.cli import main; sys.argv[0] = 'rmpe'; main()"
    process = subprocess.Popen([sys.executable, "-c", code, "track", *arguments, "--out", str(out)])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (
        (out / "tracks.jsonl").exists() and (out / "tracks.jsonl").read_bytes().count(b"\n") > 10
    ):
        time.sleep(0.005)
    process.send_signal(how)
    process.wait(timeout=60)
    if how == signal.SIGINT:
        assert process.returncode == 1
        with Video(out / "drawn.mp4") as video:
            shown = sum(1 for _ in video)
        assert 10 <= shown == len(lines(out / "tracks.jsonl")) < 200
        assert len(json.loads((out / "coco.json").read_text())) == shown
    else:
        assert not (out / "coco.json").exists(), "the run was over before it was killed"
    assert run(*arguments, "--out", out, "--resume").exit_code == 0
    assert run(*arguments, "--out", tmp_path / "whole").exit_code == 0
    for name in ("tracks.jsonl", "coco.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with Video(out / "drawn.mp4") as video:
        assert sum(1 for _ in video) == 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a video"),
        (["clip.mp4", "--camera", "0"], "name a video"),
        (["nothing.mp4"], r"nothing\.mp4: cannot open"),
        (["clip.mp4", "--no-draw", "--contact-sheet"], "drawn video"),
        (["clip.mp4", "--nms", "no"], "no"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, models, clip, arguments, message):
    result = run(
        *(str(tmp_path / "clip.mp4") if part == "clip.mp4" else part for part in arguments),
        "--out",
        tmp_path,
        *models,
    )
    assert isinstance(result.exception, RmpeError)
    assert "\n" not in str(result.exception)
    assert re.search(message, str(result.exception))


@pytest.mark.parametrize("every", ["0", "-1", "often", "1.5"])
def test_wrong_intervals_are_refused(tmp_path, models, clip, every):
    result = run(clip, "--out", tmp_path, *models, "--detect-every", every)
    assert result.exit_code == 2
    assert "neither a positive number nor auto" in result.output


def test_resume_under_other_settings_is_refused(tmp_path, models, clip):
    run(clip, "--out", tmp_path, *models, "--no-draw", "--limit", 3)
    result = run(clip, "--out", tmp_path, *models, "--no-draw", "--resume", "--detect-every", "4")
    assert "cannot resume, detect_every was 1 and is now 4" in str(result.exception)


# Writers of tracks

COCO = load_skeleton("coco17")


def record(index, people, seconds=None):
    """``people``: id -> x of the person."""
    points = np.array(
        [[(x + joint, 10 + joint) for joint in range(17)] for x in people.values()]
    ).reshape(-1, 17, 2)
    scores = np.full((len(people), 17), 0.5)
    boxes = np.array([(x, 10, x + 16, 26) for x in people.values()]).reshape(-1, 4)
    poses = Poses(points, scores, np.full(len(people), 0.75), boxes, COCO, list(people))
    time_ = index / 10 if seconds is None else seconds
    return JournalRecord(index, f"v_{index}.jpg", f"v_{index}", "v.mp4", (100, 200), poses, time_)


def test_mot(tmp_path):
    path = mot.write(
        iter([record(0, {4: 10.0, -1: 50.0}), record(1, {}), record(2, {4: 11.5})]), COCO, tmp_path
    )
    assert path.read_text().splitlines() == [
        "1,5,11.00,11.00,16.00,16.00,0.7500,-1,-1,-1",
        "3,5,12.50,11.00,16.00,16.00,0.7500,-1,-1,-1",
    ]


def test_posetrack(tmp_path):
    path = posetrack.write(iter([record(0, {4: 10.0, -1: 50.0}), record(1, {})]), COCO, tmp_path)
    data = json.loads(path.read_text())
    assert [image["id"] for image in data["images"]] == [0, 1]
    (person,) = data["annotations"]
    joints = np.reshape(person["keypoints"], (17, 3))
    names = data["categories"][0]["keypoints"]
    assert person["track_id"] == 4
    assert joints[names.index("left_wrist")].tolist() == [19, 19, 0.5]
    assert joints[names.index("head_bottom")].tolist() == [15.5, 15.5, 0.5]
    assert joints[names.index("head_top")].tolist() == [0, 0, 0]
    assert person["scores"] == joints[:, 2].tolist()
    empty = json.loads(posetrack.write(iter([]), COCO, tmp_path).read_text())
    assert empty["images"] == empty["annotations"] == []


def test_posetrack_is_what_the_evaluation_reads(tmp_path):
    posetrack_files = pytest.importorskip("rmpe.evaluation.files.posetrack")
    written = posetrack.write(iter([record(0, {4: 10.0}), record(1, {4: 12.0})]), COCO, tmp_path)
    truth = json.loads(written.read_text())
    for person in truth["annotations"]:
        person["bbox_head"] = [0, 0, 10, 10]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    footage = posetrack_files.read_annotations(tmp_path / "truth.json", written)
    assert [frame.point_ids.tolist() for frame in footage.frames] == [[4], [4]]
    assert np.allclose(footage.frames[0].points, footage.frames[0].truth, equal_nan=True)


def test_trc(tmp_path):
    rows = [
        record(3, {1: 10.0}),
        record(4, {2: 5.0}),
        record(5, {2: 5.0}),
        record(6, {1: 13.0, 2: 6.0, -1: 0.0}),
    ]
    folder = trc.write(iter(rows), COCO, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["person_0001.trc", "person_0002.trc"]
    text = (folder / "person_0001.trc").read_text().split("\n")
    assert text[0].split("\t")[3] == "person_0001.trc"
    assert dict(zip(text[1].split("\t"), text[2].split("\t"), strict=True)) == {
        "DataRate": "10.000",
        "CameraRate": "10.000",
        "NumFrames": "4",
        "NumMarkers": "17",
        "Units": "mm",
        "OrigDataRate": "10.000",
        "OrigDataStartFrame": "4",
        "OrigNumFrames": "4",
    }
    assert text[3].split("\t")[2::3][:17] == list(COCO.joints)
    body = [line.split("\t") for line in text[6:-1]]
    assert [len(row) for row in body] == [2 + 3 * 17] * 4
    assert [row[0] for row in body] == ["4", "5", "6", "7"]
    assert [float(row[1]) for row in body] == pytest.approx([0.3, 0.4, 0.5, 0.6])
    assert body[0][2:5] == ["10.000", "90.000", "0.000"]
    assert body[1][2:] == ["nan"] * 51
    assert body[3][2] == "13.000"


def test_min_score_zero_keeps_unlikely_poses(tmp_path):
    """The flag reaches the estimator, and no other threshold applies."""
    clip = tmp_path / "dim.mp4"
    with VideoWriter(clip, fps=10, crf=5) as writer:
        for number in range(FRAMES):
            writer.write(spots((64, 64), JOINTS, 3) // 4, number / 10)
    folder = tmp_path / "weak"
    folder.mkdir()
    weak = [(*box, 0.2, 0.15) for *box, _, _ in PEOPLE]
    models = [
        *("--detector", str(yolox_model(folder, weak))),
        *("--pose", str(spot_pose_model(folder))),
    ]
    common = [clip, *models, "--no-draw", "--tracker", "none"]
    assert run(*common, "--out", tmp_path / "all", "--min-score", "0").exit_code == 0
    assert run(*common, "--out", tmp_path / "likely").exit_code == 0
    counts = {
        name: len(json.loads((tmp_path / name / "coco.json").read_text("utf-8")))
        for name in ("all", "likely")
    }
    assert counts == {"all": FRAMES, "likely": 0}


def test_resume_refuses_another_version(tmp_path, clip, models, monkeypatch):
    assert run(clip, "--out", tmp_path / "out", *models, "--limit", "3").exit_code == 0
    monkeypatch.setattr("rmpe.cli.track_video.__version__", "0.0.0")
    result = run(clip, "--out", tmp_path / "out", *models, "--resume")
    assert "cannot resume, rmpe was" in str(result.exception)


def test_several_videos_each_get_a_folder(tmp_path, clip, models):
    """One that is broken fails alone; a folder of videos stands for them."""
    folder = tmp_path / "clips"
    (folder / "more").mkdir(parents=True)
    for name in ("one.mp4", "two.mp4"):
        (folder / name).write_bytes(clip.read_bytes())
    (folder / "broken.mp4").write_bytes(b"no video")
    (folder / "more" / "one.mp4").write_bytes(clip.read_bytes())
    out = tmp_path / "out"
    result = run(folder, folder / "more" / "one.mp4", "--out", out, *models, "--limit", "3")
    assert result.exit_code == 1
    assert "failed: " in result.stderr and "broken.mp4" in result.stderr
    assert {path.parent.name for path in out.glob("*/coco.json")} == {"one", "two", "one-2"}


def test_resume_refuses_another_video_of_the_same_name(tmp_path, clip, models):
    assert run(clip, "--out", tmp_path / "out", *models, "--limit", "3").exit_code == 0
    with VideoWriter(clip, fps=10, crf=5) as writer:
        for number in range(FRAMES):
            writer.write(spots((64, 64), JOINTS, 3) // 2, number / 10)
    result = run(clip, "--out", tmp_path / "out", *models, "--resume")
    assert "cannot resume, contents was" in str(result.exception)


def test_every_video_gets_a_folder_whatever_they_are_called():
    names = ["c.mp4", "d/c.mp4", "c-2.mp4", "C.avi", "http://host/"]
    folders = [folder.name for folder in _folders(names, Path("out"))]
    assert folders == ["c", "c-3", "c-2", "C-4", "host"]
    assert _folders([], Path("out")) == []


def test_videos_among_frames_are_named_with_their_command(tmp_path, models, clip):
    frames = tmp_path / "frames"
    frames.mkdir()
    save_image(frames / "1.png", np.zeros((64, 64, 3), np.uint8))
    shutil.copy(clip, frames / "a.mp4")
    done = run(frames, "--out", tmp_path / "o", *models)
    assert done.exit_code == 0, done.output
    assert f"left out 1 videos: rmpe track {frames / 'a.mp4'}" in done.stderr


def test_a_video_whose_folder_cannot_be_written_does_not_stop_the_others(tmp_path, models, clip):
    other = tmp_path / "other.mp4"
    shutil.copy(clip, other)
    out = tmp_path / "out"
    out.mkdir()
    (out / clip.stem).write_text("in the way")
    done = run(clip, other, "--out", out, *models)
    assert done.exit_code == 1
    assert "cannot write there" in done.stderr
    assert (out / "other" / "coco.json").is_file()
