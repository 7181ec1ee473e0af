"""Pose NMS: reduce redundant poses to one pose per person."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

from rmpe.config import load_config
from rmpe.errors import UsageError
from rmpe.poses import Poses
from rmpe.suppress.oks import oks_nms
from rmpe.suppress.parametric import PoseNmsParameters, parametric_nms, pose_similarity
from rmpe.suppress.released import alphapose_nms, rmpe2016_nms
from rmpe.suppress.soft_oks import soft_oks_nms

__all__ = [
    "SUPPRESSORS",
    "PoseNmsParameters",
    "Suppressor",
    "parametric_nms",
    "pose_similarity",
    "suppressor",
]

Suppressor: TypeAlias = Callable[[Poses], Poses]


def _none(poses: Poses) -> Poses:
    return poses


SUPPRESSORS: dict[str, Suppressor] = {
    "parametric": parametric_nms,
    "rmpe2016": rmpe2016_nms,
    "alphapose": alphapose_nms,
    "oks": oks_nms,
    "soft-oks": soft_oks_nms,
    "none": _none,
}


def suppressor(name_or_path: str) -> Suppressor:
    """The pose NMS with the given name, or parametric pose NMS with parameters from a file.

    Args:
        name_or_path: A key of `SUPPRESSORS`, or the path of a ``.toml`` file of
            `PoseNmsParameters`.

    Raises:
        UsageError: If the name is unknown.
        DataError: If the file cannot be read or its parameters are invalid.
    """
    if name_or_path in SUPPRESSORS:
        return SUPPRESSORS[name_or_path]
    if name_or_path.endswith(".toml"):
        return partial(
            parametric_nms, parameters=load_config(PoseNmsParameters, Path(name_or_path))
        )
    raise UsageError(
        f"unknown pose NMS {name_or_path!r}; known: {', '.join(SUPPRESSORS)}, or a .toml file"
    )
