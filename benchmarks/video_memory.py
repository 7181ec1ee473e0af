"""Does the memory of ``rmpe track`` stay flat? A long synthetic video through the whole command, tiny models.

The models are those of the tests, so this measures the machinery, not the networks.
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
from record import record

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from tiny_models import spot_pose_model, spots, yolox_model

from rmpe.media.video_writer import VideoWriter

JOINTS = [(30.0, 22.0), (34.0, 40.0), (26.0, 50.0)]


def make_clip(path, frames):
    with VideoWriter(path, fps=30) as writer:
        pictures = [spots((64, 64), [(x + 3 * np.sin(step / 5), y) for x, y in JOINTS], 3) for step in range(60)]
        for number in range(frames):
            writer.write(pictures[number % 60], number / 30)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    frames = round(arguments.minutes * 60 * 30)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_clip(folder / "clip.mp4", frames)
        models = ["--detector", yolox_model(folder, [(30, 36, 24, 48, 0.9, 0.9)]), "--pose", spot_pose_model(folder)]
        call = ["track", folder / "clip.mp4", "--out", folder / "out", *models, "--detect-every", "10", "--json"]
        process = subprocess.Popen(
            [sys.executable, "-m", "rmpe", *map(str, call)], stdout=subprocess.PIPE, text=True, cwd=folder
        )
        watched, samples = psutil.Process(process.pid), []
        while process.poll() is None:
            journal = folder / "out" / "tracks.jsonl"
            size = journal.stat().st_size if journal.exists() else 0
            samples.append((size, watched.memory_info().rss / 2**20))
            time.sleep(0.5)
        summary = json.loads(process.stdout.read())
    whole = max(size for size, _ in samples)
    rows = []
    for share in (0.1, 0.25, 0.5, 0.75, 1.0):
        peak = max(rss for size, rss in samples if size <= share * whole)
        rows.append([round(share * summary["frames"]), peak])
        print(f"after {rows[-1][0]} frames: peak {peak:.0f} MB", flush=True)
    print(f"{summary['frames'] / summary['seconds']:.0f} frames/s")
    if arguments.save:
        record(
            "video-memory",
            title="Memory of a long video",
            command="python benchmarks/video_memory.py " + " ".join(sys.argv[1:]),
            data=f"{arguments.minutes:g} minutes of synthetic video, 64x64, 30 frames a second, tiny models",
            columns=["frames", "peak memory so far, MB"],
            rows=rows,
            notes="Both journals keep 8 bytes and some overhead a frame in memory, to find its line again.",
        )


if __name__ == "__main__":
    main()
