"""``rmpe farm`` end to end on tiny models, in processes of this machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_models import JOINTS, spots

from rmpe.errors import DataError, RmpeError, StorageError, WorkerError
from rmpe.farm import storage as storage_module
from rmpe.farm.engines import on_processes
from rmpe.farm.manifest import read_run, read_shard
from rmpe.farm.parts import (
    Row,
    finished,
    give_up,
    given_up,
    name_of,
    read_errors,
    read_part,
    write_part,
)
from rmpe.farm.storage import open_storage, patiently
from rmpe.media.images import save_image
from rmpe.media.video_writer import VideoWriter
from rmpe.poses import Poses

pytest.importorskip("pyarrow")
pytest.importorskip("fsspec")
pytest_plugins = ["farming"]
pytestmark = pytest.mark.usefixtures("importable_stubs")
FORMATS = ["--format", "coco", "--format", "csv", "--format", "alphapose"]
posix = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")


def the_same(first, second, *names):
    for name in names or ("coco.json", "poses.csv", "alphapose-results.json", "images.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def predicted(rmpe, photos, models, out):
    result = rmpe("predict", photos, "--out", out, "--no-draw", "--threads", 1, *models, *FORMATS)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return out


@pytest.mark.parametrize("parts", [[""], ["1/1"], ["1/2", "2/2"], ["3/3", "1/3", "2/3"], ["4/4"]])
def test_merged_files_are_those_of_predict(tmp_path, rmpe, models, photos, planned, parts):
    for part in parts:
        arguments = ["--part", part] if part else ["--workers", 2]
        assert rmpe("run", planned, *arguments).exit_code == 0
    whole = parts != ["4/4"]  # of three shards, the fourth part has none
    if whole:
        assert rmpe("merge", planned, "--out", tmp_path / "merged", *FORMATS).exit_code == 0
        the_same(tmp_path / "merged", predicted(rmpe, photos, models, tmp_path / "predicted"))
    else:
        assert finished(open_storage(str(planned)).entries()) == {}


def test_a_merge_that_is_refused_leaves_what_was_there(tmp_path, rmpe, planned):
    assert rmpe("run", planned).exit_code == 0
    out = tmp_path / "merged"
    assert rmpe("merge", planned, "--out", out).exit_code == 0
    before = (out / "coco.json").read_bytes()
    refused = rmpe("merge", planned, "--out", out, "--format", "posetrack")
    assert "--format posetrack: " in str(refused.exception)
    assert (out / "coco.json").read_bytes() == before


def test_paths_are_those_of_predict(tmp_path, rmpe, models, photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    assert rmpe("plan", photos.name, "--out", tmp_path / "run", *models).exit_code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert rmpe("run", tmp_path / "run").exit_code == 0
    assert rmpe("merge", tmp_path / "run", "--out", tmp_path / "merged", *FORMATS).exit_code == 0
    monkeypatch.chdir(photos.parent)
    the_same(tmp_path / "merged", predicted(rmpe, photos.name, models, tmp_path / "predicted"))


def test_no_flipped_bit_is_read_as_something_else(planned):
    storage = open_storage(str(planned))
    plan = read_run(storage)
    rng = np.random.default_rng(0)
    rows = []
    for number, item in enumerate(read_shard(storage.address, 0)):
        count = number % 3
        poses = Poses(
            rng.uniform(0, 60, (count, 3, 2)),
            rng.uniform(0, 1, (count, 3)),
            rng.uniform(0, 1, count),
            rng.uniform(0, 60, (count, 4)),
            plan.skeleton,
        )
        rows.append(Row(item.image_id, item.file, item.name, item.path, (64, 64), poses))
    write_part(storage, plan, 0, rows)

    def found():
        return [
            (row.image_id, row.path, row.poses.to_dict()) for row in read_part(storage, plan, 0)
        ]

    whole = found()
    for kind in ("images", "people"):
        part = planned / name_of(kind, 0)
        data = part.read_bytes()
        refused = 0
        for place in range(4, len(data), 61):
            part.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
            try:
                assert found() == whole, place
            except DataError as error:
                assert "\n" not in str(error)
                refused += 1
        part.write_bytes(data)
        assert refused > 10


def test_ids_in_another_order_than_shards(tmp_path, rmpe, models):
    """The numbers in the names are ids: ``10`` is sorted before ``9``."""
    photos = tmp_path / "numbers"
    for number in range(1, 14):
        save_image(photos / f"{number}.png", spots((64, 64), JOINTS, 3))
    assert rmpe("plan", photos, "--out", tmp_path / "run", "--shard", 4, *models).exit_code == 0
    assert rmpe("run", tmp_path / "run").exit_code == 0
    assert rmpe("merge", tmp_path / "run", "--out", tmp_path / "merged", *FORMATS).exit_code == 0
    the_same(tmp_path / "merged", predicted(rmpe, photos, models, tmp_path / "predicted"))
    rows = json.loads((tmp_path / "merged" / "coco.json").read_text())
    assert [row["image_id"] for row in rows] == list(range(1, 14))


def test_same_bytes_whoever_does_a_shard(tmp_path, rmpe, planned):
    assert rmpe("run", planned, "--workers", 2).exit_code == 0
    first = {file.name: file.read_bytes() for file in planned.glob("*-*.parquet")}
    for file in planned.glob("*-0000*.parquet"):
        if not file.name.startswith("manifest"):
            file.unlink()
    assert rmpe("run", planned, "--part", "1/1").exit_code == 0
    assert {file.name: file.read_bytes() for file in planned.glob("*-*.parquet")} == first


def test_a_video_is_tracked_as_by_track(tmp_path, rmpe, models, photos):
    with VideoWriter(photos / "clip one.mp4", fps=10) as writer:
        for number in range(8):
            writer.write(np.roll(spots((64, 64), JOINTS, 3), number // 4, axis=1), number / 10)
    (photos / "bad.mp4").write_bytes(b"no video")
    assert rmpe("plan", photos, "--out", tmp_path / "run", *models).exit_code == 0
    result = rmpe("run", tmp_path / "run")
    assert result.exit_code == 1
    assert result.stderr.count("failed: ") == 1
    assert "bad.mp4" in result.stderr
    assert rmpe("merge", tmp_path / "run", "--out", tmp_path / "merged", *FORMATS).exit_code == 0
    tracked = ["--out", tmp_path / "tracked", "--no-draw", *models, *FORMATS]
    assert rmpe("track", photos / "clip one.mp4", *tracked).exit_code == 0
    the_same(tmp_path / "merged" / "clip one", tmp_path / "tracked")
    assert not (tmp_path / "merged" / "bad").exists()
    the_same(tmp_path / "merged", predicted(rmpe, photos, models, tmp_path / "predicted"))


def test_bad_photos_are_rows_with_their_reason(tmp_path, rmpe, models, photos, status):
    (photos / "0 empty.jpg").write_bytes(b"")
    (photos / "text.jpg").write_text("no picture")
    gone = photos / "3.png"
    assert rmpe("plan", photos, "--out", tmp_path / "run", "--shard", 4, *models).exit_code == 0
    gone.rename(photos / "moved")
    result = rmpe("run", tmp_path / "run")
    assert result.exit_code == 1
    assert sorted(line.split("/")[-1].split(":")[0] for line in result.stderr.splitlines()) == [
        "0 empty.jpg",
        "3.png",
        "text.jpg",
    ]
    assert status(tmp_path / "run")["photos_failed"] == 3
    again = rmpe("run", tmp_path / "run")
    assert (again.exit_code, again.stderr) == (1, result.stderr)
    (photos / "moved").rename(gone)
    assert rmpe("run", tmp_path / "run", "--retry-failed").exit_code == 1
    assert status(tmp_path / "run")["photos_failed"] == 2
    assert rmpe("merge", tmp_path / "run", "--out", tmp_path / "merged", *FORMATS).exit_code == 0
    the_same(tmp_path / "merged", predicted(rmpe, photos, models, tmp_path / "predicted"))


def test_ids_from_annotations(tmp_path, rmpe, models, photos):
    truth = tmp_path / "truth.json"
    truth.write_text(
        json.dumps({"images": [{"id": 70 - n, "file_name": f"photos/{n}.png"} for n in range(5)]})
    )
    arguments = ["--annotations", truth, "--shard", 4, *models]
    assert rmpe("plan", photos, "--out", tmp_path / "run", *arguments).exit_code == 0
    result = rmpe("run", tmp_path / "run")
    assert (result.exit_code, result.stderr.count("not named in")) == (1, 5)
    assert rmpe("merge", tmp_path / "run", "--out", tmp_path / "merged", *FORMATS).exit_code == 0
    models = [*models, "--annotations", str(truth)]
    the_same(tmp_path / "merged", predicted(rmpe, photos, models, tmp_path / "predicted"))


@posix
def test_a_photo_that_kills_its_worker_is_found_and_named(rmpe, photos, planned):
    run = read_run(open_storage(str(planned)))
    bombs = planned.parent / "bombs"
    shutil.copytree(photos, bombs)
    (bombs / "2.png").rename(bombs / "2 bomb.png")
    out = planned.parent / "deadly"
    models = ["--detector", run.pipeline.detector, "--pose", run.pipeline.pose]
    assert rmpe("plan", bombs, "--out", out, "--shard", 4, *models).exit_code == 0
    outcomes = list(on_processes(str(out), range(3), 2, "stubs:Deadly"))
    assert sorted((outcome.photos, outcome.failed) for outcome in outcomes) == [
        (2, 0),
        (4, 0),
        (4, 1),
    ]
    storage = open_storage(str(out))
    errors = [error for shard in range(3) for error in read_errors(storage, shard)]
    assert errors == [f"{bombs / '2 bomb.png'}: killed the worker (signal 9)"]
    rows = [row for shard in range(3) for row in read_part(storage, read_run(storage), shard)]
    assert sum(row.poses is not None for row in rows) == 9


@posix
def test_a_worker_that_dies_once_costs_nothing(tmp_path, monkeypatch, planned):
    monkeypatch.setenv("RMPE_TEST_MARK", str(tmp_path / "mark"))
    outcomes = list(on_processes(str(planned), range(3), 1, "stubs:DeadlyOnce"))
    assert [(outcome.photos, outcome.failed, outcome.error) for outcome in outcomes] == [
        (4, 0, ""),
        (4, 0, ""),
        (2, 0, ""),
    ]


def test_workers_that_never_start_end_the_run(planned):
    with pytest.raises(WorkerError, match=r"no worker can be started: .*exit code 3"):
        list(on_processes(str(planned), range(3), 2, "stubs:NeverStarts"))


def test_a_storage_fault_fails_the_shard_and_the_run_goes_on(rmpe, planned, status):
    outcomes = list(on_processes(str(planned), range(3), 1, "stubs:Faulty"))
    assert [outcome.error for outcome in outcomes] == ["", "s3://x/y: 503 (tried 5 times)", ""]
    storage = open_storage(str(planned))
    assert given_up(storage, storage.entries()) == {1: "s3://x/y: 503 (tried 5 times)"}
    assert (status(planned)["shards_done"], status(planned)["shards_failed"]) == (2, 1)
    assert rmpe("run", planned).exit_code == 0
    assert status(planned)["shards_failed"] == 0


@pytest.mark.parametrize(
    ("faults", "waits"), [([], []), ([OSError("503")], [0.5]), ([TimeoutError()] * 5, None)]
)
def test_a_fault_is_tried_five_times_with_growing_waits(monkeypatch, faults, waits):
    slept = []
    monkeypatch.setattr(storage_module.time, "sleep", slept.append)
    left = list(faults)

    def action():
        if left:
            raise left.pop()
        return "done"

    if waits is None:
        with pytest.raises(StorageError, match=r"^s3://b/a: .*\(tried 5 times\)"):
            patiently(action, "s3://b/a")
        assert slept == [0.5, 1, 2, 4]
    else:
        assert patiently(action, "s3://b/a") == "done"
        assert slept == waits


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "{tmp}/nowhere"], "no run is planned there"),
        (["status", "{tmp}/photos"], "no run is planned there"),
        (["merge", "{tmp}/nowhere", "--out", "{tmp}/m"], "no run is planned there"),
        (["merge", "{tmp}/run", "--out", "{tmp}/m"], "3 of 3 shards are not done"),
        (["run", "{tmp}/run", "--part", "0/16"], "numbered from 1 to N"),
        (["run", "{tmp}/run", "--part", "17/16"], "numbered from 1 to N"),
        (["run", "{tmp}/run", "--part", "3"], "is not I/N"),
        (["run", "{tmp}/run", "--part", "1/0"], "at least one part"),
        (["run", "{tmp}/run", "--workers", "0"], "0 is not in the range"),
        (["run", "{tmp}/run", "--workers", "1000000"], "each needs about 300 MB"),
        (["run", "{tmp}/run", "--address", "auto"], "for --engine ray"),
        (["plan", "{tmp}/photos", "--out", "{tmp}/run"], "a run is planned there already"),
        (["plan", "{tmp}/gone", "--out", "{tmp}/new"], "gone: no such file"),
        (["plan", "{tmp}/empty", "--out", "{tmp}/new"], "no photos and no videos found"),
        (["plan", "nosuchscheme://x", "--out", "{tmp}/new"], "nosuchscheme://x: "),
        (["plan", "{tmp}/photos", "--out", "nosuchscheme://x"], "nosuchscheme://x: "),
        (["plan", "{tmp}/photos", "--out", "{tmp}/photos/0.png"], "0.png"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, rmpe, models, planned, arguments, message):
    (tmp_path / "empty").mkdir()
    filled = [argument.format(tmp=tmp_path) for argument in arguments]
    result = rmpe(*filled, *(models if arguments[0] == "plan" else []))
    assert result.exit_code != 0
    said = str(result.exception) if isinstance(result.exception, RmpeError) else result.stderr
    assert message in said
    assert "Traceback" not in result.output


def test_other_models_are_refused(tmp_path, rmpe, models, photos):
    own = tmp_path / "own"
    own.mkdir()
    for word in models[1::2]:
        shutil.copytree(Path(word).parent, own, dirs_exist_ok=True)
    detector, pose = (own / Path(word).name for word in models[1::2])
    plan = ["--detector", detector, "--pose", pose, "--out", tmp_path / "run"]
    assert rmpe("plan", photos, *plan).exit_code == 0
    card = pose.with_suffix(".toml")
    card.write_text(card.read_text().replace("growth = 1.3", "growth = 1.4"))
    result = rmpe("run", tmp_path / "run")
    assert isinstance(result.exception, WorkerError)
    assert "planned with other settings: pose card was" in str(result.exception)


@pytest.mark.parametrize("kind", ["images", "people"])
@pytest.mark.parametrize("size", [0, 5, 100, 1500])
def test_a_part_cut_off_is_redone_or_named(tmp_path, rmpe, planned, kind, size):
    assert rmpe("run", planned).exit_code == 0
    part = planned / name_of(kind, 1)
    part.write_bytes(part.read_bytes()[:size])
    result = rmpe("run", planned)
    if size < 12:  # never committed
        assert result.exit_code == 0
    elif kind == "images":
        assert "images-000001.parquet: damaged" in str(result.exception)
        part.unlink()
        assert rmpe("run", planned).exit_code == 0
    else:
        merged = rmpe("merge", planned, "--out", tmp_path / "merged")
        assert "people-000001.parquet: damaged" in str(merged.exception)
        (planned / name_of("images", 1)).unlink()
        assert rmpe("run", planned).exit_code == 0
    assert rmpe("merge", planned, "--out", tmp_path / "merged").exit_code == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"rmpe_farm": 0}', '{"rmpe_farm": 1}'])
def test_a_damaged_plan_is_named(rmpe, planned, text):
    (planned / "run.json").write_text(text)
    result = rmpe("run", planned)
    assert isinstance(result.exception, RmpeError)
    assert "run.json" in str(result.exception)


def test_a_shard_is_a_multiple_of_four_and_the_last_is_smaller(planned):
    run = read_run(open_storage(str(planned)))
    assert [run.size(shard) for shard in run.shards] == [4, 4, 2]
    items = [item for shard in run.shards for item in read_shard(str(planned), shard)]
    assert [item.image_id for item in items] == list(range(1, 11))
    assert len({item.name.casefold() for item in items}) == 10


@posix
def test_a_photo_whose_name_is_no_text(tmp_path, rmpe, models):
    photos = tmp_path / "odd"
    save_image(photos / "a.png", spots((64, 64), JOINTS, 3))
    try:
        (photos / "a.png").rename(photos / os.fsdecode(b"\xff 50%25.png"))
    except OSError:
        pytest.skip("this file system takes text only")
    assert rmpe("plan", photos, "--out", tmp_path / "run", *models).exit_code == 0
    assert rmpe("run", tmp_path / "run").exit_code == 0


def test_status_before_and_after(rmpe, planned, status):
    before = status(planned)
    assert (before["photos"], before["photos_done"], before["seconds_left"]) == (10, 0, None)
    assert "no rate yet" in rmpe("status", planned).stdout
    give_up(open_storage(str(planned)), 2, "broken")
    assert "shard 2: broken" in rmpe("status", planned, "--failed").stderr
    rmpe("run", planned)
    assert status(planned)["photos_done"] == 10


def test_parquet_is_read_by_pandas(planned, rmpe):
    pandas = pytest.importorskip("pandas")
    assert rmpe("run", planned).exit_code == 0
    images = pandas.concat(map(pandas.read_parquet, sorted(planned.glob("images-*.parquet"))))
    people = pandas.concat(map(pandas.read_parquet, sorted(planned.glob("people-*.parquet"))))
    assert (len(images), images["people"].sum(), images["error"].isna().all()) == (10, 10, True)
    assert people["keypoints"].iloc[0].shape == (9,)
    assert list(people["image_id"]) == list(range(1, 11))


@posix
@pytest.mark.slow
def test_killed_drivers_lose_nothing(tmp_path, rmpe, models, photos):
    """The same command until it ends by itself: nothing missing, nothing double, nothing half."""
    folder = tmp_path / "many"
    for number in range(200):
        save_image(folder / f"{number:03}.png", spots((64, 64), JOINTS, 3))
    run = tmp_path / "run"
    assert rmpe("plan", folder, "--out", run, "--shard", 4, *models).exit_code == 0
    line = [sys.executable, "-m", "rmpe", "farm", "run", str(run), "--workers", "2", "--quiet"]
    for kill in range(4):
        process = subprocess.Popen(line, start_new_session=True)
        before = len(list(run.glob("images-*")))
        deadline = time.monotonic() + 60
        while len(list(run.glob("images-*"))) <= before + kill and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert subprocess.run(line, check=False).returncode == 0
    assert not list(run.glob(".*.partial"))
    assert rmpe("merge", run, "--out", tmp_path / "merged", *FORMATS).exit_code == 0
    the_same(tmp_path / "merged", predicted(rmpe, folder, models, tmp_path / "predicted"))
