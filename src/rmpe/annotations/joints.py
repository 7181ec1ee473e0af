"""Joint names of a file matched with those of a skeleton: by what they say, never by accident."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rmpe.errors import DataError
from rmpe.skeletons import Skeleton, load_skeleton, skeleton_names

# Other names of the same joint, as data sets write them.
SYNONYMS = (
    {"head_top", "top_head", "head"},
    {"upper_neck", "neck", "head_bottom"},
    {"pelvis", "mid_hip", "root"},
)
SIDES = {"l": "left", "r": "right"}


def plain_name(name: str) -> str:
    """A joint's name as skeletons write it.

    ``Left Ankle``, ``leftAnkle`` and ``l-ankle`` are ``left_ankle``.
    """
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    words = re.sub(r"[^0-9a-z]+", "_", spaced.lower()).strip("_").split("_")
    return "_".join([SIDES.get(words[0], words[0]), *words[1:]])


def match_joints(
    names: Sequence[str], skeleton: Skeleton, source: str
) -> tuple[NDArray[np.int64], str]:
    """Where the joints of ``skeleton`` are in a file that lists ``names``.

    Args:
        names: Joint names of the file, in its order; empty if it gives none.
        skeleton: The joints that are wanted.
        source: What to call the file in messages.

    Returns:
        Index in the file for each joint of ``skeleton`` ``(K,)``, -1 where the file does not have
        it; and a warning, empty if there is nothing to say.

    Raises:
        DataError: If names that both have cannot be told from names that only one has: the file's
            joints are others.
    """
    ours = [plain_name(joint) for joint in skeleton.joints]
    theirs = [plain_name(name) for name in names]
    if doubled := [name for name in theirs if theirs.count(name) > 1]:
        raise DataError(f"{source}: two of its joints are called {doubled[0]!r}")
    if not names:
        return np.arange(len(ours)), ""
    places = [theirs.index(name) if name in theirs else -1 for name in ours]
    _by_synonym(places, ours, theirs)
    missing = [joint for joint, place in zip(skeleton.joints, places, strict=True) if place < 0]
    others = [name for place, name in enumerate(names) if place not in places]
    if len(missing) == len(ours):
        return _by_place(names, skeleton, source)
    if missing and others:
        raise DataError(
            f"{source}: its joints are not those of {skeleton}: it has {_list(others)}, which the"
            f" skeleton lacks, and lacks {_list(missing)}; rename them, or name the right skeleton"
        )
    said = ""
    if missing:
        said = f"{source}: has no {_list(missing)}: not labelled"
    elif others:
        said = f"{source}: its joints {_list(others)} are left out: {skeleton} has none of them"
    return np.array(places, np.int64), said


def skeleton_of(names: Sequence[str]) -> Skeleton | None:
    """The skeleton that ships and has these joints, in whatever order; ``None`` if none has."""
    theirs = [plain_name(name) for name in names]
    for known in skeleton_names():
        skeleton = load_skeleton(known)
        places = [theirs.index(joint) if joint in theirs else -1 for joint in skeleton.joints]
        _by_synonym(places, list(skeleton.joints), theirs)
        if len(theirs) == len(skeleton) and min(places) >= 0:
            return skeleton
    return None


def _by_synonym(places: list[int], ours: list[str], theirs: list[str]) -> None:
    """Fill in joints that go by another name, where only one on each side is left to mean it."""
    for group in SYNONYMS:
        here = [index for index, name in enumerate(ours) if name in group and places[index] < 0]
        there = [
            index for index, name in enumerate(theirs) if name in group and index not in places
        ]
        if len(here) == len(there) == 1:
            places[here[0]] = there[0]


def _by_place(
    names: Sequence[str], skeleton: Skeleton, source: str
) -> tuple[NDArray[np.int64], str]:
    if len(names) != len(skeleton):
        raise DataError(
            f"{source}: its joints ({_list(names)}) are not those of {skeleton}:"
            f" {_list(skeleton.joints)}"
        )
    return np.arange(len(skeleton)), (
        f"{source}: none of its joints has a name of {skeleton}, so they are matched by their"
        f" place: {names[0]} is taken for {skeleton.joints[0]}, and so on"
    )


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown
