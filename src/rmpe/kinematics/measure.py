"""A person's movement in numbers: everything that the files, plots and the page show."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from rmpe.kinematics.angles import (
    DEFINITIONS,
    SEGMENTS,
    Facing,
    angle,
    directions,
    segment_length,
    speed,
)
from rmpe.kinematics.cleaning import Cleaned, Cleaning, clean
from rmpe.kinematics.scale import KnownLength, Scale, find_scale
from rmpe.kinematics.tracks import Track


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """How movement is measured.

    Attributes:
        cleaning: How joints are cleaned.
        height: The person's height in metres.
        known_length: A known length in the image.
        facing: Which way the person faces.
    """

    cleaning: Cleaning = field(default_factory=Cleaning)
    height: float | None = None
    known_length: KnownLength | None = None
    facing: Facing = "auto"


@dataclass(frozen=True, eq=False)
class Movement:
    """One person's movement.

    Attributes:
        raw: The joints as estimated.
        track: The joints after cleaning.
        cleaned: Which joints were filled and which were outliers.
        scale: Metres and the floor.
        facing: ``(T,)``: 1 right, -1 left.
        angles: Degrees ``(T,)`` by the names of `rmpe.kinematics.angles.DEFINITIONS`; those that
            the skeleton cannot give, and those never seen, are left out.
        speeds: Degrees per second ``(T,)``, by the same names.
        segments: Length in pixels ``(T,)`` by the names of `rmpe.kinematics.angles.SEGMENTS`.
    """

    raw: Track
    track: Track
    cleaned: Cleaned
    scale: Scale
    facing: NDArray[np.int64]
    angles: Mapping[str, NDArray[np.float64]]
    speeds: Mapping[str, NDArray[np.float64]]
    segments: Mapping[str, NDArray[np.float64]]

    @property
    def unit(self) -> str:
        """``m``, or ``px`` where no scale is known."""
        return "px" if self.scale.metres_per_pixel is None else "m"

    @property
    def places(self) -> NDArray[np.float64]:
        """Joints in `unit` above the floor, ``(T, K, 2)``, x right and y up."""
        return self.scale.metres(self.track.points)


def measure(track: Track, options: MeasureOptions | None = None) -> Movement:
    """Measure a person's movement.

    Raises:
        UsageError: If an option does not fit the video.
        DataError: If the height is given and the person's segments are never seen.
        MissingPackageError: If SciPy is needed and not installed.
    """
    options = options or MeasureOptions()
    cleaned = clean(track, options.cleaning)
    smooth = replace(track, points=cleaned.points)
    side = directions(smooth, options.facing)
    angles = {
        definition.name: values
        for definition in DEFINITIONS
        if np.isfinite(values := angle(smooth, definition, side)).any()
    }
    segments = {
        name: values
        for name in SEGMENTS
        if np.isfinite(values := segment_length(smooth, name)).any()
    }
    return Movement(
        raw=track,
        track=smooth,
        cleaned=cleaned,
        scale=find_scale(smooth, options.height, options.known_length),
        facing=side,
        angles=angles,
        speeds={name: speed(values, track.seconds) for name, values in angles.items()},
        segments=segments,
    )
