"""What every tracker does."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rmpe.poses import Poses


class Tracker(Protocol):
    """Gives the poses of a video track ids, frame by frame.

    Attributes:
        latency: How many frames the answers lag behind the frames; 0 answers at once.
    """

    latency: int

    def update(self, image: NDArray[np.uint8], poses: Poses) -> list[Poses]:
        """Take the next frame and give the frames that are finished by it.

        Args:
            image: RGB uint8 ``(H, W, 3)``; the same size for the whole video.
            poses: Its poses; their track ids are ignored.

        Returns:
            One `Poses` per finished frame, in order: none during the first ``latency`` calls, one
            from then on. Who is not (yet) believed to be a person worth following has track id -1.
        """
        ...

    def flush(self) -> list[Poses]:
        """The video is over: the last ``latency`` frames. The tracker then starts afresh; ids are not used again."""
        ...
