"""Single people with a prediction each.

They come as arrays in one ``.npz``, or as MPII's JSON with a results list.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rmpe import fields
from rmpe.errors import DataError
from rmpe.evaluation.files.frames import Floats
from rmpe.evaluation.files.mpii import joints16, read_mpii_people
from rmpe.files import read_arrays_of, read_json


@dataclass(frozen=True, eq=False)
class SinglePeople:
    """People of whom each has one prediction.

    Attributes:
        truth: ``(N, 16, 2)`` annotated joints in pixels, NaN where not annotated.
        points: ``(N, 16, 2)`` predicted joints, NaN where missing.
        head_sizes: ``(N,)`` in pixels.
        annotated: ``(N, 16)`` which joints count.
    """

    truth: Floats
    points: Floats
    head_sizes: Floats
    annotated: NDArray[np.bool_]


def read_arrays(path: Path) -> SinglePeople:
    """People from an ``.npz`` with ``gt``, ``pred``, ``head_size`` and ``annotated``.

    Raises:
        DataError: If the file cannot be read, lacks one of them, or their numbers or shapes are
            not usable.
    """
    arrays = read_arrays_of(path, ("gt", "pred", "head_size", "annotated"))
    truth, points, heads, annotated = arrays.values()
    if annotated.ndim != 2:
        raise DataError(f"{path}: 'annotated' must be (people, joints), got {annotated.shape}")
    people, joints = annotated.shape
    for name, shape in (
        ("gt", (people, joints, 2)),
        ("pred", (people, joints, 2)),
        ("head_size", (people,)),
    ):
        if arrays[name].shape != shape:
            raise DataError(f"{path}: {name!r} must be {shape}, got {arrays[name].shape}")
    if not np.isin(annotated, (0, 1)).all():
        raise DataError(f"{path}: 'annotated' must be 0 or 1 everywhere")
    if not (np.isfinite(heads).all() and (heads > 0).all()):
        raise DataError(f"{path}: 'head_size' must be finite and above 0 everywhere")
    if not np.isfinite(truth[annotated > 0]).all():
        raise DataError(f"{path}: 'gt' must be finite where a joint is annotated")
    if np.isinf(points).any():
        raise DataError(f"{path}: 'pred' must be finite, or NaN where a joint was not found")
    return SinglePeople(truth, points, heads, annotated > 0)


def read_annotations(path: Path, results: Path) -> SinglePeople:
    """People from MPII's JSON and their predictions in the same order.

    Args:
        path: The annotations, see `rmpe.evaluation.files.mpii.read_mpii_people`.
        results: A list as long, each with ``keypoints``: 16 joints of ``x, y, score``, in image
            pixels counted from 0; all of score 0 for a person who was not found.

    Raises:
        DataError: If a file is not in its layout or the lists are not equally long.
    """
    people = read_mpii_people(path)
    answers = read_json(results)
    if not isinstance(answers, list) or len(answers) != len(people):
        count = len(answers) if isinstance(answers, list) else "no"
        raise DataError(
            f"{results}: PCKh needs one prediction a person in the same order:"
            f" {count} for {len(people)}"
        )
    rows = [
        joints16(
            fields.table(answer, f"{results}: prediction {index}").get("keypoints"),
            f"{results}: prediction {index}",
        )
        for index, answer in enumerate(answers)
    ]
    found = np.array(rows, np.float64).reshape(-1, 16, 3)
    truth = np.array([person.joints for person in people], np.float64).reshape(-1, 16, 3)[..., :2]
    heads = np.array([person.head for person in people], np.float64)
    points = found[..., :2]
    annotated: NDArray[np.bool_] = np.all(np.isfinite(truth), axis=2)
    return SinglePeople(truth, points, heads, annotated)
