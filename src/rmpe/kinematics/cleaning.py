"""Joints over time without outliers, short gaps and jitter.

The order is that of biomechanics tools: doubtful joints out, outliers out, gaps filled, then
smoothed. Nothing is filtered across a gap that stays open.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from rmpe.errors import UsageError
from rmpe.extras import load_extra
from rmpe.kinematics import spline
from rmpe.kinematics.tracks import Track, runs
from rmpe.poses import Poses
from rmpe.tracking.smooth import OneEuro

Filter = Literal["spline", "butterworth", "one-euro", "median", "none"]
FILTERS: tuple[Filter, ...] = get_args(Filter)
Smoother: TypeAlias = Callable[[NDArray[np.float64], slice], NDArray[np.float64]]
ORDER = 2  # a pass each way doubles it: a zero-phase filter of 4th order
UNEVEN = 0.05  # share of a frame's time by which times may be off an even grid
TO_SIGMA = 1.4826  # median absolute deviation of a normal distribution -> standard deviation


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """How joints over time are cleaned.

    Attributes:
        filter: Smoothing: ``spline`` (finds its smoothness itself, see `rmpe.kinematics.spline`),
            ``butterworth`` (zero-phase, 4th order), ``one-euro`` (causal), ``median`` or ``none``.
        cutoff: Cut-off frequency of the Butterworth filter, Hz.
        window: Frames of the median filter, odd.
        fill: Longest gap that is filled, in seconds; 0 fills none.
        outliers: Deviations, in robust standard deviations, from which a joint is an outlier
            (Hampel); 0 keeps all.
        outlier_window: Seconds on either side that a joint is compared with.
        min_score: Joints with a lower score are missing.
    """

    filter: Filter = "spline"
    cutoff: float = 6.0
    window: int = 5
    fill: float = 0.2
    outliers: float = 4.0
    outlier_window: float = 0.25
    min_score: float = 0.3

    def __post_init__(self) -> None:
        if self.filter not in FILTERS:
            raise UsageError(f"filter {self.filter!r}: choose one of {', '.join(FILTERS)}")
        if self.window < 1 or self.window % 2 == 0:
            raise UsageError(f"a median filter needs an odd window, not {self.window}")
        if self.cutoff <= 0 or self.fill < 0 or self.outliers < 0 or self.outlier_window <= 0:
            raise UsageError("cutoff must be positive; fill and outliers must not be negative")


@dataclass(frozen=True, eq=False)
class Cleaned:
    """Cleaned joints.

    Attributes:
        points: ``(T, K, 2)`` float64 image pixels; NaN where a joint is missing.
        filled: ``(T, K)``, whether a joint was interpolated.
        outliers: ``(T, K)``, whether a joint was taken out as an outlier.
    """

    points: NDArray[np.float64]
    filled: NDArray[np.bool_]
    outliers: NDArray[np.bool_]


def clean(track: Track, options: Cleaning) -> Cleaned:
    """Clean a person's joints.

    Raises:
        UsageError: If the cut-off frequency is not below half the frame rate.
        MissingPackageError: If SciPy is needed and not installed.
    """
    if options.filter == "butterworth" and options.cutoff >= track.fps / 2:
        raise UsageError(
            f"--cutoff {options.cutoff:g} Hz: with {track.fps:g} frames a second it must be below"
            f" {track.fps / 2:g} Hz, e.g. {track.fps / 4:g}"
        )
    points = track.points.copy()
    points[track.scores < options.min_score] = np.nan
    half = max(1, round(options.outlier_window * track.fps))
    outliers = hampel(points, half, options.outliers) if options.outliers else _nowhere(points)
    points[outliers] = np.nan
    before = present(points)
    if options.filter == "spline":
        points = spline.smooth(points, track.scores, track.seconds, options.fill)
        return Cleaned(points, present(points) & ~before, outliers)
    points = fill_gaps(points, track.seconds, options.fill)
    filled = present(points) & ~before
    if options.filter == "butterworth":
        points = _per_run(
            points, lambda run, at: butterworth(run, track.seconds[at], options.cutoff)
        )
    elif options.filter == "median":
        points = _per_run(points, lambda run, _: median(run, options.window))
    elif options.filter == "one-euro":
        points = one_euro(points, track)
    return Cleaned(points, filled, outliers)


def present(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where joints ``(T, K, 2)`` are not missing, ``(T, K)``."""
    return np.asarray(np.isfinite(points).all(axis=2))


def hampel(points: NDArray[np.float64], half: int, limit: float) -> NDArray[np.bool_]:
    """Outliers by Hampel's rule, compared with a straight line through the window.

    A joint is an outlier if it lies farther from the median of its neighbourhood than ``limit``
    robust standard deviations, in x or in y. Each coordinate's own movement is taken out first, by
    the median slope of the window; otherwise a fast, even movement would look like outliers at its
    ends. The spread is at least half a pixel: detectors round, and a spread of 0 would make
    anything an outlier.

    Args:
        points: ``(T, K, 2)``.
        half: Frames of the window on either side.
        limit: Robust standard deviations.

    Returns:
        ``(T, K)``.

    Source: Hampel, "The influence curve and its role in robust estimation", JASA 1974.
    """
    count = len(points)
    found = _nowhere(points)
    with np.errstate(invalid="ignore"):
        for at in range(count):
            window = points[max(0, at - half) : at + half + 1]
            seen = present(window).sum(axis=0)
            enough = seen >= min(5, half + 1)
            if not enough.any():
                continue
            own = window[:, enough]
            steps = (np.arange(len(window)) - (at - max(0, at - half)))[:, None, None]
            slope = _median(np.diff(own, axis=0))
            flat = own - np.where(np.isfinite(slope), slope, 0) * steps
            middle = _median(flat)
            spread = TO_SIGMA * _median(np.abs(flat - middle))
            far = np.abs(points[at, enough] - middle) > limit * np.maximum(spread, 0.5)
            found[at, enough] = far.any(axis=1)
    return found


def fill_gaps(
    points: NDArray[np.float64], seconds: NDArray[np.float64], longest: float
) -> NDArray[np.float64]:
    """Fill gaps up to ``longest`` seconds by a cubic through the neighbours (PCHIP, no overshoot).

    A gap lasts from the last frame before it to the first frame after it, less one frame. Nothing
    is filled before a joint's first or after its last appearance.
    """
    if longest <= 0 or len(points) < 3:
        return points
    result = points.copy()
    interpolate = None
    step = float(np.median(np.diff(seconds)))
    for joint in range(points.shape[1]):
        known = np.flatnonzero(np.isfinite(points[:, joint]).all(axis=1))
        gaps = [
            (start, end)
            for start, end in pairwise(known.tolist())
            if end - start > 1 and seconds[end] - seconds[start] - step <= longest + 1e-9
        ]
        if not gaps:
            continue
        interpolate = interpolate or load_extra("scipy.interpolate", "kinematics")
        curve = interpolate.PchipInterpolator(seconds[known], points[known, joint])
        for start, end in gaps:
            result[start + 1 : end, joint] = curve(seconds[start + 1 : end])
    return result


def butterworth(
    values: NDArray[np.float64], seconds: NDArray[np.float64], cutoff: float
) -> NDArray[np.float64]:
    """Smooth without lag: a Butterworth filter forwards and backwards.

    Each pass has its cut-off raised so that both together have 3 dB at ``cutoff``.

    Args:
        values: ``(T, ...)`` without gaps.
        seconds: ``(T,)``; where they are uneven, the values are resampled to an even grid and back.
        cutoff: Hz.

    Source: Winter, "Biomechanics and Motor Control of Human Movement", 2009, section 3.4.4.
    """
    count = len(values)
    if count < 4:
        return values
    signal = load_extra("scipy.signal", "kinematics")
    step = (seconds[-1] - seconds[0]) / (count - 1)
    even = seconds[0] + step * np.arange(count)
    uneven = np.max(np.abs(seconds - even)) > UNEVEN * step
    flat = values.reshape(count, -1)
    if uneven:
        flat = np.stack([np.interp(even, seconds, column) for column in flat.T], axis=1)
    rate = 1 / step
    corrected = np.tan(np.pi * cutoff / rate) / (2**0.5 - 1) ** (1 / (2 * ORDER))
    single = min(np.arctan(corrected) * rate / np.pi, 0.499 * rate)
    sections = signal.butter(ORDER, single, fs=rate, output="sos")
    padding = min(count - 1, int(3 * rate / cutoff))
    smooth = signal.sosfiltfilt(sections, flat, axis=0, padlen=padding)
    if uneven:
        smooth = np.stack([np.interp(seconds, even, column) for column in smooth.T], axis=1)
    return smooth.reshape(values.shape)


def median(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Running median over ``window`` frames, fewer at the ends; ``(T, ...)``."""
    half = window // 2
    reach = [min(half, at, len(values) - 1 - at) for at in range(len(values))]
    return np.stack([np.median(values[at - r : at + r + 1], axis=0) for at, r in enumerate(reach)])


def one_euro(points: NDArray[np.float64], track: Track) -> NDArray[np.float64]:
    """Smooth by the filter of ``rmpe track --smooth one-euro``; it looks back only, so it lags."""
    smoother = OneEuro()
    whole = points.copy()
    for at in range(len(points)):
        seen = np.isfinite(points[at]).all(axis=1)
        if not seen.any():
            continue
        extent = points[at, seen]
        box = np.concatenate([extent.min(axis=0), extent.max(axis=0)])[None]
        poses = Poses(
            points[at][None], seen[None].astype(float), [1.0], box, track.skeleton, [track.person]
        )
        whole[at] = smoother.update(poses, float(track.seconds[at])).keypoints[0]
    return whole


def _per_run(points: NDArray[np.float64], smooth: Smoother) -> NDArray[np.float64]:
    result = points.copy()
    seen = present(points)
    for joint in range(points.shape[1]):
        for run in runs(seen[:, joint]):
            result[run, joint] = smooth(points[run, joint], run)
    return result


def _nowhere(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.zeros(points.shape[:2], bool)


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median over the first axis without NaN; NaN where there is nothing else."""
    ordered = np.sort(values, axis=0)  # NaN come last
    count = np.isfinite(values).sum(axis=0)
    low = np.maximum((count - 1) // 2, 0)[None]
    high = np.minimum(count // 2, len(values) - 1)[None]
    middle = (np.take_along_axis(ordered, low, 0) + np.take_along_axis(ordered, high, 0)) / 2
    return np.where(count > 0, middle[0], np.nan)
