"""From pixels to metres: the person's height or a known length, and the floor."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpe.errors import DataError, UsageError
from rmpe.fields import LARGEST_PIXEL
from rmpe.kinematics.angles import segment_length
from rmpe.kinematics.tracks import Track

# Shares of the standing height: shank, thigh, and trunk from hip to shoulder.
# Source: Winter, "Biomechanics and Motor Control of Human Movement", 2009, figure 4.1.
SHANK = 0.285 - 0.039
THIGH = 0.530 - 0.285
TRUNK = 0.818 - 0.530
TALLEST = 2.8  # metres
FEET = ("ankle", "heel", "big_toe", "small_toe")
STILL = 0.2  # a foot slower than this share of its fast speed stands
LONGEST = 1000.0  # metres; a longer known length is taken for a mistake


@dataclass(frozen=True)
class KnownLength:
    """A line in the image whose length is known; it should lie where the person moves.

    Attributes:
        start: (x, y) image pixels.
        end: (x, y) image pixels.
        metres: Its length.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    metres: float

    def __post_init__(self) -> None:
        if not 0 < self.metres < LONGEST or not 1 <= self.pixels <= LARGEST_PIXEL:
            raise UsageError(
                f"--known-length: {self.metres:g} m over {self.pixels:.1f} px; it needs two"
                " different points X1 Y1 X2 Y2 and a length in metres"
            )

    @property
    def pixels(self) -> float:
        """Its length in the image."""
        return float(np.hypot(self.end[0] - self.start[0], self.end[1] - self.start[1]))


@dataclass(frozen=True)
class Scale:
    """Where metres are measured: x right and y up along the floor, from its height.

    Attributes:
        metres_per_pixel: Size of a pixel; ``None`` if nothing tells.
        slope: Rise of the floor, in image pixels down per pixel to the right.
        floor: y of the floor at x = 0, image pixels.
    """

    metres_per_pixel: float | None
    slope: float
    floor: float

    def metres(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Image pixels ``(..., 2)`` as metres; as pixels where no scale is known."""
        along = np.array([1.0, self.slope]) / np.hypot(1.0, self.slope)
        up = np.array([along[1], -along[0]])
        moved = points - np.array([0.0, self.floor])
        return np.stack([moved @ along, moved @ up], axis=-1) * (self.metres_per_pixel or 1.0)


def standing_height(track: Track) -> float:
    """A person's standing height in pixels, from the median lengths of shank, thigh and trunk.

    It needs no frame in which the person stands upright, but a view from the side, in which these
    segments are not foreshortened.

    Raises:
        DataError: If one of the three is never seen.
    """
    lengths = []
    for name in ("shank", "thigh"):
        both = [_median(segment_length(track, f"{side}_{name}")) for side in ("left", "right")]
        lengths.append(_median(np.array(both)))
    lengths.append(_median(segment_length(track, "trunk")))
    total = float(np.sum(lengths))
    if not np.isfinite(total) or total <= 0:
        raise DataError(
            f"person {track.person}: --height needs ankle, knee, hip and shoulder in some frames;"
            " give --known-length instead"
        )
    return total / (SHANK + THIGH + TRUNK)


def find_scale(track: Track, height: float | None, known: KnownLength | None) -> Scale:
    """The scale of a person.

    Args:
        track: Cleaned joints.
        height: The person's height in metres.
        known: A known length in the image; it goes before the height.

    Raises:
        UsageError: If the height is no person's.
        DataError: See `standing_height`.
    """
    if height is not None and not 0.3 <= height <= TALLEST:
        raise UsageError(f"--height {height:g}: give the person's height in metres, e.g. 1.75")
    size = None
    if known is not None:
        size = known.metres / known.pixels
    elif height is not None:
        size = height / standing_height(track)
    return Scale(size, *floor_line(track))


def floor_line(track: Track) -> tuple[float, float]:
    """The floor as a line in the image: slope and y at x = 0.

    It goes through the lowest foot joint of the frames in which a foot stands still. If the person
    stays within two trunk lengths, or the line is steeper than 15 degrees, it is level.
    """
    spots = _standing_feet(track)
    if not len(spots):
        return 0.0, float(track.size[0])
    level = (0.0, float(np.median(spots[:, 1])))
    trunk = _median(segment_length(track, "trunk"))
    if len(spots) < 10 or not np.ptp(spots[:, 0]) > 2 * trunk:
        return level
    slope, floor = _theil_sen(spots)
    return (slope, floor) if abs(slope) < np.tan(np.radians(15)) else level


def _standing_feet(track: Track) -> NDArray[np.float64]:
    spots = []
    for side in ("left", "right"):
        feet = np.stack([track.joint(f"{side}_{name}") for name in FEET])
        ankle = feet[0]
        speeds = np.linalg.norm(np.gradient(ankle, axis=0), axis=1) if len(track) > 1 else None
        if speeds is None or not np.isfinite(speeds).any():
            continue
        fast = np.nanquantile(speeds, 0.95)
        still = np.flatnonzero(speeds <= STILL * fast)
        heights = np.where(np.isfinite(feet[..., 1]), feet[..., 1], -np.inf)
        lowest = heights[:, still].argmax(axis=0)
        spots.append(feet[lowest, still])
    found = np.concatenate(spots) if spots else np.zeros((0, 2))
    return found[np.isfinite(found).all(axis=1)]


def _theil_sen(spots: NDArray[np.float64], most: int = 400) -> tuple[float, float]:
    """Line by the median of all slopes between spots (Theil and Sen); outliers do not move it."""
    chosen = spots[np.linspace(0, len(spots) - 1, min(len(spots), most)).astype(int)]
    first, second = np.triu_indices(len(chosen), 1)
    run = chosen[second] - chosen[first]
    apart = np.abs(run[:, 0]) > 0.1 * np.ptp(chosen[:, 0])
    slope = float(np.median(run[apart, 1] / run[apart, 0]))
    return slope, float(np.median(chosen[:, 1] - slope * chosen[:, 0]))


def _median(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
