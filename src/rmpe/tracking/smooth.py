"""Jitter reduction: the one-euro filter, per person and joint."""

import numpy as np
from numpy.typing import NDArray

from rmpe.poses import Poses


class OneEuro:
    """Causal smoothing of the joints of every track: strong at rest, weak in fast motion.

    Speeds are in person sizes per second, so one setting fits near and distant people.

    Source: Casiez, Roussel and Vogel, "1 euro filter", CHI 2012.
    """

    def __init__(
        self,
        min_cutoff: float = 1.5,
        beta: float = 6.0,
        speed_cutoff: float = 1.0,
        memory: float = 1.0,
    ) -> None:
        """Create a filter without tracks.

        Args:
            min_cutoff: Cut-off frequency for a joint at rest, Hz; lower is smoother.
            beta: Increase of the cut-off with speed, Hz per (size per second); higher lags less.
            speed_cutoff: Cut-off frequency for the speed itself, Hz.
            memory: Seconds unseen after which a track or a joint starts afresh.
        """
        self.min_cutoff = min_cutoff
        self.beta = beta
        self.speed_cutoff = speed_cutoff
        self.memory = memory
        self._tracks: dict[
            int, tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
        ] = {}

    def update(self, poses: Poses, seconds: float) -> Poses:
        """The same poses with smoothed joints.

        Args:
            poses: Poses of one frame; those without a track id are not changed.
            seconds: Time of the frame; must increase from call to call.
        """
        points = poses.keypoints.copy()
        for index in np.flatnonzero(poses.track_ids >= 0):
            points[index] = self._smooth(
                int(poses.track_ids[index]),
                points[index].astype(np.float64),
                seconds,
                float(poses.sizes[index]),
            )
        gone = [
            key for key, (_, _, seen) in self._tracks.items() if seconds - seen.max() > self.memory
        ]
        for key in gone:
            del self._tracks[key]
        return poses.replace(keypoints=points)

    def _smooth(
        self, key: int, raw: NDArray[np.float64], seconds: float, size: float
    ) -> NDArray[np.float64]:
        """Smooth one person's joints ``(K, 2)``.

        The state holds, per joint, the smoothed position and velocity and the time last seen.
        """
        joints = len(raw)
        present = np.all(np.isfinite(raw), axis=1)
        fresh = (np.full((joints, 2), np.nan), np.zeros((joints, 2)), np.full(joints, -np.inf))
        place, speed, seen = self._tracks.get(key, fresh)
        known = present & (seconds - seen <= self.memory) & (seconds > seen)
        elapsed = np.where(known, seconds - seen, 1.0)[:, None]
        velocity = np.where(known[:, None], (raw - place) / elapsed, 0.0)
        new_speed = np.where(
            known[:, None], speed + _gain(self.speed_cutoff, elapsed) * (velocity - speed), 0.0
        )
        cutoff = (
            self.min_cutoff + self.beta * np.linalg.norm(new_speed, axis=1, keepdims=True) / size
        )
        smooth = np.where(known[:, None], place + _gain(cutoff, elapsed) * (raw - place), raw)
        column = present[:, None]
        self._tracks[key] = (
            np.where(column, smooth, place),
            np.where(column, new_speed, speed),
            np.where(present, seconds, seen),
        )
        return smooth


def _gain(cutoff: NDArray[np.float64] | float, elapsed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of the new value of a first-order low-pass filter."""
    step = 2 * np.pi * cutoff * elapsed
    return step / (1 + step)
