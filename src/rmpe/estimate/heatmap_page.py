"""What the pose model sees of one person: a page with the heatmap of each joint over the crop."""

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpe.affine import crop_to_heatmap, scale_translate
from rmpe.boxes import Boxes
from rmpe.draw import draw_poses
from rmpe.estimate.crops import Cropper, cut
from rmpe.estimate.pose_model import PoseModel
from rmpe.media.tiles import tile_page, write_label
from rmpe.poses import Poses

COLUMNS = 6
HEIGHT = 320  # pixels of a tile
DIM = 0.35  # brightness of the crop below a heatmap
CROSS = (255, 255, 255)


def heatmap_page(
    image: NDArray[np.uint8], box: NDArray[np.floating], pose: PoseModel, cropper: Cropper
) -> NDArray[np.uint8]:
    """Draw a person's heatmaps.

    All joints share one scale, from 0 to the strongest answer of all, so a joint about which the
    model is unsure stays dark. A cross marks where the joint is read.

    Args:
        image: RGB uint8 ``(H, W, 3)``.
        box: ``(4,)`` xyxy of the person.
        pose: The pose model.
        cropper: Where it looks, with a spatial transformer or without.

    Returns:
        RGB uint8 page: the crop with the pose, then a tile a joint, in the skeleton's order.

    Raises:
        ModelError: If the model answers no heatmaps.
    """
    looks = cropper([image], [Boxes(np.asarray(box, np.float32).reshape(1, 4))])
    crops = cut(image, looks.image_to_crop[0][:1], pose.size)
    response = pose.response(crops)[0]
    points, scores = pose(crops)
    scale = HEIGHT / pose.size[0]
    size = (round(pose.size[1] * scale), HEIGHT)
    large = np.asarray(cv2.resize(crops[0], size, interpolation=cv2.INTER_LINEAR), np.uint8)
    places = (points[0] + 0.5) * scale - 0.5
    whole = np.array([[0, 0, size[0], size[1]]])
    person = Poses(places[None], scores, [1.0], whole, pose.skeleton)
    tiles = [draw_poses(large, person)]
    write_label(tiles[0], pose.card.name)
    strongest = max(float(response.max()), 1e-6)
    to_tile = scale_translate(np.full(2, scale), np.full(2, 0.5 * scale - 0.5))
    for joint, (heatmap, at, score) in enumerate(zip(response, places, scores[0], strict=True)):
        heat = _on_crop(np.clip(heatmap / strongest, 0, 1), pose, to_tile, size)
        colors = cv2.applyColorMap((255 * heat).round().astype(np.uint8), cv2.COLORMAP_INFERNO)
        tile = np.clip(DIM * large + colors[..., ::-1].astype(np.float32), 0, 255).astype(np.uint8)
        x, y = (round(float(value)) for value in at)
        cv2.drawMarker(tile, (x, y), CROSS, cv2.MARKER_CROSS, 13, 1, cv2.LINE_AA)
        write_label(tile, f"{pose.skeleton.joints[joint]} {score:.2f}")
        tiles.append(tile)
    return tile_page(tiles, COLUMNS)


def _on_crop(
    heatmap: NDArray[np.floating],
    pose: PoseModel,
    to_tile: NDArray[np.float64],
    size: tuple[int, int],
) -> NDArray[np.float32]:
    """A heatmap ``(rows, columns)`` in the pixels of a tile of ``size`` (width, height)."""
    grid = (heatmap.shape[0], heatmap.shape[1])
    if pose.card.decoder == "simcc":  # a bin is a crop pixel divided by the split
        crop_to_map = scale_translate(np.full(2, pose.card.split), np.zeros(2))
    else:
        crop_to_map = crop_to_heatmap(pose.size, grid, pose.card.alignment)
    whole = np.concatenate([to_tile, [[0, 0, 1]]])
    back = crop_to_map @ np.linalg.inv(whole)
    warped = cv2.warpAffine(
        heatmap.astype(np.float32), back, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return np.asarray(warped, np.float32)
