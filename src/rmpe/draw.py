"""Poses drawn on an image: limbs by side, joints by confidence, widths by the person's size."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from numbers import Real
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmpe.errors import UsageError
from rmpe.faces import blur_faces
from rmpe.media.arrays import ChannelOrder, type_name
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
TRAIL = 0.6  # opacity of a trail's newest end

ColorBy = Literal["side", "person"]
COLOR_BY: tuple[ColorBy, ...] = get_args(ColorBy)


@dataclass(frozen=True, kw_only=True)
class DrawStyle:
    """What drawn poses look like, in photos and videos alike.

    Attributes:
        color_by: ``side``: left green, right orange, others blue. ``person``: each track in a
            colour of its own, people without a track by their order.
        boxes: Draw the box of each person.
        ids: Write the track id of each person who has one.
        scores: Write the score of each person.
        blur_faces: Make the faces of all people unrecognisable, also of those not drawn.
        black: Draw on black instead of the image.
    """

    color_by: ColorBy = "side"
    boxes: bool = False
    ids: bool = False
    scores: bool = False
    blur_faces: bool = False
    black: bool = False

    def __post_init__(self) -> None:
        if self.color_by not in COLOR_BY:
            raise UsageError(f"color_by {self.color_by!r}: choose one of {', '.join(COLOR_BY)}")


PLAIN = DrawStyle()


def draw_poses(
    image: Any,
    poses: Poses,
    *,
    min_score: float = 0.3,
    show_boxes: bool = False,
    show_ids: bool = False,
    other_boxes: ArrayLike | None = None,
    color: ChannelOrder = "rgb",
    style: DrawStyle = PLAIN,
    trails: Mapping[int, ArrayLike] | None = None,
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
        show_boxes: Draw the box of each person, white or in the colour of its track; the same as
            ``style.boxes``.
        show_ids: Write the track id of each person who has one; the same as ``style.ids``.
        other_boxes: ``(M, 4)`` xyxy, drawn in magenta, e.g. boxes from another stage than those of
            ``poses``.
        color: Order of the colour channels of ``image`` and of the answer.
        style: Colours, labels, boxes and background.
        trails: Track id -> where the person was, ``(M, 2)`` pixels, oldest first.

    Returns:
        A new uint8 image ``(H, W, 3)``.

    Raises:
        ImageError: If ``image`` is not an image.
        UsageError: If ``poses`` are none, or a style or score is no such thing.
    """
    given: Any = poses  # whoever calls may err
    if not isinstance(given, Poses):
        several = "; draw those of each image on it" if isinstance(given, list | tuple) else ""
        raise UsageError(f"poses are what an estimator finds, this is {type_name(given)}{several}")
    asked: dict[str, Any] = {"style": style, "min_score": min_score}
    if not isinstance(asked["style"], DrawStyle):
        raise UsageError(f"style is a DrawStyle, this is {type_name(style)}")
    if not isinstance(asked["min_score"], Real):
        raise UsageError(f"min_score = {min_score!r} is not a number")
    canvas = as_image(image, color).copy()
    if style.black:
        canvas[:] = 0
    elif style.blur_faces:
        blur_faces(canvas, poses)
    kept = poses[np.flatnonzero(poses.scores >= min_score)]
    kept = kept[np.argsort(kept.scores, kind="stable")]
    ids = kept.track_ids.tolist()
    for track_id, trail in (trails or {}).items():
        _draw_trail(canvas, np.asarray(trail, np.float64).reshape(-1, 2), track_color(track_id))
    for person, track_id in enumerate(ids):
        own = track_color(track_id if track_id >= 0 else person)
        _draw_person(canvas, kept[person], own if style.color_by == "person" else None)
    if other_boxes is not None:
        for box in np.asarray(other_boxes, np.float64).reshape(-1, 4):
            _draw_box(canvas, box, OTHER_BOX)
    if show_boxes or style.boxes:
        for box, track_id in zip(kept.boxes, ids, strict=True):
            _draw_box(canvas, box, track_color(track_id) if track_id >= 0 else BOX)
    for person, track_id in enumerate(ids):
        words = [str(track_id)] if (show_ids or style.ids) and track_id >= 0 else []
        words += [f"{kept.scores[person]:.2f}"] if style.scores else []
        if words:
            paint = track_color(track_id) if track_id >= 0 else BOX
            _draw_label(canvas, _head_place(kept[person]), "  ".join(words), paint)
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


def _draw_person(canvas: NDArray[np.uint8], person: Poses, own: Color | None) -> None:
    """Draw on a transparent layer just as large as the person, then blend it in.

    The layer is RGBA with colours multiplied by alpha: smooth edges and faint joints blend alike,
    and where limbs cross the later one replaces the earlier instead of both adding up. All is drawn
    in the colour ``own``, if there is one.
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
            _paint(own or color, min(opacity[start], opacity[end])),
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
            (own or skeleton.colors[joint], opacity[joint], radius),
        )
        for color, solid, extent in disks:
            size = round(extent * 2**FRACTION_BITS)
            cv2.circle(
                layer, center, size, _paint(color, solid), cv2.FILLED, cv2.LINE_AA, FRACTION_BITS
            )
    _blend(canvas[window], layer)


def _draw_trail(canvas: NDArray[np.uint8], trail: NDArray[np.float64], color: Color) -> None:
    """A line through the places where a person was, fainter the older they are."""
    known = trail[np.isfinite(trail).all(axis=1)]
    for at in range(1, len(known)):
        ends = known[at - 1 : at + 1]
        window = _window(ends, 3, canvas)
        layer = np.zeros((*canvas[window].shape[:2], 4), np.uint8)
        if layer.size:
            start, end = (_fixed(place - (window[1].start, window[0].start)) for place in ends)
            paint = _paint(color, TRAIL * at / (len(known) - 1))
            cv2.line(layer, start, end, paint, 2, cv2.LINE_AA, FRACTION_BITS)
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
