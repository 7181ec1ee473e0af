"""Formats that have joints of their own.

A skeleton that shares none of them is refused before a run, instead of files full of zeros after
it.
"""

from collections.abc import Collection, Iterable
from itertools import chain

from rmpe.annotations.joints import plain_name
from rmpe.errors import UsageError
from rmpe.skeletons import Skeleton, load_skeleton
from rmpe.write import openpose, posetrack

JOINTS: dict[str, Collection[str]] = {
    "coco-wholebody": {plain_name(joint) for joint in load_skeleton("wholebody133").joints},
    "openpose": {*openpose.BODY_25, *chain(*openpose.SAME.values())},
    "posetrack": {*posetrack.JOINTS, "upper_neck"},
}


def require_joints(formats: Iterable[str], skeleton: Skeleton) -> None:
    """That every format can hold some joints of a skeleton.

    Raises:
        UsageError: If one of them has none of its joints.
    """
    ours = {plain_name(joint) for joint in skeleton.joints}
    for name in formats:
        if name in JOINTS and ours.isdisjoint(JOINTS[name]):
            raise UsageError(
                f"--format {name}: it has none of the joints of {skeleton}"
                f" ({', '.join(skeleton.joints[:3])} ...): all would be written as missing; take"
                " --format coco"
            )
