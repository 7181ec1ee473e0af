"""Motion prediction: a Kalman filter with constant velocity for position and size."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rmpe.poses import Poses

# Standard deviations as fractions of a person's size: of a measured position, and of the change of
# velocity per frame.
MEASURED = 0.04
JERKED = 0.012
UNKNOWN_SPEED = 0.1
STEP = np.array([[1.0, 1.0], [0.0, 1.0]])
DRIFT = JERKED**2 * np.array([[1 / 3, 1 / 2], [1 / 2, 1.0]])


def places(poses: Poses) -> NDArray[np.float64]:
    """Centre (x, y) of each box in pixels and the logarithm of its size, ``(N, 3)``."""
    centers = (poses.boxes[:, :2] + poses.boxes[:, 2:]) / 2
    return np.column_stack([centers, np.log(poses.sizes)]).astype(np.float64)


@dataclass
class Motion:
    """Kalman filter of one person.

    Position and size move independently with the same noise relative to the size, so one 2x2
    covariance serves all three numbers.

    Attributes:
        place: ``(3,)`` as in `places`.
        speed: ``(3,)``, change of ``place`` per frame.
        covariance: ``(2, 2)`` of (place, speed) in squared sizes.

    Source: Kalman 1960; near-constant velocity as in SORT (Bewley et al. 2016).
    """

    place: NDArray[np.float64]
    speed: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    covariance: NDArray[np.float64] = field(
        default_factory=lambda: np.diag([MEASURED**2, UNKNOWN_SPEED**2])
    )

    @property
    def spread(self) -> float:
        """Standard deviation of the position, in sizes."""
        return float(np.sqrt(self.covariance[0, 0]))

    def step(self) -> None:
        """Predict the next frame."""
        self.place = self.place + self.speed
        self.covariance = STEP @ self.covariance @ STEP.T + DRIFT

    def correct(self, place: NDArray[np.float64]) -> None:
        """Update with the measured ``place`` ``(3,)``."""
        gain = self.covariance[:, 0] / (self.covariance[0, 0] + MEASURED**2)
        error = place - self.place
        self.place = self.place + gain[0] * error
        self.speed = self.speed + gain[1] * error
        self.covariance = self.covariance - np.outer(gain, self.covariance[0])

    def carry(self, poses: Poses, place: NDArray[np.float64]) -> Poses:
        """Move and scale one pose from ``place``, where it was seen, to the current place."""
        zoom = np.exp(self.place[2] - place[2])
        points = (poses.keypoints - place[:2]) * zoom + self.place[:2]
        boxes = (poses.boxes - np.tile(place[:2], 2)) * zoom + np.tile(self.place[:2], 2)
        return poses.replace(keypoints=points, boxes=boxes)
