"""Pictures in a notebook."""

from typing import Any

import cv2

from rmpe.draw import PLAIN, DrawStyle, draw_poses
from rmpe.extras import load_extra
from rmpe.media.images import as_image
from rmpe.poses import Poses


def show(image: Any, poses: Poses | None = None, style: DrawStyle = PLAIN) -> None:
    """Show an image in a notebook, with the poses drawn on it.

    Args:
        image: What `rmpe.read_image` returns, or anything else that `draw_poses` takes.
        poses: The people.
        style: What they look like.

    Raises:
        ImageError: If ``image`` is not an image.
        MissingPackageError: If IPython is not installed.
    """
    display = load_extra("IPython.display", "IPython")
    drawn = as_image(image) if poses is None else draw_poses(image, poses, style=style)
    _, data = cv2.imencode(".png", drawn[..., ::-1])
    display.display(display.Image(data=data.tobytes()))
