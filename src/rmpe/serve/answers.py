"""Answers: the same bytes that ``rmpe predict`` writes to files, without the files."""

import io
import json
from collections.abc import Callable
from typing import Any

from rmpe.atomic import encode_list
from rmpe.pipeline import Estimator
from rmpe.runtime import sha256_of
from rmpe.serve.engine import Found
from rmpe.skeletons import Skeleton
from rmpe.write import coco, openpose, table
from rmpe.write.journal import JournalRecord

# Stands for the name of the photo in tables: names that clients give are never used.
FILE_NAME = "photo"
JSON = "application/json"


def _coco(record: JournalRecord) -> bytes:
    return b"".join(encode_list(coco.people([record])))


def _csv(record: JournalRecord) -> bytes:
    file = io.BytesIO()
    table.write_to(file, [record], record.poses.skeleton)
    return file.getvalue()


def _openpose(record: JournalRecord) -> bytes:
    return openpose.encode(record.poses)


# Formats whose bytes are those of a file of ``rmpe predict``, and their media types.
FILES: dict[str, tuple[Callable[[JournalRecord], bytes], str]] = {
    "coco": (_coco, JSON),
    "csv": (_csv, "text/csv; charset=utf-8"),
    "openpose": (_openpose, JSON),
}
FORMATS = ("json", *FILES)


def encode(
    found: Found, form: str, image_id: int, min_score: float, about: dict[str, Any]
) -> tuple[bytes, str]:
    """The body of an answer, and its media type.

    Args:
        found: The people.
        form: One of `FORMATS`.
        image_id: The photo's id in formats that have one.
        min_score: People below it are left out.
        about: More that goes into ``json``.
    """
    poses = found.poses[found.poses.scores >= min_score]
    record = JournalRecord(image_id, FILE_NAME, FILE_NAME, FILE_NAME, found.size, poses)
    if form in FILES:
        write, media_type = FILES[form]
        return write(record), media_type
    height, width = found.size
    answer = {
        "image": {"id": image_id, "width": width, "height": height},
        "skeleton": poses.skeleton.name,
        "people": poses.to_coco(image_id),
        "ms": {stage: round(1000 * seconds, 3) for stage, seconds in found.seconds.items()},
    }
    return json.dumps(answer | about).encode(), JSON


def models_of(estimator: Estimator) -> list[dict[str, str]]:
    """Kind, name, licence and SHA-256 of the models that answer."""
    stages = {"detector": estimator.detector, "stn": estimator.stn, "pose": estimator.pose}
    found = []
    for kind, stage in stages.items():
        card = getattr(stage, "card", None)
        session = getattr(stage, "session", None)
        if card is not None and session is not None:
            known = {"kind": kind, "name": card.name, "licence": card.license}
            found.append(known | {"sha256": sha256_of(session.path)})
        elif stage is not None:
            found.append({"kind": kind, "name": type(stage).__name__})
    return found


def skeleton_json(skeleton: Skeleton) -> dict[str, Any]:
    """A skeleton as JSON has it: limbs as pairs of indices, colours as RGB."""
    return {
        "name": skeleton.name,
        "joints": list(skeleton.joints),
        "limbs": [list(limb) for limb in skeleton.limbs],
        "sigmas": list(skeleton.sigmas),
        "colors": [list(color) for color in skeleton.colors],
    }
