"""The ids that ``rmpe track`` gave in a real clip, against people counted by eye.

TRACKS is the ``tracks.jsonl`` of ``rmpe track pedestrians.mp4 --detector yolox_nano.onnx --pose
tinypose_256x192.onnx``; left out, that command is run first. ``pedestrians_hand_count.toml`` holds
the count.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path

import click
import numpy as np

from benchmarks.options import benchmark
from benchmarks.record import show

HAND_COUNT = Path(__file__).with_name("pedestrians_hand_count.toml")
COLUMNS = ["what", "count", "which"]
# An id that was given in fewer frames than this is a passing error, not a person: a second.
LASTING = 10


def read_tracks(path):
    """Boxes and ids of every frame: {frame: (boxes (N, 4), ids (N,))}, only those with an id."""
    frames = {}
    for line in path.read_text("utf-8").splitlines()[1:]:
        data = json.loads(line)
        ids = np.array(data["poses"]["track_ids"], np.int64)
        boxes = np.array(data["poses"]["boxes"], np.float64).reshape(-1, 4)
        frames[data["image_id"]] = (boxes[ids >= 0], ids[ids >= 0])
    return frames


def id_at(boxes, ids, point):
    """The id of the box around a point whose centre is nearest; None if no box is."""
    inside = np.flatnonzero(
        (boxes[:, :2] <= point).all(axis=1) & (boxes[:, 2:] >= point).all(axis=1)
    )
    if not len(inside):
        return None
    centers = (boxes[inside, :2] + boxes[inside, 2:]) / 2
    return int(ids[inside[np.argmin(np.linalg.norm(centers - point, axis=1))]])


def compare(people, frames):
    """Rows of the table.

    Args:
        people: From the hand count: ``name`` and ``seen``, a list of (frame, x, y).
        frames: From `read_tracks`.
    """
    switches = []
    unseen = 0
    marks = 0
    owners = {}
    for person in people:
        last = None
        for frame, x, y in person["seen"]:
            found = id_at(*frames[frame], np.array([x, y], np.float64))
            marks += 1
            unseen += found is None
            if found is None:
                continue
            owners.setdefault(found, Counter())[person["name"]] += 1
            if last not in (None, found):
                switches.append(f"{person['name']}: {last} to {found} by frame {frame}")
            last = found
    lengths = Counter(int(number) for _, ids in frames.values() for number in ids)
    lasting = [number for number, length in lengths.items() if length >= LASTING]
    nobody = sorted(number for number in lasting if number not in owners)
    shared = [
        f"{number}: {', '.join(names)}"
        for number, names in sorted(owners.items())
        if len(names) > 1
    ]
    whole = [
        person["name"]
        for person in people
        if not any(text.startswith(person["name"] + ":") for text in switches)
    ]
    return [
        ["people, counted by eye", len(people), ""],
        ["ids", len(lengths), ""],
        [f"ids of at least {LASTING} frames", len(lasting), ""],
        ["of these, ids of no counted person", len(nobody), ", ".join(map(str, nobody))],
        ["people who kept one id", len(whole), ", ".join(whole)],
        ["switches", len(switches), "; ".join(switches)],
        ["ids that two people had", len(shared), "; ".join(shared)],
        ["marks by hand", marks, ""],
        ["marks without an id", unseen, ""],
    ]


def track(data, out):
    """``tracks.jsonl`` of the clip, tracked now."""
    models = data / "models"
    command = [sys.executable, "-m", "rmpe", "track", data / "data" / "pedestrians.mp4"]
    command += ["--out", out, "--no-draw", "--quiet"]
    command += ["--detector", models / "yolox_nano.onnx"]
    command += ["--pose", models / "tinypose_256x192.onnx"]
    subprocess.run(command, check=True)
    return out / "tracks.jsonl"


@benchmark("data", "save")
@click.argument("tracks", required=False, type=click.Path(exists=True, path_type=Path))
def main(data, tracks, save):
    hand = tomllib.loads(HAND_COUNT.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as out:
        rows = compare(hand["person"], read_tracks(tracks or track(data, Path(out))))
    show(
        "pedestrians",
        save=save,
        title="People and ids in pedestrians.mp4",
        data=hand["source"],
        columns=COLUMNS,
        rows=rows,
        notes=(
            f"{hand['method']} That a flow begins with a pose score of at least 0.2 became the rule"
            " after ghosts were seen in this very clip, so the number of ids flatters the tracker."
        ),
    )


if __name__ == "__main__":
    main()
