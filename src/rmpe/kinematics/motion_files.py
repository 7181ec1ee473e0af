"""Movement for biomechanics tools: TRC and C3D (joints), MOT (angles).

Joints are in millimetres, x right along the floor, y up from the floor, z 0. Without a scale a
pixel is written as a millimetre, and the TRC header says so.

Source: the formats as OpenSim 4.6 reads them (tests); C3D, https://www.c3d.org.
"""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rmpe.atomic import atomic
from rmpe.extras import load_extra
from rmpe.kinematics.measure import Movement

UNSCALED = "1 px is written as 1 mm"
# Our angles by the names of OpenSim's Rajagopal 2015 model; its signs are the same.
COORDINATES = {
    f"{side}_{ours}": f"{theirs}_{side[0]}"
    for side in ("right", "left")
    for ours, theirs in (
        ("hip", "hip_flexion"),
        ("knee", "knee_angle"),
        ("ankle", "ankle_angle"),
        ("shoulder", "arm_flex"),
        ("elbow", "elbow_flex"),
    )
} | {"trunk": "trunk_lean", "head": "head_lean"}


def write_motion_files(movement: Movement, out_dir: Path) -> list[Path]:
    """Write ``person_ID.trc``, ``.mot`` and ``.c3d``.

    Returns:
        The files; a person of whom no angle could be measured has no MOT.

    Raises:
        OutputError: If a file cannot be written.
        MissingPackageError: If ezc3d is not installed.
    """
    stem = out_dir / f"person_{movement.track.person:04d}"
    files = [stem.with_suffix(".trc"), stem.with_suffix(".c3d")]
    with atomic(files[0]) as file:
        file.write(trc(movement, files[0].name).encode())
    write_c3d(movement, files[1])
    if movement.angles:
        files.append(stem.with_suffix(".mot"))
        with atomic(files[2]) as file:
            file.write(mot(movement, stem.name).encode())
    return files


def trc(movement: Movement, name: str) -> str:
    """A TRC file as text; joints that are missing are ``nan``."""
    track = movement.track
    rate = f"{track.fps:.3f}"
    joints = track.skeleton.joints
    note = UNSCALED if movement.scale.metres_per_pixel is None else ""
    count = len(track)
    values = [rate, rate, count, len(joints), "mm", rate, int(track.frames[0]) + 1, count]
    axes = "\t".join(f"X{number}\tY{number}\tZ{number}" for number in range(1, len(joints) + 1))
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{name}" + (f"\t{note}" if note else ""),
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame"
        "\tOrigNumFrames",
        "\t".join(map(str, values)),
        "Frame#\tTime\t" + "\t\t\t".join(joints) + "\t\t",
        f"\t\t{axes}",
        "",
    ]
    for frame, seconds, places in zip(
        track.frames, track.seconds, _millimetres(movement), strict=True
    ):
        cells = "\t".join(
            f"{x:.3f}\t{y:.3f}\t0.000" if np.isfinite(x + y) else "nan\tnan\tnan" for x, y in places
        )
        lines.append(f"{frame + 1}\t{seconds:.5f}\t{cells}")
    return "\n".join(lines) + "\n"


def mot(movement: Movement, name: str) -> str:
    """A MOT file as text: angles in degrees by OpenSim's names; those missing are ``nan``."""
    columns = [COORDINATES[angle] for angle in movement.angles]
    values = np.stack(list(movement.angles.values()), axis=1)
    head = [
        name,
        "version=1",
        f"nRows={len(values)}",
        f"nColumns={len(columns) + 1}",
        "inDegrees=yes",
        "endheader",
        "\t".join(["time", *columns]),
    ]
    rows = [
        "\t".join([f"{seconds:.5f}", *(f"{value:.4f}" for value in row)])
        for seconds, row in zip(movement.track.seconds, values, strict=True)
    ]
    return "\n".join([*head, *rows]) + "\n"


def write_c3d(movement: Movement, path: Path) -> None:
    """Write a C3D file; a missing joint has a residual of -1, which means invalid in C3D."""
    ezc3d = load_extra("ezc3d", "kinematics")
    track = movement.track
    places = _millimetres(movement)
    file = ezc3d.c3d()
    points = file["parameters"]["POINT"]
    points["RATE"]["value"] = [track.fps]
    points["UNITS"]["value"] = ["mm"]
    points["LABELS"]["value"] = list(track.skeleton.joints)
    seen = np.isfinite(places).all(axis=2)
    data = np.ones((4, places.shape[1], len(track)))
    data[:2] = np.moveaxis(places, 2, 0).swapaxes(1, 2)
    data[2] = 0
    data[:3, ~seen.T] = np.nan
    file["data"]["points"] = data
    file["data"]["meta_points"] = {
        "residuals": np.where(seen.T, 0.0, -1.0)[None],
        "camera_masks": np.zeros((7, *seen.T.shape), bool),
    }
    # ezc3d writes by name only; the file is moved to its place when it is whole.
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.c3d"
        file.write(str(whole))
        with atomic(path) as target:
            target.write(whole.read_bytes())


def _millimetres(movement: Movement) -> NDArray[np.float64]:
    """Joints ``(T, K, 2)`` in millimetres above the floor; pixels where no scale is known."""
    return movement.places * (1000 if movement.scale.metres_per_pixel is not None else 1)
