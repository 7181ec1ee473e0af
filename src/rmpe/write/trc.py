"""TRC files (Track Row Column) for biomechanics tools: one a person, with a row a frame.

One camera has no scale, and OpenSim knows no pixels: a pixel is written as a millimetre, and the
header says so. X points right and Y up from the image's lower border, Z is 0. Missing joints are
``nan``, because OpenSim drops empty cells at the end of a row; frames in which a person is out of
sight, and frames that were damaged, have rows of nothing else.

Source: the format as OpenSim documents it; every file is read by OpenSim 4.6 in the tests.
"""

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rmpe.atomic import atomic
from rmpe.skeletons import Skeleton
from rmpe.write.journal import JournalRecord

FOLDER = "trc"

UNITS = "mm"
SCALE = "1 px is written as 1 mm"
MISSING = "nan\tnan\tnan"


@dataclass
class _Person:
    """Rows written so far, and the first and last frame and time among them."""

    file: Path
    first: tuple[int, float]
    last: tuple[int, float]


def write(records: Iterable[JournalRecord], skeleton: Skeleton, out_dir: Path) -> Path:
    """Write ``trc/person_ID.trc`` for every track.

    Arguments and errors as for `rmpe.write.coco.write`.

    Returns:
        The folder.
    """
    folder = out_dir / FOLDER
    people: dict[int, _Person] = {}
    clip = _Clip()
    with tempfile.TemporaryDirectory() as scratch:
        for record in records:
            clip.add(record)
            for index in np.flatnonzero(record.poses.track_ids >= 0):
                _append(people, record, int(index), Path(scratch))
        for track_id, person in people.items():
            with (
                atomic(folder / f"person_{track_id:04d}.trc") as file,
                person.file.open("rb") as rows,
            ):
                name = f"person_{track_id:04d}.trc"
                file.write(_header(skeleton, person, name, clip.rate).encode())
                shutil.copyfileobj(rows, file)
    return folder


@dataclass
class _Clip:
    """The first and last frame and time of the whole video, and the rate that it says it has."""

    said: float = 0.0
    first: tuple[int, float] | None = None
    last: tuple[int, float] = (0, 0.0)

    def add(self, record: JournalRecord) -> None:
        """One more frame."""
        self.said = record.fps or self.said
        self.last = (record.image_id, record.seconds)
        self.first = self.first or self.last

    @property
    def rate(self) -> float:
        """Frames a second: as the video says, else as its frames came; 1 for a single frame."""
        elapsed = self.last[1] - self.first[1] if self.first else 0.0
        if self.said or elapsed <= 0 or not self.first:
            return self.said or 1.0
        return (self.last[0] - self.first[0]) / elapsed


def _append(people: dict[int, _Person], record: JournalRecord, index: int, scratch: Path) -> None:
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
                f"{frame + step + 1}\t{time:.5f}"
                + f"\t{MISSING}" * len(record.poses.skeleton)
                + "\n"
            )
        file.write(f"{record.image_id + 1}\t{record.seconds:.5f}\t{_cells(record, index)}\n")
    person.last = now


def _cells(record: JournalRecord, index: int) -> str:
    points = record.poses.keypoints[index].astype(np.float64)
    height = record.size[0]
    return "\t".join(
        f"{x:.3f}\t{height - y:.3f}\t0.000" if np.isfinite(x + y) else MISSING for x, y in points
    )


def _header(skeleton: Skeleton, person: _Person, name: str, fps: float) -> str:
    frames = person.last[0] - person.first[0] + 1
    rate = f"{fps:.3f}"
    markers = "\t\t\t".join(skeleton.joints)
    axes = "\t".join(f"X{number}\tY{number}\tZ{number}" for number in range(1, len(skeleton) + 1))
    numbers = [rate, rate, frames, len(skeleton), UNITS, rate, person.first[0] + 1, frames]
    return (
        f"PathFileType\t4\t(X/Y/Z)\t{name}\t{SCALE}\n"
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames\n"
        + "\t".join(map(str, numbers))
        + f"\nFrame#\tTime\t{markers}\t\t\n\t\t{axes}\n\n"
    )
