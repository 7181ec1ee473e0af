"""Where people were in the last seconds."""

import numpy as np
from numpy.typing import NDArray

from rmpe.poses import Poses


class Trails:
    """The way of every track, by the middle of the lower edge of its box.

    Args:
        seconds: How long a place is kept; 0 keeps none.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._places: dict[int, list[tuple[float, float, float]]] = {}

    def update(self, poses: Poses, now: float) -> dict[int, NDArray[np.float64]]:
        """Add the people of a frame.

        Args:
            poses: People of the frame; those without a track id have no trail.
            now: Time of the frame, seconds.

        Returns:
            Track id -> places ``(M, 2)`` in pixels, oldest first.
        """
        if self.seconds <= 0:
            return {}
        for box, track_id in zip(poses.boxes.tolist(), poses.track_ids.tolist(), strict=True):
            if track_id >= 0:
                place = (now, (box[0] + box[2]) / 2, box[3])
                self._places.setdefault(track_id, []).append(place)
        recent = {
            track_id: [place for place in places if now - place[0] <= self.seconds]
            for track_id, places in self._places.items()
        }
        self._places = {track_id: places for track_id, places in recent.items() if places}
        return {
            track_id: np.array(places, np.float64)[:, 1:]
            for track_id, places in self._places.items()
        }
