"""The interface of all trackers."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rmpe.poses import Poses


class Tracker(Protocol):
    """Assigns track ids to the poses of a video, frame by frame.

    Attributes:
        latency: Number of frames by which the output lags behind the input.
    """

    latency: int

    def update(self, image: NDArray[np.uint8], poses: Poses) -> list[Poses]:
        """Take the next frame and return the frames it completes.

        Args:
            image: RGB uint8 ``(H, W, 3)``; the same size for the whole video.
            poses: Poses of the frame; their track ids are ignored.

        Returns:
            One `Poses` per completed frame, in order: none for the first ``latency`` calls, then
            one per call. Poses that are not (yet) part of a track have track id -1.
        """
        ...

    def flush(self) -> list[Poses]:
        """Return the last ``latency`` frames at the end of the video.

        The tracker then starts afresh; ids are not reused.
        """
        ...
