"""Skeletons: which joints a pose has, as data.

The skeletons that ship are TOML files in ``rmpe/data/skeletons``; a user's own has the same form
and is loaded by path.
"""

import tomllib
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.errors import DataError

Color = tuple[int, int, int]
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
        """Joint order of a mirrored person: ``mirrored[..., flip_order, :]`` has left and right in place again."""
        order = np.arange(len(self))
        for left, right in self.pairs:
            order[left] = right
            order[right] = left
        return order

    def correspondence(self, target: "Skeleton") -> NDArray[np.int64]:
        """For every joint of ``target`` the index of the joint of the same name here, -1 where there is none."""
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
                f"{source}: unknown key {sorted(unknown)[0]!r}; a skeleton has {', '.join(sorted(known))}"
            )
        if missing := {"name", "joints", "limbs", "sigmas"} - set(data):
            raise DataError(f"{source}: a skeleton needs {', '.join(sorted(missing))}")
        joints = tuple(data["joints"])
        if (
            not joints
            or len(set(joints)) != len(joints)
            or not all(isinstance(joint, str) for joint in joints)
        ):
            raise DataError(f"{source}: joints must be a list of different names")
        sigmas = tuple(float(sigma) for sigma in data["sigmas"])
        colors = tuple(
            tuple(color) for color in data.get("colors", [_side_color(joint) for joint in joints])
        )
        if len(sigmas) != len(joints) or len(colors) != len(joints) or min(sigmas) <= 0:
            raise DataError(
                f"{source}: {len(joints)} joints need {len(joints)} positive sigmas (and colors, if given)"
            )
        for limb in data["limbs"]:
            if len(limb) != 2 or not set(limb) <= set(joints):
                raise DataError(f"{source}: limb {list(limb)} does not name two of the joints")
        limbs = tuple((joints.index(start), joints.index(end)) for start, end in data["limbs"])
        return cls(str(data["name"]), joints, limbs, sigmas, colors)


def _side_color(joint: str) -> Color:
    return LEFT if joint.startswith("left_") else RIGHT if joint.startswith("right_") else MIDDLE


@cache
def load_skeleton(name_or_path: str) -> Skeleton:
    """A skeleton by name (``coco17``, ``mpii16``, ``crowdpose14``, ``posetrack15``, ``lsp14``) or
    TOML path.

    Raises:
        DataError: If there is no such skeleton or file, or the file is not a skeleton.
    """
    if name_or_path in skeleton_names():
        text = (_shipped() / f"{name_or_path}.toml").read_text("utf-8")
    elif (path := Path(name_or_path)).suffix == ".toml":
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot read the skeleton file: {error}") from error
    else:
        raise DataError(
            f"unknown skeleton {name_or_path!r}; known: {', '.join(skeleton_names())}, or a .toml file"
        )
    try:
        return Skeleton.from_dict(tomllib.loads(text), name_or_path)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{name_or_path}: not valid TOML: {error}") from error


@cache
def skeleton_names() -> tuple[str, ...]:
    """Names of the skeletons that ship with the package."""
    return tuple(sorted(file.name.removesuffix(".toml") for file in _shipped().iterdir()))


def _shipped() -> Any:
    return resources.files("rmpe") / "data" / "skeletons"
