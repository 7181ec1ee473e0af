"""Angles of ``rmpe kinematics`` beside those of Sports2D, on the same videos and the same poses.

RESULTS is what ``rmpe track pedestrians.mp4 --no-draw`` wrote. Sports2D as a whole is run on the
video for every person who was seen in at least 50 frames, with our joints as its pose file
(``load_trc_px``), and on a made walker with a black video. Its angles come from the MOT files that
it writes. It runs in an environment of its own, because it wants other versions of OpenCV and
numpy: ``python -m venv s2d && s2d/bin/pip install sports2d``, and ``--python s2d/bin/python``.
"""

import json
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from benchmarks.options import benchmark
from benchmarks.record import show
from rmpe.kinematics.angles import DEFINITIONS, angle, directions, place
from rmpe.kinematics.cleaning import Cleaning, clean
from rmpe.kinematics.measure import MeasureOptions, measure
from rmpe.kinematics.tracks import Track, read_tracks
from rmpe.kinematics.walker import Walker
from rmpe.media.video_writer import VideoWriter

FEWEST = 50  # frames
RAW = Cleaning(filter="none", fill=0, outliers=0)
PARTS = {
    "Hip": "hip",
    "Knee": "knee",
    "Ankle": "ankle",
    "BigToe": "big_toe",
    "Heel": "heel",
    "Shoulder": "shoulder",
    "Elbow": "elbow",
    "Wrist": "wrist",
}
MIDDLES = {"Hip": "hips", "Neck": "shoulders", "Head": "head", "Nose": "nose"}
# Only what its pose model has; the skeleton is that of 17 joints, or of 26 with feet.
RUN = """
import json, sys, time
import matplotlib
matplotlib.use("Agg")
from Sports2D import Sports2D
start = time.perf_counter()
for config in json.loads(sys.stdin.read()):
    Sports2D.process(config)
print("seconds", time.perf_counter() - start)
"""


def joints_of(track: Track) -> dict[str, np.ndarray]:
    """Joints by Sports2D's names, ``(T, 2)`` image pixels."""
    names = {
        f"{side[0].upper()}{name}": f"{side}_{part}"
        for side in ("left", "right")
        for name, part in PARTS.items()
        if f"{side}_{part}" in track.skeleton.joints
    }
    return {name: place(track, joint) for name, joint in (names | MIDDLES).items()}


def write_trc(track: Track, count: int, path: Path) -> None:
    """The joints as a pose file in pixels, y down, with a row for each frame of the video."""
    joints = joints_of(track)
    rows = np.full((count, len(joints), 3), np.nan)
    rows[track.frames[0] : track.frames[-1] + 1, :, :2] = np.stack([*joints.values()], axis=1)
    rows[..., 2] = 0
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame"
        "\tOrigNumFrames",
        f"{track.fps}\t{track.fps}\t{count}\t{len(joints)}\tpx\t{track.fps}\t0\t{count}",
        "Frame#\tTime\t" + "\t\t\t".join(joints) + "\t\t",
        "\t\t" + "\t".join(f"{axis}{at + 1}" for at in range(len(joints)) for axis in "XYZ"),
    ]
    for frame, row in enumerate(rows):
        values = ("" if np.isnan(value) else f"{value:.4f}" for value in row.ravel())
        lines.append("\t".join([str(frame), f"{frame / track.fps:.5f}", *values]))
    path.write_text("\n".join(lines) + "\n")


def settings(video: Path, trc: Path, side: str, out: Path) -> dict:
    """Sports2D's configuration: its angles as they are, in pixels, nothing shown."""
    return {
        "base": {
            "video_input": str(video),
            "load_trc_px": str(trc),
            "visible_side": [side],
            "nb_persons_to_detect": 1,
            "person_ordering_method": "first_detected",
            "show_realtime_results": False,
            "save_vid": False,
            "save_img": False,
            "save_pose": False,
            "result_dir": str(out),
        },
        "px_to_meters_conversion": {"to_meters": False, "make_c3d": False, "save_calib": False},
        "angles": {"correct_segment_angles_with_floor_angle": False},
        "post-processing": {
            "interpolate": False,
            "fill_large_gaps_with": "nan",
            "reject_outliers": False,
            "filter": False,
            "show_graphs": False,
            "save_graphs": False,
        },
    }


def read_mot(path: Path) -> dict[str, np.ndarray]:
    """Angles by Sports2D's names."""
    lines = path.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("time"))
    table = np.genfromtxt(lines[at + 1 :], delimiter="\t", filling_values=np.nan, ndmin=2)
    return dict(zip(lines[at].split("\t"), table.T, strict=True))


def run_theirs(
    python: Path, jobs: list[tuple[Track, Path, int]], scratch: Path
) -> tuple[list[dict[str, np.ndarray]], float]:
    """Sports2D's angles for each person, and the seconds that it took."""
    configs = []
    folders = []
    for number, (track, video, count) in enumerate(jobs):
        folder = scratch / f"{number}"
        folder.mkdir()
        trc = folder / "poses_px.trc"
        write_trc(track, count, trc)
        side = "right" if directions(track, "auto").mean() >= 0 else "left"
        configs.append(settings(video, trc, side, folder))
        folders.append(folder)
    done = subprocess.run(
        [python, "-c", RUN], input=json.dumps(configs), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise click.ClickException(done.stderr[-2000:])
    seconds = float(done.stdout.split("seconds")[-1])
    found = []
    for folder in folders:
        files = sorted(folder.rglob("*_angles*.mot"))
        found.append(read_mot(files[0]) if files else {})
    return found, seconds


def compare(what: str, jobs: list[tuple[Track, Path, int]], found: list[dict]) -> list[list]:
    """Rows of the table: how far theirs are from ours."""
    rows = []
    for definition in DEFINITIONS:
        if definition.name == "head":  # theirs is against the horizontal, ours against the trunk
            continue
        off = []
        halves = []
        for (track, _, _), angles in zip(jobs, found, strict=True):
            theirs = angles.get(definition.name.replace("_", " "))
            if theirs is None:
                continue
            theirs = theirs[track.frames[0] : track.frames[-1] + 1]
            theirs = 90 - theirs if definition.name == "trunk" else theirs
            side = np.full(len(track), 1 if directions(track, "auto").mean() >= 0 else -1)
            away = angle(track, definition, side) - theirs
            away = away[np.isfinite(away)]
            off.append(np.abs((away + 90) % 180 - 90))
            halves.append(np.abs((away + 180) % 360 - 180) > 90)
        whole = np.concatenate(off) if off else np.zeros(0)
        if len(whole):
            half = 100 * float(np.concatenate(halves).mean())
            within = 100 * float((whole <= 1).mean())
            rows.append([what, definition.name, len(whole), within, half, float(whole.max())])
    return rows


def ours(tracks: list[Track]) -> float:
    """Seconds that our angles take, cleaning included."""
    start = time.perf_counter()
    for track in tracks:
        measure(track, MeasureOptions(cleaning=RAW))
    return time.perf_counter() - start


@benchmark("save")
@click.argument("results", type=click.Path(exists=True, path_type=Path))
@click.option("--video", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--python", type=click.Path(exists=True, path_type=Path), required=True)
def main(results: Path, video: Path, python: Path, save: bool) -> None:
    every = read_tracks(results)
    people = [track for track in every if np.isfinite(track.confidence).sum() >= FEWEST]
    people = [replace(track, points=clean(track, RAW).points) for track in people]
    count = 1 + max(int(track.frames[-1]) for track in every)
    made = Walker(height=200, speed=0.3).track()
    rows = []
    notes = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        black = scratch / "black.mp4"
        with VideoWriter(black, fps=made.fps) as writer:
            for second in made.seconds:
                writer.write(np.zeros((made.size[0] // 2 * 2, 640, 3), np.uint8), second)
        for what, jobs in (
            ("made walker", [(made, black, len(made))]),
            ("pedestrians.mp4", [(track, video.resolve(), count) for track in people]),
        ):
            folder = scratch / what
            folder.mkdir()
            found, seconds = run_theirs(python.absolute(), jobs, folder)
            rows += compare(what, jobs, found)
            own = ours([track for track, _, _ in jobs])
            notes.append(f"{what}: rmpe {own:.2f} s, Sports2D {seconds:.1f} s.")
    show(
        "kinematics-sports2d",
        save=save,
        title="Angles beside those of Sports2D",
        data=f"a made walker with feet; {len(people)} people of pedestrians.mp4",
        columns=["what", "angle", "values", "within 1°, %", "half a turn off, %", "largest, °"],
        rows=rows,
        notes=(
            "Sports2D is run as a whole on the same video and the same joints, both without filters"
            " and with one facing for each person. It reads the video for each person, which is"
            f" where its time goes: {' '.join(notes)} Differences are taken modulo half a turn:"
            " Sports2D lets each angle go on through jumps of more than 90 degrees as if they were"
            " half turns, so that behind such a jump, on noisy joints, it is 180 degrees off."
            " Its trunk is taken from 90 degrees, as its zero lies there; its head is measured"
            " against the horizontal, ours against the trunk, and is left out."
        ),
    )


if __name__ == "__main__":
    main()
