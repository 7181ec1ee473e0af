"""Skeletons: which joints a pose has, as data.

The skeletons that ship are TOML files in ``rmpe/data/skeletons``; a user's own has the same form
and is loaded by path.
"""

import os
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe import fields
from rmpe.errors import DataError
from rmpe.files import parse_toml, read_toml

Color = tuple[int, int, int]
# A standard deviation of half a person is no constant of a joint; COCO's largest is 0.107.
LARGEST_SIGMA = 1.0
LONGEST_NAME = 100
LEFT = (0, 200, 80)
RIGHT = (255, 128, 0)
MIDDLE = (60, 150, 255)


@dataclass(frozen=True)
class Skeleton:
    """The joints of a pose and how they hang together.

    Attributes:
        name: Short name, e.g. ``coco17``.
        joints: Joint names in order; left and right are the person's own and are written
            ``left_x``, ``right_x``.
        limbs: Pairs of joint indices that are drawn as a line.
        sigmas: One OKS constant a joint (a standard deviation as a share of the person's size; k =
            2 sigma).
        colors: RGB of each joint; by side (left green, right orange, middle blue) unless the file
            says otherwise.
    """

    name: str
    joints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]
    colors: tuple[Color, ...]

    def __len__(self) -> int:
        return len(self.joints)

    def __repr__(self) -> str:
        return f"Skeleton({self.name}, {len(self)} joints)"

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Indices (left, right) of every joint that has a twin on the other side."""
        return tuple(
            (index, self.joints.index(twin))
            for index, name in enumerate(self.joints)
            if name.startswith("left_")
            and (twin := "right_" + name.removeprefix("left_")) in self.joints
        )

    @cached_property
    def flip_order(self) -> NDArray[np.int64]:
        """Joint order of a mirrored person.

        ``mirrored[..., flip_order, :]`` has left and right in place again.
        """
        order = np.arange(len(self))
        for left, right in self.pairs:
            order[left] = right
            order[right] = left
        return order

    def spread(self, areas: NDArray[np.floating]) -> NDArray[np.float64]:
        """How far two annotators' places of each joint differ, pixels: OKS's k sqrt(area).

        Args:
            areas: ``(N,)`` of the people, square pixels.

        Returns:
            ``(N, K)``.
        """
        return np.sqrt(areas)[:, None] * 2 * np.asarray(self.sigmas)

    def correspondence(self, target: "Skeleton") -> NDArray[np.int64]:
        """Index of the joint of the same name here for every joint of ``target``; -1 = none."""
        return np.array(
            [self.joints.index(name) if name in self.joints else -1 for name in target.joints],
            np.int64,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any], source: str = "skeleton") -> "Skeleton":
        """Build a skeleton from the contents of a TOML file.

        Args:
            data: ``name``, ``joints``, ``limbs`` (pairs of joint names), ``sigmas``, optional
                ``colors`` (RGB a joint).
            source: What to call the data in error messages.

        Raises:
            DataError: If a key is missing or unknown, or the lists do not fit together.
        """
        known = {"name", "joints", "limbs", "sigmas", "colors"}
        if unknown := set(data) - known:
            raise DataError(
                f"{source}: unknown key {fields.cut(sorted(unknown)[0])!r}; a skeleton has"
                f" {', '.join(sorted(known))}"
            )
        if missing := {"name", "joints", "limbs", "sigmas"} - set(data):
            raise DataError(f"{source}: a skeleton needs {', '.join(sorted(missing))}")
        joints = fields.texts(data["joints"], f"{source}: joints")
        if not joints or len(set(joints)) != len(joints) or not all(map(_is_name, joints)):
            raise DataError(f"{source}: joints must be a list of different names")
        sigmas = tuple(fields.numbers(data["sigmas"], f"{source}: sigmas").tolist())
        given = data.get("colors")
        colors = (
            tuple(map(_side_color, joints))
            if given is None
            else tuple(
                _color(color, f"{source}: color {index}")
                for index, color in enumerate(fields.items(given, f"{source}: colors"))
            )
        )
        if len(sigmas) != len(joints) or len(colors) != len(joints) or min(sigmas) <= 0:
            raise DataError(
                f"{source}: {len(joints)} joints need {len(joints)} positive sigmas (and colors, if"
                " given)"
            )
        if max(sigmas) > LARGEST_SIGMA:
            raise DataError(f"{source}: sigma {max(sigmas):g} is more than {LARGEST_SIGMA:g}")
        limbs = []
        for index, value in enumerate(fields.items(data["limbs"], f"{source}: limbs")):
            limb = fields.texts(value, f"{source}: limb {index}")
            if len(limb) != 2 or not set(limb) <= set(joints):
                said = fields.cut(str(list(limb)))
                raise DataError(f"{source}: limb {said} does not name two of the joints")
            limbs.append((joints.index(limb[0]), joints.index(limb[1])))
        name = fields.text(data["name"], f"{source}: name")
        if not _is_name(name):
            raise DataError(f"{source}: name is {fields.shown(name)}, not a name")
        return cls(name, joints, tuple(limbs), sigmas, colors)


def _is_name(text: str) -> bool:
    return bool(text.strip()) and text.isprintable() and len(text) <= LONGEST_NAME


def _color(value: Any, place: str) -> Color:
    red, green, blue = (
        fields.whole(one, place) for one in fields.numbers(value, place, 3).tolist()
    )
    if not all(0 <= one <= 255 for one in (red, green, blue)):
        raise DataError(f"{place} must be three numbers from 0 to 255")
    return red, green, blue


def _side_color(joint: str) -> Color:
    return LEFT if joint.startswith("left_") else RIGHT if joint.startswith("right_") else MIDDLE


@cache
def load_skeleton(name_or_path: str) -> Skeleton:
    """A skeleton by name or TOML path.

    Those that ship are ``coco17``, ``mpii16``, ``crowdpose14``, ``posetrack15`` and ``lsp14``.

    Raises:
        DataError: If there is no such skeleton or file, or the file is not a skeleton.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise DataError(f"a skeleton is a name or a .toml file, not {fields.shown(name_or_path)}")
    if name_or_path in skeleton_names():
        text = (_shipped() / f"{name_or_path}.toml").read_text("utf-8")
        return Skeleton.from_dict(parse_toml(text, name_or_path), name_or_path)
    path = Path(name_or_path)
    if path.suffix != ".toml":
        raise DataError(
            f"unknown skeleton {fields.cut(name_or_path)!r}; known: {', '.join(skeleton_names())},"
            " or a .toml file"
        )
    return Skeleton.from_dict(read_toml(path), name_or_path)


@cache
def skeleton_names() -> tuple[str, ...]:
    """Names of the skeletons that ship with the package."""
    return tuple(sorted(file.name.removesuffix(".toml") for file in _shipped().iterdir()))


def _shipped() -> Any:
    return resources.files("rmpe") / "data" / "skeletons"
