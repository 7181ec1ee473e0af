"""Pictures side by side on one page, each with a line of text."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

GAP = 4  # pixels between tiles
# Where a line is written in black before it is in white: the font has no edge of its own, and its
# letters change their places with their thickness.
EDGE = ((-1, 0), (1, 0), (0, -1), (0, 1))


def write_label(tile: NDArray[np.uint8], text: str) -> None:
    """Write a line into a tile's upper left corner, in place."""
    for color, places in (((0, 0, 0), EDGE), ((255, 255, 255), ((0, 0),))):
        for x, y in places:
            corner = (6 + x, 18 + y)
            cv2.putText(tile, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, 1, cv2.LINE_AA)


def tile_page(tiles: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Tiles in rows on a white page.

    Args:
        tiles: RGB uint8 images of one size.
        columns: Tiles in a row.

    Raises:
        ValueError: If there is no tile.
    """
    if not tiles:
        raise ValueError("a page needs at least one picture")
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    page = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        y = GAP + row * (height + GAP)
        x = GAP + column * (width + GAP)
        page[y : y + height, x : x + width] = tile
    return page
