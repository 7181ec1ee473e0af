"""One failure never ends the rest: names too long, files in the way, pipes, a full disk."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_models import spot_pose_model, spots, yolox_model

from rmpe.atomic import check_writable, check_writable_folder, write_text
from rmpe.cli import rmpe as command
from rmpe.errors import OutputError
from rmpe.media.images import save_image
from rmpe.media.sources import LONGEST_NAME, find_images, shortened
from rmpe.media.video_writer import VideoWriter
from rmpe.write import FORMATS, write_formats

JOINTS = [(25, 20), (40, 30), (32, 45)]


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    detector = yolox_model(folder, [(32, 32, 30, 40, 1, 0.9)])
    pose = spot_pose_model(folder)
    skeleton = folder / "rgb3.toml"  # with a joint that OpenPose has, too
    skeleton.write_text(skeleton.read_text().replace('"blue"', '"nose"'))
    return ["--detector", str(detector), "--pose", str(pose)]


def photo(path):
    save_image(path, spots((64, 64), JOINTS, 3))
    return path


def run(*arguments):
    return CliRunner().invoke(command, [str(part) for part in arguments])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], []),
        (["a", "b/c"], ["a", "b/c"]),
        (["x" * LONGEST_NAME], ["x" * LONGEST_NAME]),
        (
            ["x" * 240, "x" * 241],
            ["x" * (LONGEST_NAME - 2) + "~1", "x" * (LONGEST_NAME - 2) + "~2"],
        ),
        (["f/" + "ä" * 120], ["f/" + "ä" * 109 + "~1"]),
        (["x" * 218 + "~1", "x" * 250], ["x" * 218 + "~1", "x" * 218 + "~2"]),
        (["X" * 250, "x" * 250], ["X" * 218 + "~1", "x" * 218 + "~2"]),
    ],
)
def test_long_names_are_cut_and_kept_apart(names, expected):
    assert shortened(names) == expected


@pytest.mark.parametrize("length", [220, 240, 244, 251])
def test_a_long_name_among_others_is_done_like_them(tmp_path, models, length):
    folder = tmp_path / "in"
    long = photo(folder / "a.jpg").rename(folder / ("x" * (length - 4) + ".jpg"))
    photo(folder / "a.jpg")
    photo(folder / "z.jpg")
    out = tmp_path / "out"
    result = run(
        "predict", folder, "--out", out, *models, "--format", "coco", "--format", "openpose"
    )
    assert result.exit_code == 0, result.output
    assert len(list((out / "drawn").iterdir())) == len(list((out / "openpose").iterdir())) == 3
    names = {image["file_name"] for image in json.loads((out / "images.json").read_text())}
    assert names == {"a.jpg", "z.jpg", long.name}


def test_every_bad_file_is_one_failure(tmp_path, models):
    folder = tmp_path / "in"
    photo(folder / "a.jpg")
    photo(folder / "b.png")
    photo(folder / "b.jpg" / "inside.png")  # drawn/b.jpg is a folder then
    photo(folder / "z.jpg")
    (folder / "short.webp").write_bytes(b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0")
    (folder / "empty.png").touch()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.png")
    out = tmp_path / "out"
    # An earlier run, or somebody else, left a folder where a result belongs.
    (out / "drawn" / "z.jpg").mkdir(parents=True)
    (out / "openpose" / "a_keypoints.json").mkdir(parents=True)
    result = run(
        "predict",
        folder,
        "--out",
        out,
        *models,
        "--json",
        "--format",
        "openpose",
        "--format",
        "coco",
    )
    assert result.exit_code == 1
    summary = json.loads(result.stdout)
    failed = {failure["file"]: failure["reason"] for failure in summary["failed"]}
    assert set(failed) >= {"short.webp", "empty.png"}
    assert "damaged or truncated WebP" in failed["short.webp"]
    if hasattr(os, "mkfifo"):
        assert "not a regular file" in failed["pipe.png"]
    assert summary["done"] + len(failed) == summary["images"]
    assert summary["done"] >= 2
    unwritten, *undrawn = summary["unwritten"]
    assert "a_keypoints.json: cannot write" in unwritten
    # A picture that cannot be written costs nobody's pose.
    assert any("z.jpg: cannot write" in line for line in undrawn)
    assert any(
        image["file_name"] == "z.jpg" for image in json.loads((out / "images.json").read_text())
    )
    assert (out / "coco.json").exists()
    assert (out / "images.json").exists()


def test_a_format_that_fails_does_not_stop_the_others(tmp_path):
    (tmp_path / "coco.json").mkdir()
    skeleton = None
    files, failures = write_formats(FORMATS, ["coco", "alphapose"], lambda: [], skeleton, tmp_path)
    assert [Path(file).name for file in files] == ["alphapose-results.json", "images.json"]
    assert len(failures) == 1
    assert "coco.json: cannot write" in failures[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "alphapose-results.json",
        "coco.json",
        "images.json",
    ]


def test_a_long_video_name(tmp_path, models):
    clip = tmp_path / "v.mp4"
    with VideoWriter(clip, fps=10) as writer:
        for number in range(3):
            writer.write(spots((64, 64), JOINTS, 3), number / 10)
    clip = clip.rename(tmp_path / ("v" * 247 + ".mp4"))
    out = tmp_path / "out"
    result = run("track", clip, "--out", out, *models, "--format", "openpose")
    assert result.exit_code == 0, result.output
    assert len(list((out / "openpose").iterdir())) == 3


def test_frames_of_a_folder_keep_their_names_in_all_results(tmp_path, models):
    folder = tmp_path / "frames"
    for number in (1, 2, 10):
        photo(folder / f"frame{number}.png")
    (folder / "frame3.png").write_bytes(b"broken")
    out = tmp_path / "out"
    arguments = ["track", folder, "--out", out, *models, "--format", "openpose", "--format", "csv"]
    for extra in ([], ["--resume"]):
        result = run(*arguments, *extra)
        assert result.exit_code == 0, result.output
        lines = [json.loads(line) for line in (out / "tracks.jsonl").read_text().splitlines()[1:]]
        assert [(line["image_id"], line["file_name"]) for line in lines] == [
            (0, "frame1.png"),
            (1, "frame2.png"),
            (3, "frame10.png"),
        ]
        assert [line["path"] for line in lines][-1] == str(folder / "frame10.png")
        images = json.loads((out / "images.json").read_text())
        assert [image["file_name"] for image in images] == [
            "frame1.png",
            "frame2.png",
            "frame10.png",
        ]
        assert sorted(path.name for path in (out / "openpose").iterdir()) == [
            "frame10_keypoints.json",
            "frame1_keypoints.json",
            "frame2_keypoints.json",
        ]


def test_a_damaged_clip_resumes_with_its_holes(tmp_path, models, data_root):
    clip = data_root / "cases/video_damaged_numbering/damaged.mp4"
    out = tmp_path / "out"
    for extra in ([], ["--resume"]):
        result = run("track", clip, "--out", out, *models, "--json", *extra)
        assert result.exit_code == 0, result.output
        summary = json.loads(result.stdout)
        assert (summary["frames"], summary["corrupt"], summary["dropped"]) == (14, 6, 0)
        images = json.loads((out / "images.json").read_text())
        assert [image["id"] for image in images] == [*range(5), *range(11, 20)]


DISK_FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from rmpe.errors import OutputError
from rmpe.media.video_writer import VideoWriter
out, limit, frames = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
rng = np.random.default_rng(0)
try:
    with VideoWriter(out / "v.mp4", fps=10) as writer:
        for number in range(frames):
            writer.write(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8), number / 10)
            if number == int(sys.argv[4]):
                raise OutputError("journal: the disk is full")
    print("written")
except OutputError as error:
    print("refused", error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file sizes")
@pytest.mark.parametrize("limit", [0, 40, 1000, 5000, 20_000])
@pytest.mark.parametrize(("frames", "fails_at"), [(1, -1), (8, 6), (150, -1), (150, 80)])
def test_no_room_for_the_video_is_an_error_and_no_crash(tmp_path, limit, frames, fails_at):
    arguments = [str(tmp_path), str(limit), str(frames), str(fails_at)]
    done = subprocess.run(
        [sys.executable, "-c", DISK_FULL, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    left = [path.name for path in tmp_path.iterdir()]
    if done.stdout.startswith("written"):
        assert left == ["v.mp4"]
    else:
        assert done.stdout.startswith("refused")
        assert left in ([], ["v.mp4"]) if fails_at >= 0 else left == []


def test_a_video_after_an_error_writes_nothing_more(tmp_path):
    writer = VideoWriter(tmp_path / "no" / "v.mp4")
    (tmp_path / "no").write_text("a file in the way")
    with pytest.raises(Exception, match=r"v\.mp4: cannot write"):
        writer.write(np.zeros((4, 4, 3), np.uint8), 0)
    writer.close()


def test_find_images_gives_short_names(tmp_path):
    for name in ("x" * 240, "x" * 245):
        (tmp_path / f"{name}.png").touch()
    items = find_images([str(tmp_path)])
    assert [item.name for item in items] == ["x" * 218 + "~1", "x" * 218 + "~2"]
    assert [len(item.file_name) for item in items] == [244, 249]


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["learn", "people", "{here}"], "--out"),
        (["learn", "nms", "--annotations", "{junk}", "--candidates", "{junk}"], "--out"),
        (["learn", "pgpg", "--annotations", "{junk}", "--detections", "{junk}"], "--out"),
        (["export", "{junk}"], "--out"),
        (
            ["evaluate", "coco", "--annotations", "{junk}", "--images", "{here}"],
            "--save-results",
        ),
        (["evaluate", "coco", "--annotations", "{junk}", "--results", "{junk}"], "--plots"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else value,
)
def test_what_cannot_be_written_is_said_before_the_work(tmp_path, arguments, flag):
    pytest.importorskip("onnx")
    pytest.importorskip("torch")
    junk = tmp_path / "junk.safetensors"
    junk.write_text("neither annotations nor weights")
    given = [part.format(junk=junk, here=tmp_path) for part in arguments]
    result = run(*given, flag, junk / "file")
    assert isinstance(result.exception, OutputError), result.output
    assert str(junk / "file") in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == [junk.name]


def test_a_folder_in_the_way_of_results_is_said_before_the_work(tmp_path):
    (tmp_path / "annotations.json").write_text("no annotations")
    arguments = ["evaluate", "coco", "--annotations", tmp_path / "annotations.json"]
    result = run(*arguments, "--images", tmp_path, "--save-results", tmp_path)
    assert isinstance(result.exception, OutputError)
    assert "a folder has this name" in str(result.exception)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_links_stay_and_pipes_are_refused(tmp_path):
    (tmp_path / "real.toml").write_text("old")
    (tmp_path / "link.toml").symlink_to("real.toml")
    write_text(tmp_path / "link.toml", "new")
    assert (tmp_path / "link.toml").is_symlink()
    assert (tmp_path / "real.toml").read_text() == "new"
    os.mkfifo(tmp_path / "pipe.toml")
    for refused in (check_writable, lambda path: write_text(path, "new")):
        with pytest.raises(OutputError, match="a device or a pipe has this name"):
            refused(tmp_path / "pipe.toml")
    assert (tmp_path / "pipe.toml").is_fifo()


def test_checking_whether_a_file_can_be_written_leaves_nothing(tmp_path):
    check_writable(tmp_path / "new" / "folder" / "file")
    check_writable_folder(tmp_path / "new" / "folder")
    assert not list(tmp_path.iterdir())
    for name in ("x" * 300, "x" * 300 + "/y"):
        for check in (check_writable, check_writable_folder):
            with pytest.raises(OutputError, match="cannot write"):
                check(tmp_path / name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["learn", "nms", "--candidates", "{junk}", "--out", "a", "--plot", "a.abc"],
            "must end in",
        ),
        (["evaluate", "coco", "--results", "{junk}", "--save-results", "a"], "give both"),
    ],
)
def test_flags_that_would_come_to_nothing_are_refused(tmp_path, arguments, message):
    junk = tmp_path / "junk.json"
    junk.write_text("no annotations")
    given = [part.format(junk=junk) for part in arguments]
    result = run(*given, "--annotations", junk)
    assert message in str(result.exception), result.output


def test_default_models_that_cannot_be_written_down_are_one_line(tmp_path, monkeypatch):
    (tmp_path / "home").write_text("a file in the way")
    monkeypatch.setenv("RMPE_HOME", str(tmp_path / "home"))
    result = run("models", "use", "pose-lite")
    assert isinstance(result.exception, OutputError)
    assert "defaults.toml: cannot write" in str(result.exception)
