"""Which joints a COCO benchmark measures: those that its annotations name, in their order."""

import numpy as np

from rmpe.annotations.joints import match_joints, skeleton_of
from rmpe.errors import DataError
from rmpe.evaluation.files.submissions import People
from rmpe.skeletons import Skeleton, load_skeleton

# The joints of COCO files that do not name theirs.
UNNAMED = "coco17"


def benchmark_skeleton(
    people: People, source: str, named: Skeleton | None = None, model: Skeleton | None = None
) -> tuple[Skeleton, str]:
    """The skeleton that annotations are measured with; its sigmas say how near is near enough.

    Args:
        people: The annotations.
        source: What to call their file in messages.
        named: What the user asks for.
        model: That of the model that is measured, if one is run; taken where the annotations have
            its joints.

    Returns:
        The skeleton, and a warning, empty if there is nothing to say.

    Raises:
        DataError: If no skeleton is known for these joints, or they stand in another order.
    """
    skeleton = named or _default(people, source, model)
    if people.joints != len(skeleton):
        raise DataError(
            f"{source}: {skeleton.name} has {len(skeleton)} joints a person, the file has"
            f" {people.joints}; name the skeleton that it has with --skeleton"
        )
    order, said = match_joints(people.joint_names, skeleton, source)
    if not np.array_equal(order, np.arange(len(skeleton))):
        place = int(np.flatnonzero(order != np.arange(len(skeleton)))[0])
        raise DataError(
            f"{source}: its category lists the joints of {skeleton.name} in another order"
            f" ({people.joint_names[place]} in place {place}, not {skeleton.joints[place]}), and"
            " results do not name theirs: put them in the order of the skeleton"
        )
    return skeleton, said


def _default(people: People, source: str, model: Skeleton | None) -> Skeleton:
    names = people.joint_names
    if model is not None and names and skeleton_matches(names, model):
        return model
    found = skeleton_of(names)
    if found is not None:
        return found
    usual = load_skeleton(UNNAMED)
    if not people.joints:
        raise DataError(
            f"{source}: no person in it has 'keypoints', so there is nothing to measure"
        )
    if not names or not _shares_a_name(names, usual):
        if people.joints == len(usual):
            return usual
        if model is not None and not names and people.joints == len(model):
            return model
    more = ", ..." if len(names) > 3 else ""
    shown = f" ({', '.join(names[:3])}{more})" if names else ""
    raise DataError(
        f"{source}: its {people.joints} joints a person{shown} are those of no skeleton that ships:"
        " name a skeleton file (TOML, with sigmas) with --skeleton"
    )


def skeleton_matches(names: tuple[str, ...], skeleton: Skeleton) -> bool:
    """Whether a list of joint names is that of a skeleton, in whatever order."""
    try:
        order, said = match_joints(names, skeleton, "")
    except DataError:
        return False
    return not said and len(names) == len(skeleton) and bool((order >= 0).all())


def _shares_a_name(names: tuple[str, ...], skeleton: Skeleton) -> bool:
    try:
        order, said = match_joints(names, skeleton, "")
    except DataError:
        return True
    return "by their place" not in said and bool((order >= 0).any())
