"""Videos: from upload to result, through restarts and kills; what is no video; what is too much."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")


def upload(client, data, query=""):
    return client("POST", f"/v1/videos{query}", content=data)


def track(clip, pipeline, out):
    """What the command line makes of a clip."""
    models = ["--detector", str(pipeline.detector), "--pose", str(pipeline.pose), "--quiet"]
    formats = [part for form in ("coco", "csv", "posetrack", "mot") for part in ("--format", form)]
    command = [sys.executable, "-m", "rmpe", "track", str(clip), "--out", str(out)]
    subprocess.run([*command, *models, *formats], check=True)


def nameless(data):
    """Results without the names of the video, which the server does not know."""
    return data.replace(b"clip_", b"source_").replace(b'"clip"', b'"source"')


FILES = {"coco": "coco.json", "csv": "poses.csv", "posetrack": "posetrack.json", "mot": "mot.txt"}


def test_a_video_from_upload_to_result(client, clip, pipeline, tmp_path):
    answer = upload(client, clip.read_bytes())
    assert answer.status_code == 202
    name = answer.json()["id"]
    state = client.until_done(name)
    assert (state["state"], state["frames"], state["percent"], state["error"]) == (
        "done",
        12,
        100.0,
        "",
    )
    track(clip, pipeline, tmp_path / "out")
    for form, file in FILES.items():
        result = client("GET", f"/v1/videos/{name}/result?format={form}")
        assert result.content == nameless((tmp_path / "out" / file).read_bytes()), form
    frames = client("GET", f"/v1/videos/{name}/result").json()["frames"]
    assert [frame["index"] for frame in frames] == list(range(12))
    people = [person for frame in frames for person in frame["people"]]
    assert people == json.loads((tmp_path / "out" / "coco.json").read_bytes())
    assert client("GET", f"/v1/videos/{name}/result?format=mp4").content[4:8] == b"ftyp"
    assert client("GET", f"/v1/videos/{name}/result?format=trc").content[:2] == b"PK"
    assert client("DELETE", f"/v1/videos/{name}").status_code == 204
    assert client("GET", f"/v1/videos/{name}").status_code == 404
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["lock"]


def test_a_form_and_no_drawing(client, clip):
    answer = client("POST", "/v1/videos?draw=false", files={"file": ("a.mp4", clip.read_bytes())})
    name = answer.json()["id"]
    assert client.until_done(name)["state"] == "done"
    assert client("GET", f"/v1/videos/{name}/result?format=mp4").status_code == 404
    assert client("GET", f"/v1/videos/{name}/result?format=csv").status_code == 200


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 422), (b"\x89PNG\r\n\x1a\n and so on", 415)], ids=["empty", "photo"]
)
def test_what_is_refused_at_once(client, tmp_path, body, status):
    assert upload(client, body).status_code == status
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["lock"]


def test_what_is_no_video_fails_in_one_line(client, clip):
    whole = clip.read_bytes()
    names = [upload(client, body).json()["id"] for body in (b"hello" * 100, whole[:200])]
    for name in names:
        state = client.until_done(name)
        assert state["state"] == "failed"
        assert "not a video" in state["error"]
        assert "/" not in state["error"]
        assert client("GET", f"/v1/videos/{name}/result").status_code == 409


def test_limits_of_a_video(connect, clip, tmp_path):
    data = clip.read_bytes()
    client = connect(max_pixels=64 * 64 - 1)
    state = client.until_done(upload(client, data).json()["id"])
    assert (state["state"], "64 x 64 pixels" in state["error"]) == ("failed", True)
    client = connect(max_frames=11, jobs=tmp_path / "b")
    assert "more than 11 frames" in client.until_done(upload(client, data).json()["id"])["error"]
    client = connect(max_video=1000, jobs=tmp_path / "c")
    assert upload(client, bytes(70_000)).status_code == 413
    client = connect(jobs_bytes=1000, jobs=tmp_path / "d")
    assert upload(client, data).status_code == 507


def test_more_videos_than_may_wait(connect, clip):
    client = connect(video_queue=1)
    answers = [upload(client, clip.read_bytes()) for _ in range(4)]
    codes = [answer.status_code for answer in answers]
    assert codes[0] == 202
    assert 503 in codes
    for answer in answers:
        if answer.status_code == 202:
            assert client.until_done(answer.json()["id"])["state"] == "done"


def test_results_do_not_stay_for_ever(connect, clip, tmp_path):
    client = connect(keep=0.1)
    name = upload(client, clip.read_bytes()).json()["id"]
    for _ in range(2500):
        if not (tmp_path / "jobs" / name).exists():
            break
        time.sleep(0.1)
    assert client("GET", f"/v1/videos/{name}").status_code == 404
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["lock"]


def test_what_was_asked_of_a_server_that_went_is_done_by_the_next(
    connect, process, clip, pipeline, tmp_path
):
    long = tmp_path / "long.mp4"
    lengthen(clip, long, 10)
    jobs = tmp_path / "killed"
    server = process(jobs=jobs)
    name = httpx.post(f"{server.url}/v1/videos", content=long.read_bytes()).json()["id"]
    while httpx.get(f"{server.url}/v1/videos/{name}").json()["frames"] < 5:
        time.sleep(0.05)
    server.end(signal.SIGKILL)
    before = (jobs / name / "out" / "journal.jsonl").read_bytes()
    time.sleep(1)
    assert not (jobs / name / "end.json").exists()
    client = connect(jobs=jobs)
    assert client.until_done(name)["state"] == "done"
    assert (
        (jobs / name / "out" / "journal.jsonl")
        .read_bytes()
        .startswith(before[: before.rindex(b"\n")])
    )
    track(long, pipeline, tmp_path / "undisturbed")
    result = client("GET", f"/v1/videos/{name}/result?format=coco").content
    assert result == (tmp_path / "undisturbed" / "coco.json").read_bytes()
    shutil.rmtree(jobs / name, ignore_errors=True)


def lengthen(clip, to, times):
    from rmpe.media.video import Video
    from rmpe.media.video_writer import VideoWriter

    with Video(clip) as video:
        images = [frame.image for frame in video]
    with VideoWriter(to, fps=10) as writer:
        for number in range(times * len(images)):
            writer.write(images[number % len(images)], number / 10)


def test_two_servers_do_not_share_a_folder(connect, process, tmp_path):
    connect()
    command = [
        sys.executable,
        "-m",
        "rmpe",
        "serve",
        "--port",
        "0",
        "--jobs",
        str(tmp_path / "jobs"),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "another rmpe serve" in done.stderr
