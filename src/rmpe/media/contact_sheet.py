"""A video at a glance: a few frames side by side."""

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpe.media.tiles import tile_page, write_label
from rmpe.media.video import Video


def contact_sheet(
    video: Video, frames: int, *, count: int = 12, columns: int = 3, width: int = 480
) -> NDArray[np.uint8]:
    """Frames spread evenly over a video, in rows.

    Args:
        video: Read to its end.
        frames: How many frames it has.
        count: How many to show.
        columns: In a row.
        width: Of each, in pixels.

    Returns:
        RGB uint8 image.

    Raises:
        ValueError: If there is no frame.
    """
    wanted = {round(place) for place in np.linspace(0, frames - 1, min(count, frames))}
    tiles: list[NDArray[np.uint8]] = []
    for frame in video:
        if frame.index in wanted:
            height = round(frame.image.shape[0] * width / frame.image.shape[1])
            small = cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_AREA)
            tile = np.asarray(small, np.uint8)
            write_label(tile, f"{frame.index}  {frame.seconds:.2f} s")
            tiles.append(tile)
    return tile_page(tiles, columns)
