"""Formats that have joints of their own.

A skeleton that shares none of them is refused before a run, instead of files full of zeros after
it.
"""

from collections.abc import Collection, Iterable
from functools import cache
from itertools import chain

from rmpe.annotations.joints import plain_name
from rmpe.errors import UsageError
from rmpe.skeletons import Skeleton, load_skeleton
from rmpe.write import openpose, posetrack


@cache
def joints_of(form: str) -> Collection[str]:
    """The joints of a format that has its own; empty for one that takes every joint."""
    if form == "coco-wholebody":
        return {plain_name(joint) for joint in load_skeleton("wholebody133").joints}
    if form == "openpose":
        return {*openpose.BODY_25, *chain(*openpose.SAME.values())}
    return {*posetrack.JOINTS, "upper_neck"} if form == "posetrack" else ()


def require_joints(formats: Iterable[str], skeleton: Skeleton) -> None:
    """That every format can hold some joints of a skeleton.

    Raises:
        UsageError: If one of them has none of its joints.
    """
    ours = {plain_name(joint) for joint in skeleton.joints}
    for name in formats:
        theirs = joints_of(name)
        if theirs and ours.isdisjoint(theirs):
            raise UsageError(
                f"--format {name}: it has none of the joints of {skeleton}"
                f" ({', '.join(skeleton.joints[:3])} ...): all would be written as missing; take"
                " --format coco"
            )
