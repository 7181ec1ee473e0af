"""Poses drawn on an image: limbs by side, joints by confidence, widths by the person's size."""

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmpe.media.arrays import ChannelOrder
from rmpe.media.images import as_image
from rmpe.poses import Poses
from rmpe.skeletons import MIDDLE, Color, Skeleton

BOX = (240, 240, 240)
OTHER_BOX = (255, 60, 220)
EDGE = (20, 20, 20)  # RGB
FAINT = 0.1
CLEAR = 0.5  # joint scores at which a joint begins to be seen, and is seen in full
LIMB_WIDTH = 0.012  # as a share of the person's longer side
WIDEST = 500  # pixels; a box may be absurdly large, OpenCV's lines may not
EDGED_WIDTH = 3  # pixels; thinner limbs have a fainter dark edge, or small people would be all edge
HEAD = 0.1  # height above the highest joint, as a share of the joints' extent
# Thickness of joints and limbs by their part, as a share of a body's: fingers would be one blot,
# and the points of a face would hide it.
FINE = {"face_": 0.3, "thumb": 0.4, "finger": 0.4, "hand_root": 0.4}
FRACTION_BITS = 4  # OpenCV draws at 1/16 pixel
FARTHEST = 1e6  # pixels; beyond it OpenCV's integers overflow


def draw_poses(
    image: Any,
    poses: Poses,
    *,
    min_score: float = 0.3,
    show_boxes: bool = False,
    show_ids: bool = False,
    other_boxes: ArrayLike | None = None,
    color: ChannelOrder = "rgb",
) -> NDArray[np.uint8]:
    """Draw people on a copy of an image.

    Left limbs are green, right ones orange, others blue (`Skeleton.colors`). A joint, and a limb by
    the weaker of its joints, fades out below a score of 0.5 and is gone at 0.1; missing joints are
    left out. More certain people are drawn over less certain ones.

    Args:
        image: RGB uint8 ``(H, W, 3)``, or anything else that `rmpe.media.images.as_image` takes;
            not changed.
        poses: The people, in pixels of the image.
        min_score: People with a lower score are left out.
        show_boxes: Draw the box of each person, white or in the colour of its track.
        show_ids: Write the track id of each person who has one.
        other_boxes: ``(M, 4)`` xyxy, drawn in magenta, e.g. boxes from another stage than those of
            ``poses``.
        color: Order of the colour channels of ``image`` and of the answer.

    Returns:
        A new uint8 image ``(H, W, 3)``.

    Raises:
        ImageError: If ``image`` is not an image.
    """
    canvas = as_image(image, color).copy()
    kept = poses[np.flatnonzero(poses.scores >= min_score)]
    kept = kept[np.argsort(kept.scores, kind="stable")]
    for person in range(len(kept)):
        _draw_person(canvas, kept[person])
    if other_boxes is not None:
        for box in np.asarray(other_boxes, np.float64).reshape(-1, 4):
            _draw_box(canvas, box, OTHER_BOX)
    tracks = list(zip(kept.boxes, kept.track_ids.tolist(), strict=True))
    if show_boxes:
        for box, track_id in tracks:
            _draw_box(canvas, box, track_color(track_id) if track_id >= 0 else BOX)
    if show_ids:
        for person in range(len(kept)):
            if (track_id := int(kept.track_ids[person])) >= 0:
                _draw_label(canvas, _head_place(kept[person]), str(track_id), track_color(track_id))
    return np.ascontiguousarray(canvas[..., ::-1]) if color == "bgr" else canvas


def track_color(track_id: int) -> Color:
    """A bright RGB colour for a track; neighbouring ids differ much (hues a golden angle apart)."""
    hsv = np.array([[[track_id * 111 % 180, 150, 255]]], np.uint8)  # OpenCV counts hues to 180
    red, green, blue = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


@cache
def limb_colors(skeleton: Skeleton) -> tuple[Color, ...]:
    """RGB of each limb.

    It is the colour that both joints share, or that of the one joint with a side; the middle's
    where the joints are of two sides.
    """
    colors = []
    for start, end in skeleton.limbs:
        sided = {skeleton.colors[start], skeleton.colors[end]} - {MIDDLE}
        colors.append(sided.pop() if len(sided) == 1 else MIDDLE)
    return tuple(colors)


@cache
def joint_thickness(skeleton: Skeleton) -> tuple[float, ...]:
    """How thick each joint is drawn, as a share of a joint of the body.

    A skeleton of nothing but fine joints, such as that of one hand, is drawn as a body is.
    """
    shares = tuple(
        next((share for word, share in FINE.items() if word in joint), 1.0)
        for joint in skeleton.joints
    )
    return shares if max(shares) == 1 else (1.0,) * len(shares)


def _draw_person(canvas: NDArray[np.uint8], person: Poses) -> None:
    """Draw on a transparent layer just as large as the person, then blend it in.

    The layer is RGBA with colours multiplied by alpha: smooth edges and faint joints blend alike,
    and where limbs cross the later one replaces the earlier instead of both adding up.
    """
    points = person.keypoints[0].astype(np.float64)
    skeleton = person.skeleton
    opacity = np.clip(
        (person.keypoint_scores[0].astype(np.float64) - FAINT) / (CLEAR - FAINT), 0, 1
    )
    opacity[~np.isfinite(points).all(axis=1)] = 0
    seen = np.flatnonzero(opacity)
    width = _line_width(person.boxes[0])
    window = _window(points[seen], 3 * width, canvas)
    layer = np.zeros((*canvas[window].shape[:2], 4), np.uint8)
    if not layer.size:
        return
    at = {int(joint): _fixed(points[joint] - (window[1].start, window[0].start)) for joint in seen}
    widths = [max(1.0, width * share) for share in joint_thickness(skeleton)]
    limbs = [
        (
            at[start],
            at[end],
            _paint(color, min(opacity[start], opacity[end])),
            min(widths[start], widths[end]),
        )
        for (start, end), color in zip(skeleton.limbs, limb_colors(skeleton), strict=True)
        if start in at and end in at
    ]
    for start, end, paint, thick in limbs:
        outline = _paint(EDGE, min(1.0, thick / EDGED_WIDTH) * paint[3] / 255)
        cv2.line(layer, start, end, outline, round(1.6 * thick) + 1, cv2.LINE_AA, FRACTION_BITS)
    for start, end, paint, thick in limbs:
        cv2.line(layer, start, end, paint, round(thick), cv2.LINE_AA, FRACTION_BITS)
    for joint, center in at.items():
        thick = widths[joint]
        radius = thick * (0.6 + 0.6 * opacity[joint])
        edge = min(1.0, thick / EDGED_WIDTH)
        disks = (
            (EDGE, edge * opacity[joint], 1.3 * radius + 0.3),
            (skeleton.colors[joint], opacity[joint], radius),
        )
        for color, solid, extent in disks:
            size = round(extent * 2**FRACTION_BITS)
            cv2.circle(
                layer, center, size, _paint(color, solid), cv2.FILLED, cv2.LINE_AA, FRACTION_BITS
            )
    _blend(canvas[window], layer)


def _draw_box(canvas: NDArray[np.uint8], box: NDArray[np.floating], color: Color) -> None:
    corners = _fixed(box[:2]), _fixed(box[2:])
    width = max(1, round(_line_width(box) / 2))
    if width > 1:
        cv2.rectangle(canvas, *corners, EDGE, width + 2, cv2.LINE_AA, FRACTION_BITS)
    cv2.rectangle(canvas, *corners, color, width, cv2.LINE_AA, FRACTION_BITS)


def _head_place(person: Poses) -> NDArray[np.float64]:
    """The person's box with its top at the highest joint that is drawn, a head's height above it.

    A box may be much taller than the person: the label stands where the head is seen.
    """
    box = person.boxes[0].astype(np.float64)
    points = person.keypoints[0].astype(np.float64)
    seen = np.isfinite(points).all(axis=1) & (person.keypoint_scores[0] > FAINT)
    if seen.any():
        highest = points[seen, 1].min() - HEAD * (points[seen, 1].max() - points[seen, 1].min())
        box[1] = np.clip(highest, box[1], box[3])
    return box


def _draw_label(
    canvas: NDArray[np.uint8], box: NDArray[np.floating], text: str, color: Color
) -> None:
    """Text in a filled rectangle above the box's top-left corner, moved inside the image."""
    scale = max(0.4, 0.23 * _line_width(box))  # the font is 22 pixels high at scale 1
    thickness = max(1, round(1.6 * scale))
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    margin = max(2, height // 4)
    rows, columns = canvas.shape[:2]
    left = int(np.clip(box[0], 0, max(columns - width - 2 * margin, 0)))
    bottom = int(np.clip(box[1], height + base + margin, rows))
    corner = left + width + 2 * margin, bottom - height - base - margin
    cv2.rectangle(canvas, (left, bottom), corner, color, cv2.FILLED)
    origin = left + margin, bottom - base
    cv2.putText(canvas, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, EDGE, thickness, cv2.LINE_AA)


def _line_width(box: NDArray[np.floating]) -> float:
    return float(np.clip(LIMB_WIDTH * np.max(box[2:] - box[:2]), 1, WIDEST))


def _paint(color: Color, opacity: float) -> tuple[float, float, float, float]:
    red, green, blue = color
    return red * opacity, green * opacity, blue * opacity, 255 * opacity


def _fixed(point: NDArray[np.floating]) -> tuple[int, int]:
    """A point in OpenCV's fixed-point pixels."""
    x, y = np.round(np.clip(point, -FARTHEST, FARTHEST) * 2**FRACTION_BITS).astype(int).tolist()
    return x, y


def _window(
    points: NDArray[np.float64], margin: float, canvas: NDArray[np.uint8]
) -> tuple[slice, slice]:
    """Rows and columns of the canvas around the points, with a margin; empty outside of it."""
    if not len(points):
        return slice(0, 0), slice(0, 0)
    limit = canvas.shape[1::-1]
    left, top = np.clip(np.floor(points.min(axis=0) - margin), 0, limit).astype(int).tolist()
    right, bottom = np.clip(np.ceil(points.max(axis=0) + margin) + 1, 0, limit).astype(int).tolist()
    return slice(top, bottom), slice(left, right)


def _blend(below: NDArray[np.uint8], layer: NDArray[np.uint8]) -> None:
    """Lay an RGBA layer, colours multiplied by alpha, over an RGB image in place."""
    through = cv2.cvtColor(255 - layer[..., 3], cv2.COLOR_GRAY2RGB)
    below[:] = cv2.add(cv2.multiply(below, through, scale=1 / 255), layer[..., :3])
