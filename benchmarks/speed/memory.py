"""Does memory stay flat? ``rmpe predict`` as the folder grows, ``rmpe track`` as the video goes on.

Photos: coco-val once and ten times, with YOLOX-nano and TinyPose; only likely people, so that 2,500
photos take minutes: memory depends on the photos. Video: a long synthetic clip through the whole
command, then the same again, killed (SIGKILL) after a third and resumed: are the results those of
the undisturbed run? The models of the clip are those of the tests, so this measures the machinery,
not the networks.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import psutil

from benchmarks.options import benchmark
from benchmarks.people import folder as set_folder
from benchmarks.record import show
from rmpe.media.sources import find_images
from rmpe.media.video_writer import VideoWriter
from tests.tiny_models import spot_pose_model, spots, yolox_model

COPIES = (1, 10)
JOINTS = [(30.0, 22.0), (34.0, 40.0), (26.0, 50.0)]


def peak_megabytes(arguments):
    """Peak resident memory of a child process."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise click.ClickException(f"{' '.join(arguments)} failed with status {status}")
    return usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def photos(data, save):
    files = [item.path for item in find_images([str(set_folder(data) / "images")])]
    models = data / "models"
    rows = []
    with tempfile.TemporaryDirectory() as root:
        for count in COPIES:
            many = Path(root) / str(count)
            many.mkdir()
            for copy in range(count):
                for photo in files:
                    (many / f"{copy}_{photo.name}").symlink_to(photo.resolve())
            command = [sys.executable, "-m", "rmpe", "predict", str(many), "--quiet", "--no-draw"]
            command += ["--out", str(many / "out"), "--min-score", "0.3"]
            command += ["--detector", str(models / "yolox_nano.onnx")]
            command += ["--pose", str(models / "tinypose_256x192.onnx")]
            rows.append([count * len(files), peak_megabytes(command)])
    show(
        "memory",
        save=save,
        title="Peak memory of rmpe predict",
        data="coco-val, repeated; YOLOX-nano and TinyPose",
        columns=["images", "peak MB"],
        rows=rows,
    )


def make_clip(path, frames, fps):
    with VideoWriter(path, fps=fps) as writer:
        pictures = [
            spots((64, 64), [(x + 3 * np.sin(step / 5), y) for x, y in JOINTS], 3)
            for step in range(60)
        ]
        for number in range(frames):
            writer.write(pictures[number % 60], number / fps)


def watch(call, out, kill_at=np.inf):
    """Run ``rmpe track`` to its end, or until its results have ``kill_at`` bytes.

    Returns:
        Samples of (bytes of results, memory in MB), and the summary; None if it was killed.
    """
    command = [sys.executable, "-m", "rmpe", "track", *map(str, call), "--out", str(out), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=out.parent)
    watched, samples, results = psutil.Process(process.pid), [], out / "tracks.jsonl"
    while process.poll() is None:
        size = results.stat().st_size if results.exists() else 0
        samples.append((size, watched.memory_info().rss / 2**20))
        if size >= kill_at:
            process.kill()
            process.wait()
            return samples, None
        time.sleep(0.1)
    text = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"rmpe track failed with exit code {process.returncode}")
    return samples, json.loads(text)


def video(minutes, fps, save):
    frames = round(minutes * 60 * fps)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_clip(folder / "clip.mp4", frames, fps)
        detector = yolox_model(folder, [(30, 36, 24, 48, 0.9, 0.9)])
        call = [folder / "clip.mp4", "--detector", detector, "--pose", spot_pose_model(folder)]
        call += ["--detect-every", "10", "--smooth", "one-euro"]
        whole = folder / "whole"
        again = folder / "again"
        samples, _ = watch(call, whole)
        size = (whole / "tracks.jsonl").stat().st_size
        rows = []
        for share in (0.1, 0.25, 0.5, 0.75, 1.0):
            peak = max(rss for at, rss in samples if at <= share * size)
            rows.append(["undisturbed", round(share * frames), peak, None])
        _, unfinished = watch([*call, "--no-draw"], again, size / 3)
        if unfinished is not None:
            raise click.ClickException("it was over before it could be killed: more --minutes")
        done = (again / "journal.jsonl").read_bytes().count(b"\n") - 1
        samples, resumed = watch([*call, "--no-draw", "--resume"], again)
        names = ("journal.jsonl", "tracks.jsonl", "coco.json")
        same = all((whole / name).read_bytes() == (again / name).read_bytes() for name in names)
        peak = max(rss for _, rss in samples)
        rows.append([f"killed after {done} frames, resumed", resumed["frames"], peak, same])
    show(
        "video-memory",
        save=save,
        title="Memory of a long video",
        data=f"{minutes:g} minutes of synthetic video, 64x64, {fps} frames a second",
        columns=["run", "frames", "peak memory so far, MB", "same results"],
        rows=rows,
        notes=(
            "The models are tiny. Results are the same if journal, tracks and COCO file equal those"
            " of the undisturbed run byte for byte. Both journals keep 8 bytes and some overhead a"
            " frame in memory, to find its line again."
        ),
    )


@benchmark("data", "save")
@click.option("--only", type=click.Choice(["photos", "video"]), help="One of the two tables.")
@click.option("--minutes", default=30.0, show_default=True, help="Of video.")
@click.option("--fps", default=15, show_default=True)
def main(data, only, minutes, fps, save):
    if only != "video":
        photos(data, save)
    if only != "photos":
        video(minutes, fps, save)


if __name__ == "__main__":
    main()
