"""MOT text, as the MOT Challenge and its tools read it: one line a person and frame.

Source: https://motchallenge.net/instructions (frame, id, left, top, width, height, confidence, x,
y, z).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from rmpe.atomic import atomic
from rmpe.skeletons import Skeleton
from rmpe.write.journal import JournalRecord

FILE = "mot.txt"


def write(records: Iterable[JournalRecord], skeleton: Skeleton, out_dir: Path) -> Path:  # noqa: ARG001
    """Write ``mot.txt``; arguments and errors as for `rmpe.write.coco.write`.

    Frames, ids and pixels are counted from 1, as the format has it. People without an id are left
    out: the format has no place for them.
    """
    path = out_dir / FILE
    with atomic(path) as file:
        file.writelines(line.encode() for record in records for line in _lines(record))
    return path


def _lines(record: JournalRecord) -> Iterator[str]:
    poses = record.poses[record.poses.track_ids >= 0]
    for box, score, track_id in zip(
        poses.boxes.tolist(), poses.scores.tolist(), poses.track_ids.tolist(), strict=True
    ):
        x1, y1, x2, y2 = box
        place = f"{x1 + 1:.2f},{y1 + 1:.2f},{x2 - x1:.2f},{y2 - y1:.2f}"
        yield f"{record.image_id + 1},{track_id + 1},{place},{score:.4f},-1,-1,-1\n"
