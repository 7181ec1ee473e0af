"""``rmpe predict`` end to end on tiny models; errors are one line."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_models import JOINTS, PEOPLE, spots, yolox_model

from rmpe.cli import rmpe as command
from rmpe.cli.output import only_run_in, remove_stale
from rmpe.errors import RmpeError
from rmpe.install.add import add_model
from rmpe.install.place import remove_model
from rmpe.media.images import read_image, save_image
from rmpe.models import use_model


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for name in ("b.png", "a.jpg", "sub folder/ä b.png", "sub folder/b.png"):
        save_image(folder / name, spots((64, 64), JOINTS, 3))
    return folder


def run(*arguments, **options):
    return CliRunner().invoke(command, ["predict", *map(str, arguments)], **options)


def read(path):
    return json.loads(path.read_text("utf-8"))


def test_a_folder_of_photos(tmp_path, models, photos):
    out = tmp_path / "out"
    result = run(photos, "--out", out, *models, "--format", "coco", "--format", "csv")
    assert result.exit_code == 0, result.output
    assert "4 images, 4 people" in result.stdout
    rows = read(out / "coco.json")
    assert [row["image_id"] for row in rows] == [1, 2, 3, 4]
    np.testing.assert_allclose(np.reshape(rows[0]["keypoints"], (3, 3))[:, :2], JOINTS, atol=0.3)
    images = read(out / "images.json")
    names = [
        image["file_name"] for image in (images["images"] if isinstance(images, dict) else images)
    ]
    assert names == ["a.jpg", "b.png", "sub folder/b.png", "sub folder/ä b.png"]
    drawn = read_image(out / "drawn" / "sub folder" / "ä b.jpg")
    assert drawn.shape == (64, 64, 3)
    assert (out / "poses.csv").is_file()


def test_json_summary_is_all_of_stdout(tmp_path, models, photos):
    summary = json.loads(
        run(photos, "--out", tmp_path / "out", *models, "--json", "--no-draw").stdout
    )
    assert (summary["images"], summary["done"], summary["people"], summary["failed"]) == (
        4,
        4,
        4,
        [],
    )
    assert not (tmp_path / "out" / "drawn").exists()


def test_quiet_says_nothing(tmp_path, models, photos):
    result = run(photos, "--out", tmp_path / "out", *models, "--quiet")
    assert (result.exit_code, result.output) == (0, "")


def test_sources_from_stdin(tmp_path, models, photos):
    result = run(
        "-", "--out", tmp_path / "out", *models, input=f"{photos / 'a.jpg'}\n{photos / 'b.png'}\n"
    )
    assert result.exit_code == 0
    assert len(read(tmp_path / "out" / "coco.json")) == 2


def test_limit_and_min_score(tmp_path, models, photos):
    assert (
        "2 images, 0 people"
        in run(photos, "--out", tmp_path / "a", *models, "--limit", 2, "--draw-min-score", 1).stdout
    )
    run(photos, "--out", tmp_path / "b", *models, "--min-score", 1)
    assert read(tmp_path / "b" / "coco.json") == []


def test_numeric_stems_are_image_ids(tmp_path, models, photos):
    folder = tmp_path / "numbered"
    for name in ("000012.png", "7.png"):
        save_image(folder / name, read_image(photos / "b.png"))
    run(folder, "--out", tmp_path / "out", *models)
    assert [row["image_id"] for row in read(tmp_path / "out" / "coco.json")] == [7, 12]


def test_a_bad_image_fails_and_the_rest_goes_on(tmp_path, models, photos):
    (photos / "0.jpg").write_bytes(b"")
    (photos / "c.jpg").write_text("no picture")
    result = run(photos, "--out", tmp_path / "out", *models, "--json")
    summary = json.loads(result.stdout)
    assert (result.exit_code, summary["done"], len(summary["failed"])) == (1, 4, 2)
    assert "failed: " in result.stderr
    assert "0.jpg" in result.stderr
    assert "c.jpg" in result.stderr
    assert len(read(tmp_path / "out" / "coco.json")) == 4


def test_recorded_boxes_and_ids_from_annotations(tmp_path, models, photos):
    truth = tmp_path / "truth.json"
    truth.write_text(
        json.dumps(
            {"images": [{"id": 70, "file_name": "a.jpg"}, {"id": 71, "file_name": "gone.jpg"}]}
        )
    )
    boxes = tmp_path / "boxes.json"
    boxes.write_text(
        json.dumps(
            [
                {"image_id": 70, "bbox": [18, 12, 24, 48], "score": 0.8},
                {"image_id": 70, "bbox": [900, 900, 5, 5], "score": 0.7},
                {"image_id": 71, "bbox": [1, 1, 5, 5], "score": 0.7},
            ]
        )
    )
    arguments = ["--out", tmp_path / "out", *models[2:], "--boxes", boxes, "--annotations", truth]
    assert run(photos / "a.jpg", *arguments).exit_code == 0
    assert [row["image_id"] for row in read(tmp_path / "out" / "coco.json")] == [70]
    result = run(photos, *arguments)
    assert result.exit_code == 1
    assert "b.png: not named in" in result.stderr


def test_whole_image_as_a_box(tmp_path, models, photos):
    result = run(photos, "--out", tmp_path / "out", "--detector", "whole-image", *models[2:])
    assert result.exit_code == 0
    assert read(tmp_path / "out" / "coco.json")[0]["bbox"] == [0, 0, 64, 64]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{photos}", "--pose", "gone.onnx"], "gone.onnx: no such model file"),
        (["{photos}", "--detector", "{photos}/a.jpg"], "a.jpg: not a model"),
        (["{photos}", "--nms", "best"], "unknown pose NMS 'best'"),
        (["nowhere"], "nowhere: no such file"),
        (["{empty}"], "no images found"),
        (["{photos}", "--device", "cuda"], "onnxruntime-gpu"),
        (["{photos}", "--boxes", "{photos}/a.jpg", "--detector", "x"], "exclude each other"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, models, photos, arguments, message):
    (tmp_path / "empty").mkdir()
    filled = [argument.format(photos=photos, empty=tmp_path / "empty") for argument in arguments]
    result = run("--out", tmp_path / "out", *models, *filled)
    assert isinstance(result.exception, RmpeError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


def rmpe_process(*arguments):
    return [sys.executable, "-m", "rmpe", "predict", *map(str, arguments)]


def test_user_errors_reach_the_terminal_without_traceback(tmp_path, models):
    done = subprocess.run(
        rmpe_process("nowhere", "--out", tmp_path / "out", *models),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("rmpe: nowhere")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_kill_and_resume_give_the_results_of_an_undisturbed_run(tmp_path, models):
    folder = tmp_path / "many"
    for number in range(120):
        save_image(
            folder / f"{number}.png", spots((64, 64), [(x + number % 5, y) for x, y in JOINTS], 3)
        )
    arguments = [folder, *models, "--threads", "1", "--format", "coco", "--format", "csv"]
    assert run(*arguments, "--out", tmp_path / "whole").exit_code == 0
    out = tmp_path / "killed"
    process = subprocess.Popen(rmpe_process(*arguments, "--out", out))
    journal = out / "journal.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (
        journal.exists() and journal.read_bytes().count(b"\n") > 10
    ):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "coco.json").exists(), "the run was over before it was killed"
    with journal.open("ab") as file:
        file.write(b'{"image_id": 3, "torn')
    assert run(*arguments, "--out", out, "--resume").exit_code == 0
    for name in ("coco.json", "images.json", "poses.csv"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_resume_under_other_settings_is_refused(tmp_path, models, photos):
    out = tmp_path / "out"
    run(photos, "--out", out, *models)
    result = run(photos, "--out", out, *models, "--resume", "--flip-test")
    assert "cannot resume, flip_test was False and is now True" in str(result.exception)
    result = run(photos, "--out", out, *models, "--resume", "--associate", "paper")
    assert "cannot resume, associate was 'none' and is now 'paper'" in str(result.exception)


def test_models_and_doctor(models):
    assert "YOLOX" in CliRunner().invoke(command, ["models"]).output
    done = CliRunner().invoke(command, ["doctor", *models])
    assert done.exit_code == 0, done.output
    assert "self-test: ok" in done.output and "ms a picture" in done.output
    assert "auto is now" not in done.output, "models that are only tested choose no device"
    broken = CliRunner().invoke(command, ["doctor", "--detector", "x.onnx", "--pose", "y.onnx"])
    assert broken.exit_code == 1
    assert "x.onnx" in broken.output


def test_resume_refuses_another_default_model(tmp_path, models, photos, monkeypatch):
    """The default is resolved: choosing another one changes what the same command line means."""
    monkeypatch.setenv("RMPE_HOME", str(tmp_path / "home"))
    _, detector, _, pose = models
    for name, file in (("first", detector), ("second", detector), ("spots", pose)):
        add_model(name, file)
    weaker = yolox_model(tmp_path, [(*PEOPLE[0][:4], 0.8, 0.8)])
    remove_model("second")
    add_model("second", str(weaker))
    use_model("first")
    use_model("spots")
    assert run(photos, "--out", tmp_path / "out").exit_code == 0
    use_model("second")
    result = run(photos, "--out", tmp_path / "out", "--resume")
    assert isinstance(result.exception, RmpeError)
    assert "cannot resume, detector was" in str(result.exception)


def test_without_out_every_run_gets_a_folder_of_its_own(tmp_path, models, photos, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for expected in ("a", "a-2", "a-3"):
        result = run(photos / "a.jpg", *models)
        assert result.exit_code == 0, result.output
        assert f"results: rmpe-out/{expected}/coco.json" in result.stdout
    assert "rmpe-out/a-3/" in run(photos / "a.jpg", *models, "--resume").stdout


def test_results_inside_the_source_are_not_read(tmp_path, models, photos, monkeypatch):
    monkeypatch.chdir(photos)
    for _ in range(2):
        assert "4 images, 4 people" in run(".", "--out", "results", *models).stdout


def test_a_second_run_leaves_no_stale_results(tmp_path, models, photos):
    out = tmp_path / "out"
    run(photos, "--out", out, *models, "--format", "csv", "--format", "alphapose")
    (out / "drawn" / "mine.jpg").write_bytes(b"not made by rmpe")
    run(photos / "a.jpg", "--out", out, *models)
    drawn = {path.name for path in (out / "drawn").rglob("*.jpg")}
    assert drawn == {"a.jpg", "mine.jpg"}
    assert not (out / "poses.csv").exists()
    assert not (out / "alphapose-results.json").exists()


def test_files_of_every_format_are_removed_before_a_run_and_nothing_else(tmp_path):
    remove_stale(tmp_path)
    ours = ["coco_wholebody.json", "mot.txt", "posetrack.json", "trc/person_0007.trc"]
    others = ["trc/person_of_mine.trc", "trc/notes.txt", "mine.json"]
    (tmp_path / "trc").mkdir()
    for name in ours + others:
        (tmp_path / name).write_text("x")
    remove_stale(tmp_path)
    left = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.*")}
    assert left == set(others)


def test_a_second_run_at_once_is_refused(tmp_path, models, photos):
    with only_run_in(tmp_path / "out"):
        result = run(photos, "--out", tmp_path / "out", *models)
    assert isinstance(result.exception, RmpeError)
    assert f"another run (process {os.getpid()})" in str(result.exception)
    assert run(photos, "--out", tmp_path / "out", *models).exit_code == 0


def test_a_run_that_cannot_start_leaves_no_folder(tmp_path, models, photos):
    result = run(photos, "--out", tmp_path / "a" / "b", "--detector", "no.onnx")
    assert isinstance(result.exception, RmpeError)
    assert not (tmp_path / "a").exists()
    (tmp_path / "mine").mkdir()
    run(photos, "--out", tmp_path / "mine", "--detector", "no.onnx")
    assert (tmp_path / "mine").exists(), "a folder that was there is the user's"


@pytest.mark.parametrize("touch", [True, False])
def test_resume_refuses_a_photo_that_changed(tmp_path, models, photos, touch):
    out = tmp_path / "out"
    run(photos, "--out", out, *models)
    photo = photos / "b.png"
    if touch:  # another time, the same contents
        os.utime(photo, (1, 1))
        assert run(photos, "--out", out, *models, "--resume").exit_code == 0
        return
    save_image(photo, spots((64, 64), [(x + 5, y) for x, y in JOINTS], 3))
    result = run(photos, "--out", out, *models, "--resume")
    assert "b.png: has changed since" in str(result.exception)


@pytest.mark.parametrize("what", ["nms", "card"])
def test_resume_refuses_changed_files(tmp_path, models, photos, what):
    nms = tmp_path / "nms.toml"
    nms.write_text("eta = 0.8\n")
    arguments = [photos, "--out", tmp_path / "out", *models, "--nms", nms]
    assert run(*arguments).exit_code == 0
    if what == "nms":
        nms.write_text("eta = 0.2\n")
    else:
        card = next(
            path for path in (tmp_path / "models").glob("*.toml") if "pose" in path.read_text()
        )
        card.write_text(card.read_text().replace("1.3", "2.0"))
    assert "cannot resume, " in str(run(*arguments, "--resume").exception)


def test_videos_are_named_with_their_command(tmp_path, models, photos):
    clip = photos / "my clip.mp4"
    clip.write_bytes(b"")
    result = run(clip, "--out", tmp_path / "out", *models)
    assert f"a video: rmpe track '{clip}'" in str(result.exception)
    result = run(photos, "--out", tmp_path / "out", *models)
    assert result.exit_code == 0
    assert f"left out 1 videos: rmpe track '{clip}'" in result.stderr


def test_weaker_poses_are_mentioned(tmp_path, models, photos):
    out = tmp_path / "out"
    text = run(photos, "--out", out, *models, "--draw-min-score", 1).stdout
    assert "4 weaker poses are in the results; --draw-min-score 0.59 " in text


def test_a_resumed_run_counts_what_it_did_itself(tmp_path, models, photos):
    run(photos, "--out", tmp_path / "out", *models, "--limit", 3)
    text = run(photos, "--out", tmp_path / "out", *models, "--resume").stdout
    assert text.startswith("4 images (3 of them earlier), 1 new people")
    assert "images/s" not in run(photos, "--out", tmp_path / "out", *models, "--resume").stdout


def test_a_resumed_run_brings_all_its_formats_up_to_date(tmp_path, models, photos):
    out = tmp_path / "out"
    run(photos, "--out", out, *models, "--limit", 3)
    run(photos, "--out", out, *models, "--resume", "--format", "csv")
    whole = tmp_path / "whole"
    run(photos, "--out", whole, *models)
    assert (out / "coco.json").read_bytes() == (whole / "coco.json").read_bytes()
    assert (out / "poses.csv").exists() and not (whole / "poses.csv").exists()


def test_a_resumed_run_says_which_pictures_it_does_not_draw(tmp_path, models, photos):
    out = tmp_path / "out"
    run(photos, "--out", out, *models, "--limit", 3, "--no-draw")
    text = run(photos, "--out", out, *models, "--resume").stdout
    assert "3 images of the earlier run have no picture: run it without --resume" in text
