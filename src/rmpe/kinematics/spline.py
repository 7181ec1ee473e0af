"""A smoothing spline whose smoothness is found from the movement itself.

Each joint is the smoothest curve that explains what was seen: the sum of squared distances from the
seen places, weighted by their scores, plus lambda times the squared acceleration. Lambda is the
most likely one if accelerations and errors are normal (restricted maximum likelihood), so a small,
noisy figure is smoothed strongly, a sharp one hardly, and no cut-off has to be chosen. Outliers
lose their weight by degrees (Tukey's bisquare).

Source: Whittaker, "On a new method of graduation", 1923 (the penalty); Wahba, "A comparison of GCV
and GML for choosing the smoothing parameter", Annals of Statistics 1985 (the likelihood).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.extras import load_extra
from rmpe.kinematics.tracks import runs

# Between which half-power frequencies lambda is looked for, and at how many of them. Nobody's
# joints swing slower on purpose, and nothing above 0.4 of the frame rate can be told from noise.
SLOWEST = 0.5  # Hz
FASTEST = 12.0  # Hz
FASTEST_SHARE = 0.4  # of the frame rate
CANDIDATES = 12
FEWEST = 8  # frames; fewer say nothing about smoothness and stay as they are
ROUNDS = 3  # of giving outliers less weight
BISQUARE = 4.5  # robust standard deviations at which a place loses all weight
LEAST_SPREAD = 0.25  # pixels; places are not known better
NO_WEIGHT = 1e-9  # keeps the system solvable
RAYLEIGH = 1.1774  # median distance from the middle of a normal distribution in two dimensions
LEAST_SCORE = 0.02


@dataclass(frozen=True, eq=False)
class _Stretch:
    """One joint's frames, without its long gaps: what the curves are fitted to.

    Attributes:
        frames: ``(n,)``, their places in the track; a stretch begins and ends where it is seen.
        points: ``(n, 2)``, zeros where not seen.
        seen: ``(n,)``.
        weights: ``(n,)``, 0 where not seen, 1 on average where seen.
        penalty: ``(3, n)``, lower bands of the matrix of squared accelerations.
        bends: How many accelerations there are.
    """

    frames: NDArray[np.int64]
    points: NDArray[np.float64]
    seen: NDArray[np.bool_]
    weights: NDArray[np.float64]
    penalty: NDArray[np.float64]
    bends: int


def smooth(
    points: NDArray[np.float64],
    scores: NDArray[np.float64],
    seconds: NDArray[np.float64],
    longest: float,
) -> NDArray[np.float64]:
    """Smooth joints over time and fill gaps of up to ``longest`` seconds.

    Nothing is filtered across a longer gap, and nothing is filled before a joint's first or after
    its last appearance.

    Args:
        points: ``(T, K, 2)``, NaN where a joint is missing.
        scores: ``(T, K)``, what weighs the places.
        seconds: ``(T,)``, even or not.
        longest: Seconds.

    Returns:
        ``(T, K, 2)``.

    Raises:
        MissingPackageError: If SciPy is not installed.
    """
    result = points.copy()
    if len(points) < FEWEST:
        return result
    linear = load_extra("scipy.linalg", "kinematics")
    step = float(np.median(np.diff(seconds)))
    lambdas = _candidates(1 / step)
    for joint in range(points.shape[1]):
        stretch = _stretch(points[:, joint], scores[:, joint], seconds, step, longest)
        if stretch.seen.sum() >= FEWEST and stretch.bends:
            result[stretch.frames, joint] = _robust(stretch, lambdas, linear)
    return result


def _candidates(fps: float) -> NDArray[np.float64]:
    """Lambdas by the frequency at which half of the power is left, slowest first."""
    fastest = min(FASTEST, FASTEST_SHARE * fps)
    frequencies = np.geomspace(min(SLOWEST, fastest / 2), fastest, CANDIDATES)
    gain: NDArray[np.float64] = (2 * np.sin(np.pi * frequencies / fps)) ** 4
    return np.asarray((2**0.5 - 1) / gain)


def _stretch(
    points: NDArray[np.float64],
    scores: NDArray[np.float64],
    seconds: NDArray[np.float64],
    step: float,
    longest: float,
) -> _Stretch:
    seen: NDArray[np.bool_] = np.asarray(np.isfinite(points).all(axis=1))
    known = np.flatnonzero(seen)
    inside = np.zeros(len(points), bool)
    inside[known] = True
    for gap in runs(~seen):
        ends = gap.start - 1, gap.stop
        between = ends[0] >= 0 and ends[1] < len(points)
        if between and seconds[ends[1]] - seconds[ends[0]] - step <= longest + 1e-9:
            inside[gap] = True
    frames = np.flatnonzero(inside)
    own = seen[frames]
    weights = np.where(own, np.maximum(scores[frames], LEAST_SCORE), 0.0)
    if own.any():
        weights /= weights[own].mean()
    penalty = np.zeros((3, len(frames)))
    bends = 0
    for run in runs(inside):
        start = int(np.searchsorted(frames, run.start))
        length = run.stop - run.start
        if length > 2:
            penalty[:, start : start + length] = _bands(seconds[run] / step)
            bends += length - 2
    return _Stretch(
        frames, np.where(own[:, None], points[frames], 0.0), own, weights, penalty, bends
    )


def _bands(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower bands ``(3, n)`` of the squared second derivative at ``times``, in frames."""
    before = np.diff(times)[:-1]
    after = np.diff(times)[1:]
    whole = before + after
    rows = np.stack([2 / (before * whole), -2 / (before * after), 2 / (after * whole)])
    rows *= np.sqrt(whole / 2)  # each stands for its share of the time
    bands = np.zeros((3, len(times)))
    for first in range(3):
        for second in range(first + 1):
            bands[first - second, second : second + rows.shape[1]] += rows[first] * rows[second]
    return bands


def _robust(stretch: _Stretch, lambdas: NDArray[np.float64], linear: Any) -> NDArray[np.float64]:
    """The curve ``(n, 2)`` with the most likely lambda and without outliers' weight."""
    weights = stretch.weights + NO_WEIGHT
    curve = stretch.points
    for left in reversed(range(ROUNDS + 1)):
        fits = [_fit(stretch, weights, value, linear) for value in lambdas]
        curve = min(fits, key=lambda fit: fit[0])[1]
        if not left:
            break
        away = np.linalg.norm(stretch.points - curve, axis=1)
        spread = max(float(np.median(away[stretch.seen])) / RAYLEIGH, LEAST_SPREAD)
        share = np.minimum(away / (BISQUARE * spread), 1)
        weights = stretch.weights * (1 - share**2) ** 2 + NO_WEIGHT
    return curve


def _fit(
    stretch: _Stretch, weights: NDArray[np.float64], value: float, linear: Any
) -> tuple[float, NDArray[np.float64]]:
    """How unlikely a lambda is (minus twice the restricted log likelihood), and its curve."""
    matrix = value * stretch.penalty
    bent = matrix.copy()
    matrix[0] += weights
    factor = linear.cholesky_banded(matrix, lower=True)
    curve = linear.cho_solve_banded((factor, True), weights[:, None] * stretch.points)
    misses = float((weights[:, None] * (stretch.points - curve) ** 2).sum())
    bending = float((bent[0][:, None] * curve**2).sum())
    for band in (1, 2):
        bending += 2 * float((bent[band, :-band, None] * curve[band:] * curve[:-band]).sum())
    free = max(stretch.bends - int((weights <= NO_WEIGHT).sum()), 1)
    total = max(misses + max(bending, 0.0), 1e-12)
    determinant = 2 * float(np.log(factor[0]).sum())
    unlikely = free * np.log(total / (2 * free)) + determinant - stretch.bends * np.log(value)
    return float(unlikely), curve
