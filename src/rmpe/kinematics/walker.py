"""A made person who walks by known angles, to test what measures them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpe.kinematics.scale import SHANK, THIGH, TRUNK
from rmpe.kinematics.tracks import Track
from rmpe.skeletons import load_skeleton

SKELETON = "halpe26"
# Lengths as shares of the standing height; source: as for `rmpe.kinematics.scale`.
UPPER_ARM = 0.186
FOREARM = 0.146
FOOT = 0.152
HEAD = 0.11


@dataclass(frozen=True, kw_only=True)
class Walker:
    """Someone who walks past the camera.

    Attributes:
        height: Standing height in pixels.
        metres: Standing height in metres.
        seconds: How long.
        fps: Frames a second.
        cadence: Strides (two steps) a second.
        speed: Standing heights a second.
        facing: 1 walks to the right, -1 to the left.
        slope: Rise of the floor, image pixels down per pixel to the right.
    """

    height: float = 400.0
    metres: float = 1.75
    seconds: float = 4.0
    fps: float = 30.0
    cadence: float = 0.9
    speed: float = 0.7
    facing: int = 1
    slope: float = 0.0

    def times(self) -> NDArray[np.float64]:
        """When each frame is shown, ``(T,)`` seconds."""
        return np.arange(round(self.seconds * self.fps)) / self.fps

    def angles(self) -> dict[str, NDArray[np.float64]]:
        """The true angles, by the names of `rmpe.kinematics.angles.DEFINITIONS`."""
        phase = self.times() * self.cadence
        result: dict[str, NDArray[np.float64]] = {}
        for side, shift in (("left", 0.0), ("right", 0.5)):
            at = (phase + shift) % 1
            result |= {
                f"{side}_hip": 8 + 21 * np.cos(2 * np.pi * at),
                f"{side}_knee": 5 + 13 * _bump(at, 0.14, 0.07) + 56 * _bump(at, 0.73, 0.09),
                f"{side}_ankle": 9 * _bump(at, 0.42, 0.12) - 18 * _bump(at, 0.63, 0.06),
                f"{side}_shoulder": -5 - 18 * np.cos(2 * np.pi * at),
                f"{side}_elbow": 30 - 12 * np.cos(2 * np.pi * at),
            }
        result["trunk"] = 5 + 2 * np.cos(4 * np.pi * phase)
        result["head"] = 8 + 3 * np.sin(2 * np.pi * phase)
        return result

    def track(
        self, *, noise: float = 0.0, outliers: float = 0.0, lost: float = 0.0, seed: int = 0
    ) -> Track:
        """The walker as a track with every joint of halpe26.

        Args:
            noise: Standard deviation of every coordinate, pixels.
            outliers: Share of joints that lie far off, up to a fifth of the height.
            lost: Share of joints that are missing.
            seed: Seed of the noise.
        """
        skeleton = load_skeleton(SKELETON)
        places = _places(self.angles())
        points = np.stack([places[joint] for joint in skeleton.joints], axis=1)
        feet = [
            skeleton.joints.index(f"{side}_{part}")
            for side in ("left", "right")
            for part in ("heel", "big_toe")
        ]
        points[..., 1] -= points[:, feet, 1].min(axis=1, keepdims=True)
        points[..., 0] += self.speed * self.times()[:, None]
        points *= self.height * np.array([self.facing, -1])
        points -= [points[..., 0].min() - self.height / 2, -1.5 * self.height]
        points[..., 1] += self.slope * points[..., 0]
        generator = np.random.default_rng(seed)
        points += noise * generator.standard_normal(points.shape)
        far = generator.random(points.shape[:2]) < outliers
        points[far] += generator.uniform(-0.2, 0.2, (int(far.sum()), 2)) * self.height
        gone = generator.random(points.shape[:2]) < lost
        points[gone] = np.nan
        count = len(points)
        size = (round(2 * self.height), round(np.nanmax(points[..., 0]) + self.height / 2))
        return Track(
            person=1,
            skeleton=skeleton,
            frames=np.arange(count),
            seconds=self.times(),
            points=points,
            scores=np.where(gone, 0.0, 0.9),
            confidence=np.full(count, 0.9),
            fps=self.fps,
            size=size,
        )


def _places(angles: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Every joint of halpe26, ``(T, 2)``: hips at the origin, x forward, y up, height 1."""
    hips = np.zeros((len(angles["trunk"]), 2))
    up = _turn(np.tile([0.0, 1.0], (len(hips), 1)), -angles["trunk"])
    shoulders = hips + TRUNK * up
    crown = _turn(up, -angles["head"])
    forward = _turn(crown, -90.0)
    ears = shoulders + HEAD * crown
    found = {
        "hip": hips,
        "neck": shoulders,
        "head": shoulders + 1.7 * HEAD * crown,
        "nose": ears + 0.06 * forward,
    }
    for side in ("left", "right"):
        thigh = _turn(-up, angles[f"{side}_hip"])
        shank = _turn(thigh, -angles[f"{side}_knee"])
        sole = _turn(shank, 90 + angles[f"{side}_ankle"])
        upper_arm = _turn(-up, angles[f"{side}_shoulder"])
        forearm = _turn(upper_arm, angles[f"{side}_elbow"])
        knee = hips + THIGH * thigh
        ankle = knee + SHANK * shank
        heel = ankle + 0.039 * shank - 0.25 * FOOT * sole
        elbow = shoulders + UPPER_ARM * upper_arm
        found |= {
            f"{side}_{name}": where
            for name, where in {
                "eye": ears + 0.05 * forward + 0.02 * crown,
                "ear": ears,
                "shoulder": shoulders,
                "elbow": elbow,
                "wrist": elbow + FOREARM * forearm,
                "hip": hips,
                "knee": knee,
                "ankle": ankle,
                "heel": heel,
                "big_toe": heel + FOOT * sole,
                "small_toe": heel + 0.9 * FOOT * sole,
            }.items()
        }
    return found


def _turn(
    vectors: NDArray[np.float64], degrees: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """Vectors ``(T, 2)``, x forward and y up, turned anticlockwise."""
    radians = np.radians(degrees)
    cos = np.cos(radians)
    sin = np.sin(radians)
    return np.stack(
        [cos * vectors[:, 0] - sin * vectors[:, 1], sin * vectors[:, 0] + cos * vectors[:, 1]],
        axis=1,
    )


def _bump(phase: NDArray[np.float64], middle: float, width: float) -> NDArray[np.float64]:
    """A bell of height 1 that repeats with the stride."""
    away = (phase - middle + 0.5) % 1 - 0.5
    return np.exp(-0.5 * (away / width) ** 2)
