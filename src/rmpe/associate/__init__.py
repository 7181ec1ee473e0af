"""Association: whose joint is a joint, where several people lie in one crop."""

from collections.abc import Callable
from typing import TypeAlias

from rmpe.associate.graph import associate_by_graph
from rmpe.associate.released import associate_as_released
from rmpe.errors import UsageError
from rmpe.estimate.candidates import Candidates
from rmpe.poses import Poses

__all__ = ["ASSOCIATORS", "Associator", "associator"]

Associator: TypeAlias = Callable[[Poses, Candidates], Poses]


def _none(poses: Poses, _: Candidates) -> Poses:
    return poses


ASSOCIATORS: dict[str, Associator] = {
    "none": _none,
    "paper": associate_by_graph,
    "released": associate_as_released,
}


def associator(name: str) -> Associator:
    """The association with the given name.

    Raises:
        UsageError: If there is none of that name.
    """
    if name not in ASSOCIATORS:
        raise UsageError(f"unknown association {name!r}; known: {', '.join(ASSOCIATORS)}")
    return ASSOCIATORS[name]
