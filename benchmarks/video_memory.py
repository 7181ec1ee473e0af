"""Does the memory of ``rmpe track`` stay flat? A long synthetic video through the whole command,
tiny models.

Then the same again, killed (SIGKILL) after a third and resumed: are the results those of the
undisturbed run? The models are those of the tests, so this measures the machinery, not the
networks.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from record import show

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from tiny_models import spot_pose_model, spots, yolox_model

from rmpe.media.video_writer import VideoWriter

JOINTS = [(30.0, 22.0), (34.0, 40.0), (26.0, 50.0)]
COLUMNS = ["run", "frames", "peak memory so far, MB", "same results"]


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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--fps", type=int, default=15)
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    frames, started = round(arguments.minutes * 60 * arguments.fps), time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_clip(folder / "clip.mp4", frames, arguments.fps)
        models = [
            "--detector",
            yolox_model(folder, [(30, 36, 24, 48, 0.9, 0.9)]),
            "--pose",
            spot_pose_model(folder),
        ]
        call = [folder / "clip.mp4", *models, "--detect-every", "10", "--smooth", "one-euro"]
        whole, again = folder / "whole", folder / "again"
        samples, summary = watch(call, whole)
        size = (whole / "tracks.jsonl").stat().st_size
        rows = [
            [
                "undisturbed",
                round(share * frames),
                max(rss for at, rss in samples if at <= share * size),
                None,
            ]
            for share in (0.1, 0.25, 0.5, 0.75, 1.0)
        ]
        _, unfinished = watch([*call, "--no-draw"], again, size / 3)
        assert unfinished is None, "it was over before it could be killed: give it more minutes"
        done = (again / "journal.jsonl").read_bytes().count(b"\n") - 1
        samples, resumed = watch([*call, "--no-draw", "--resume"], again)
        names = ("journal.jsonl", "tracks.jsonl", "coco.json")
        same = all((whole / name).read_bytes() == (again / name).read_bytes() for name in names)
        peak = max(rss for _, rss in samples)
        rows.append([f"killed after {done} frames, resumed", resumed["frames"], peak, same])
    print(
        f"{summary['frames'] / summary['seconds']:.0f} frames/s; all of it {time.perf_counter() - started:.0f} s"
    )
    show(
        "video-memory",
        save=arguments.save,
        title="Memory of a long video",
        command="python benchmarks/video_memory.py " + " ".join(sys.argv[1:]),
        data=f"{arguments.minutes:g} minutes of synthetic video, 64x64, {arguments.fps} frames a second",
        columns=COLUMNS,
        rows=rows,
        notes="Tiny models. 'Same results': journal, tracks and COCO file are equal byte for byte to those of the "
        "undisturbed run. Both journals keep 8 bytes and some overhead a frame in memory, to find its line again.",
    )


if __name__ == "__main__":
    main()
