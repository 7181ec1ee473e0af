"""Pictures side by side on one page, each with a text."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

GAP = 4  # pixels between tiles
# Where a line is written in black before it is in white: the font has no edge of its own, and its
# letters change their places with their thickness.
EDGE = ((-1, 0), (1, 0), (0, -1), (0, 1))


MARGIN = 6  # pixels left and right of a line
LINE = 18  # pixels from one line to the next
FONT = (cv2.FONT_HERSHEY_SIMPLEX, 0.5)  # and its scale


def write_label(tile: NDArray[np.uint8], text: str) -> None:
    """Write a text into a tile's upper left corner, in place, in as many lines as it needs."""
    for number, line in enumerate(_lines(text, tile.shape[1] - 2 * MARGIN), start=1):
        for color, places in (((0, 0, 0), EDGE), ((255, 255, 255), ((0, 0),))):
            for x, y in places:
                corner = (MARGIN + x, number * LINE + y)
                cv2.putText(tile, line, corner, *FONT, color, 1, cv2.LINE_AA)


def _lines(text: str, width: int) -> list[str]:
    """A text in lines of at most ``width`` pixels, broken at spaces, else where a line is full."""
    if _fits(text, width) or len(text) < 2:
        return [text]
    end = next((end for end in range(len(text) - 1, 1, -1) if _fits(text[:end], width)), 1)
    space = text.rfind(" ", 1, end + 1)
    end = space if space > 0 else end
    return [text[:end].rstrip(), *_lines(text[end:].lstrip(), width)]


def _fits(text: str, width: int) -> bool:
    return bool(cv2.getTextSize(text, *FONT, 1)[0][0] <= width)


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
