"""Which category of a COCO file is a person: by its name, not by a number."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rmpe import fields
from rmpe.errors import DataError

# COCO's own number of a person; where a file lists no categories.
PERSON = 1


@dataclass(frozen=True)
class Category:
    """A category of a COCO file.

    Attributes:
        id: Its number.
        name: Its name; empty if the file gives none.
        joints: Names of its joints, in the file's order; empty if it gives none.
    """

    id: int
    name: str = ""
    joints: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.id} ({self.name})" if self.name else str(self.id)


def read_categories(value: Any, source: str) -> tuple[Category, ...]:
    """The categories of a COCO file; none if it lists none.

    Raises:
        DataError: If they are not what COCO's are.
    """
    found: dict[int, Category] = {}
    for index, entry in enumerate(
        [] if value is None else fields.items(value, f"{source}: 'categories'")
    ):
        place = f"{source}: category {index}"
        record = fields.table(entry, place)
        if record.get("id") is None:
            raise DataError(f"{place} has no 'id'")
        number = fields.whole(record["id"], f"{place}: 'id'")
        name = fields.text(record.get("name") or "", f"{place}: 'name'")
        joints = record.get("keypoints")
        names = () if joints is None else fields.texts(joints, f"{place}: 'keypoints'")
        category = Category(number, name, names)
        if found.setdefault(number, category) != category:
            raise DataError(f"{source}: category id {number} is there more than once")
    return tuple(found.values())


def person_category(
    categories: Sequence[Category], used: Counter[int | None], source: str
) -> Category:
    """The category of people: the one called person (in any case), or the only one with joints.

    Categories that no annotation uses are not looked at, unless none is used.

    Args:
        categories: Those of the file.
        used: How many annotations each category has; ``None`` = they do not say.
        source: What to call the file in messages.

    Raises:
        DataError: If it cannot be told.
    """
    in_use = [category for category in categories if used[category.id]] or list(categories)
    if not categories:
        return _unlisted(used, source)
    jointed = [category for category in in_use if category.joints]
    for some in (in_use, list(categories)):
        people = [category for category in some if category.name.strip().casefold() == "person"]
        with_joints = [category for category in people if category.joints]
        if len(people) == 1 or len(with_joints) == 1:
            found = (with_joints or people)[0]
            # A label of boxes that nobody has, beside the skeleton that people do have.
            unused = not used[found.id] and not found.joints
            return jointed[0] if unused and len(jointed) == 1 and used[jointed[0].id] else found
        if people:
            raise DataError(
                f"{source}: {len(people)} categories are called person: {_list(people)}"
            )
    if len(jointed) == 1:
        return jointed[0]
    if len(in_use) == 1:
        return in_use[0]
    which = "several have joints" if jointed else "none has joints"
    raise DataError(
        f"{source}: no category is called person, and {which}: it has {_list(in_use)};"
        " call the one that is meant 'person'"
    )


def _unlisted(used: Counter[int | None], source: str) -> Category:
    """The person category of a file without a list of categories."""
    numbers = [number for number in used if number is not None]
    if PERSON in numbers or not numbers:
        return Category(PERSON)
    if len(numbers) == 1:
        return Category(numbers[0])
    raise DataError(
        f"{source}: no list of categories says which of the ids"
        f" {', '.join(map(str, sorted(numbers)[:6]))} is a person"
    )


def _list(categories: Sequence[Category]) -> str:
    return ", ".join(fields.cut(str(category)) for category in categories[:6])
