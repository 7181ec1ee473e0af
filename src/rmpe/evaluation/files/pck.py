"""Single people with a prediction each: arrays in one ``.npz``, or MPII's JSON with a results list."""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from rmpe.errors import DataError
from rmpe.evaluation.files.frames import Floats
from rmpe.evaluation.files.mpii import HEAD_PER_SCALE, read_mpii_people
from rmpe.files import read_json


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
        DataError: If the file cannot be read or lacks one of them.
    """
    try:
        with np.load(path) as arrays:
            return SinglePeople(
                *(arrays[name] for name in ("gt", "pred", "head_size", "annotated"))
            )
    except (OSError, ValueError, BadZipFile, KeyError) as error:
        raise DataError(
            f"{path}: needs arrays gt, pred, head_size and annotated in one .npz: {error}"
        ) from error


def read_annotations(path: Path, results: Path) -> SinglePeople:
    """People from MPII's JSON (`rmpe.evaluation.files.mpii.read_annotations`) and their
    predictions in the same order.

    Args:
        path: The annotations; the head size is 25 times ``scale``.
        results: A list as long, each with ``keypoints``: 16 joints of ``x, y, score``; all of score
            0 for a person who was not found.

    Raises:
        DataError: If a file is not in its layout or the lists are not equally long.
    """
    people = read_mpii_people(path)
    answers = read_json(results)
    if not isinstance(answers, list) or len(answers) != len(people):
        count = len(answers) if isinstance(answers, list) else "no"
        raise DataError(
            f"{results}: PCKh needs one prediction a person in the same order: {count} for {len(people)}"
        )
    rows = [answer.get("keypoints", []) for answer in answers]
    if bad := [
        index for index, row in enumerate(rows) if len(row) != 48 or not np.isfinite(row).all()
    ]:
        raise DataError(f"{results}: prediction {bad[0]} needs 16 joints of 3 finite numbers")
    found = np.array(rows, np.float64).reshape(-1, 16, 3)
    truth = np.array([person.joints for person in people], np.float64).reshape(-1, 16, 3)[..., :2]
    heads = HEAD_PER_SCALE * np.array([person.scale for person in people], np.float64)
    points = np.where(found[..., 2:] > 0, found[..., :2], np.nan)
    annotated: NDArray[np.bool_] = np.all(np.isfinite(truth), axis=2)
    return SinglePeople(truth, points, heads, annotated)
