"""Less jitter: the one-euro filter, per person and joint."""

import numpy as np
from numpy.typing import NDArray

from rmpe.poses import Poses


class OneEuro:
    """Smooths the joints of every track: strongly when still, hardly when fast. Causal, without
    delay.

    Speeds are measured in sizes of the person a second, so one setting fits near and far people.

    Source: Casiez, Roussel and Vogel, "1 euro filter", CHI 2012.
    """

    def __init__(
        self,
        min_cutoff: float = 1.5,
        beta: float = 6.0,
        speed_cutoff: float = 1.0,
        memory: float = 1.0,
    ) -> None:
        """Set up without tracks.

        Args:
            min_cutoff: Cut-off frequency for a joint at rest, Hz; lower = smoother.
            beta: How fast the cut-off rises with speed, Hz per (size a second); higher = less lag.
            speed_cutoff: Cut-off frequency of the speed itself, Hz.
            memory: A track or a joint unseen for longer than this many seconds starts afresh.
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
            poses: Poses of one frame; those without a track id stay as they are.
            seconds: When the frame was taken; must grow from call to call.
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
        """One person's joints ``(K, 2)``; the state is (smoothed place, smoothed speed, time last seen) per joint."""
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
