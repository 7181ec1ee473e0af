"""A video at a glance: a few frames side by side."""

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpe.media.video import Video

GAP = 4


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
            label = f"{frame.index}  {frame.seconds:.2f} s"
            for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
                cv2.putText(
                    small,
                    label,
                    (6, 18),
                    cv2.FONT_HERSHEY_SIMPLEX,
                    0.5,
                    color,
                    thickness,
                    cv2.LINE_AA,
                )
            tiles.append(np.asarray(small, np.uint8))
    if not tiles:
        raise ValueError("a contact sheet needs at least one frame")
    height = tiles[0].shape[0]
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        y = GAP + row * (height + GAP)
        x = GAP + column * (width + GAP)
        sheet[y : y + height, x : x + width] = tile
    return sheet
