"""Joint angles in the plane of the image, and what they need: facing, segments, speeds.

All angles are taken in a frame in which the person faces right: x forward, y up. Signs are those of
the ISB where the ISB defines them: flexion and dorsiflexion are positive, extension and plantar
flexion negative. The neutral position (0 degrees everywhere) is standing upright with hanging arms.
One camera sees the projection only, so the angles are those of the sagittal plane if the camera
looks at the person from the side.

Source: Wu et al., "ISB recommendation on definitions of joint coordinate systems", part I, Journal
of Biomechanics 2002 (ankle, hip), part II, 2005 (shoulder, elbow).
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rmpe.kinematics.tracks import Track, runs

Facing = Literal["auto", "left", "right"]
FACINGS: tuple[Facing, ...] = get_args(Facing)
TURN = 0.08  # lengths of the trunk; a weaker cue does not turn a person round
SIDES = ("left", "right")

MIDDLES = {
    "shoulders": ("left_shoulder", "right_shoulder"),
    "hips": ("left_hip", "right_hip"),
    "ears": ("left_ear", "right_ear"),
    "toes": ("left_big_toe", "right_big_toe"),
    "heels": ("left_heel", "right_heel"),
}
# What stands for the head where a skeleton has no ears.
HEADS = ("head", "head_top", "top_head", "nose")
VERTICAL = "vertical"


@dataclass(frozen=True)
class Definition:
    """One angle: how far ``moving`` is turned from ``fixed``.

    Attributes:
        name: E.g. ``left_knee``.
        title: What it measures, e.g. ``knee flexion``.
        fixed: The segment it is measured from, as (start, end) points; ``vertical`` points down.
        moving: The segment that turns.
        sign: 1 if turning forwards and up (anticlockwise, facing right) is positive, else -1.
        neutral: Degrees between the segments that count as 0.
        turns: Whether the joint can go beyond half a turn, as an arm that circles does.
    """

    name: str
    title: str
    fixed: tuple[str, str]
    moving: tuple[str, str]
    sign: int = 1
    neutral: float = 0.0
    turns: bool = False


TRUNK_DOWN = ("shoulders", "hips")


def _definitions() -> tuple[Definition, ...]:
    found = []
    for side in SIDES:
        hip, knee, ankle = f"{side}_hip", f"{side}_knee", f"{side}_ankle"
        shoulder, elbow, wrist = f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist"
        foot = (f"{side}_heel", f"{side}_big_toe")
        found += [
            Definition(f"{side}_hip", "hip flexion", TRUNK_DOWN, (hip, knee)),
            Definition(f"{side}_knee", "knee flexion", (hip, knee), (knee, ankle), sign=-1),
            Definition(f"{side}_ankle", "ankle dorsiflexion", (knee, ankle), foot, neutral=90),
            Definition(
                f"{side}_shoulder", "shoulder flexion", TRUNK_DOWN, (shoulder, elbow), turns=True
            ),
            Definition(f"{side}_elbow", "elbow flexion", (shoulder, elbow), (elbow, wrist)),
        ]
    down = (VERTICAL, VERTICAL)
    found += [
        Definition("trunk", "trunk forward lean", down, ("hips", "shoulders"), -1, 180),
        Definition("head", "head forward lean", ("hips", "shoulders"), ("shoulders", "head"), -1),
    ]
    return tuple(found)


DEFINITIONS = _definitions()

SEGMENTS: dict[str, tuple[str, str]] = {
    **{
        f"{side}_{name}": (f"{side}_{start}", f"{side}_{end}")
        for side in SIDES
        for name, start, end in (
            ("thigh", "hip", "knee"),
            ("shank", "knee", "ankle"),
            ("foot", "heel", "big_toe"),
            ("upper_arm", "shoulder", "elbow"),
            ("forearm", "elbow", "wrist"),
        )
    },
    "trunk": ("hips", "shoulders"),
    "shoulder_width": ("left_shoulder", "right_shoulder"),
    "hip_width": ("left_hip", "right_hip"),
}


def place(track: Track, name: str) -> NDArray[np.float64]:
    """A joint, or a point between joints, ``(T, 2)`` image pixels; NaN where it is missing.

    Of a pair of joints the one that is seen stands for the middle, as a side view often hides one.
    """
    if name == "head":
        ears = place(track, "ears")
        for joint in HEADS:
            if np.isfinite(ears).any():
                break
            ears = track.joint(joint)
        return ears
    if name not in MIDDLES:
        return track.joint(name)
    left, right = (track.joint(joint) for joint in MIDDLES[name])
    return np.where(
        np.isfinite(left), np.where(np.isfinite(right), (left + right) / 2, left), right
    )


def segment_length(track: Track, name: str) -> NDArray[np.float64]:
    """Length of a segment of `SEGMENTS` in pixels, ``(T,)``."""
    start, end = SEGMENTS[name]
    return np.linalg.norm(place(track, end) - place(track, start), axis=1)


def facing(track: Track) -> NDArray[np.int64]:
    """Which way a person faces, ``(T,)``: 1 right, -1 left.

    The cues are toes before heels, the nose before the ears, and the way the hips move within a
    second, all in lengths of the trunk; their median over a second decides. A weak cue keeps the
    side of the frame before, so a person who turns to the camera does not flicker.
    """
    count = len(track)
    trunk = np.nanmedian(_or_nan(segment_length(track, "trunk")))
    half = max(1, round(track.fps / 2))
    hips = place(track, "hips")[:, 0]
    ahead = np.minimum(np.arange(count) + half, count - 1)
    behind = np.maximum(np.arange(count) - half, 0)
    cues = np.stack(
        [
            place(track, "toes")[:, 0] - place(track, "heels")[:, 0],
            track.joint("nose")[:, 0] - place(track, "ears")[:, 0],
            hips[ahead] - hips[behind],
        ]
    )
    cue = np.nansum(cues, axis=0) / (trunk if np.isfinite(trunk) and trunk > 0 else 1.0)
    steady = np.array(
        [np.median(cue[max(0, at - half) : at + half + 1]) for at in range(count)], np.float64
    )
    strong = np.flatnonzero(np.abs(steady) >= TURN)
    if not len(strong):
        return np.full(count, 1 if np.sum(steady) >= 0 else -1, np.int64)
    # Each frame takes the side of the last strong cue; those before the first one take its side.
    last = np.maximum.accumulate(np.where(np.abs(steady) >= TURN, np.arange(count), strong[0]))
    return np.where(steady[last] > 0, 1, -1).astype(np.int64)


def directions(track: Track, chosen: Facing) -> NDArray[np.int64]:
    """Facing by the user's choice, or found by `facing`; ``(T,)``."""
    if chosen == "auto":
        return facing(track)
    return np.full(len(track), 1 if chosen == "right" else -1, np.int64)


def angle(track: Track, definition: Definition, side: NDArray[np.int64]) -> NDArray[np.float64]:
    """An angle over time.

    Args:
        track: Cleaned joints.
        definition: Which angle.
        side: ``(T,)``, see `facing`.

    Returns:
        ``(T,)`` degrees in [-180, 180); NaN where a joint is missing. The angle of a joint that
        `turns` is continuous instead, without a jump while it is seen.
    """
    fixed = _segment(track, definition.fixed, side)
    moving = _segment(track, definition.moving, side)
    cross = fixed[:, 0] * moving[:, 1] - fixed[:, 1] * moving[:, 0]
    dot = (fixed * moving).sum(axis=1)
    turned = np.degrees(np.arctan2(cross, dot))
    values = (definition.sign * (turned - definition.neutral) + 180) % 360 - 180
    return _continuous(values) if definition.turns else values


def speed(values: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change per second by central differences, ``(T,)``; NaN beside a gap of one frame's run."""
    if len(values) < 2:
        return np.full(len(values), np.nan)
    return np.gradient(values, seconds)


def _segment(track: Track, ends: tuple[str, str], side: NDArray[np.int64]) -> NDArray[np.float64]:
    """A segment as a vector, x forward and y up, ``(T, 2)``."""
    if ends[0] == VERTICAL:
        return np.tile([0.0, -1.0], (len(track), 1))
    along = place(track, ends[1]) - place(track, ends[0])
    return np.stack([along[:, 0] * side, -along[:, 1]], axis=1)


def _continuous(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles without jumps of a whole turn within a run; its median lies in [-180, 180)."""
    result = values.copy()
    for run in runs(np.isfinite(values)):
        whole = np.unwrap(values[run], period=360)
        result[run] = whole - 360 * np.floor((np.median(whole) + 180) / 360)
    return result


def _or_nan(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values if np.isfinite(values).any() else np.array([1.0])
