"""TRC files (Track Row Column) for biomechanics tools: one a person, a row a frame, x, y, z of
every joint.

Units are pixels: scale them to metres in the tool. X points right and Y up from the image's lower
border, Z is 0. Missing joints are empty cells; frames in which a person was out of sight have rows
without any.

Source: the format as OpenSim documents it.
"""

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rmpe.skeletons import Skeleton
from rmpe.write.atomic import atomic
from rmpe.write.journal import Record


@dataclass
class _Person:
    """Rows written so far, and the first and last frame and time among them."""

    file: Path
    first: tuple[int, float]
    last: tuple[int, float]


def write(records: Iterable[Record], skeleton: Skeleton, out_dir: Path) -> Path:
    """Write ``trc/person_ID.trc`` for every track; arguments and errors as for
    `rmpe.write.coco.write`.

    Returns:
        The folder.
    """
    folder = out_dir / "trc"
    people: dict[int, _Person] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for record in records:
            for index in np.flatnonzero(record.poses.track_ids >= 0):
                _append(people, record, int(index), Path(scratch))
        for track_id, person in people.items():
            with (
                atomic(folder / f"person_{track_id:04d}.trc") as file,
                person.file.open("rb") as rows,
            ):
                file.write(_header(skeleton, person, f"person_{track_id:04d}.trc").encode())
                shutil.copyfileobj(rows, file)
    return folder


def _append(people: dict[int, _Person], record: Record, index: int, scratch: Path) -> None:
    track_id = int(record.poses.track_ids[index])
    now = (record.image_id, record.seconds)
    person = people.setdefault(
        track_id, _Person(scratch / str(track_id), now, (record.image_id - 1, record.seconds))
    )
    (frame, seconds) = person.last
    missing = record.image_id - person.last[0] - 1
    with person.file.open("a", newline="") as file:
        for step in range(1, missing + 1):
            time = seconds + (record.seconds - seconds) * step / (missing + 1)
            file.write(
                f"{frame + step + 1}\t{time:.5f}" + "\t\t\t" * len(record.poses.skeleton) + "\n"
            )
        file.write(f"{record.image_id + 1}\t{record.seconds:.5f}\t{_cells(record, index)}\n")
    person.last = now


def _cells(record: Record, index: int) -> str:
    points = record.poses.keypoints[index].astype(np.float64)
    height = record.size[0]
    return "\t".join(
        f"{x:.3f}\t{height - y:.3f}\t0.000" if np.isfinite(x + y) else "\t\t" for x, y in points
    )


def _header(skeleton: Skeleton, person: _Person, name: str) -> str:
    frames = person.last[0] - person.first[0] + 1
    elapsed = person.last[1] - person.first[1]
    rate = f"{(frames - 1) / elapsed if elapsed > 0 else 1:.3f}"
    markers = "\t\t\t".join(skeleton.joints)
    axes = "\t".join(f"X{number}\tY{number}\tZ{number}" for number in range(1, len(skeleton) + 1))
    numbers = [rate, rate, frames, len(skeleton), "px", rate, person.first[0] + 1, frames]
    return (
        f"PathFileType\t4\t(X/Y/Z)\t{name}\n"
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames\n"
        + "\t".join(map(str, numbers))
        + f"\nFrame#\tTime\t{markers}\t\t\n\t\t{axes}\n\n"
    )
