"""People over time, from the results of ``rmpe track``."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe import fields
from rmpe.errors import DataError, UsageError
from rmpe.files import parse_json, read_bytes
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton, load_skeleton
from rmpe.write.journal import checked_record

FILE = "tracks.jsonl"
# Frames from a person's first to the last, five hours at 25 a second: all joints are held for each.
MOST_FRAMES = 500_000
FASTEST = 1e5  # frames a second


@dataclass(frozen=True, eq=False)
class Track:
    """One person over T frames, which follow each other without a hole in their numbers.

    Attributes:
        person: The track id.
        skeleton: Names of the K joints.
        frames: ``(T,)`` int64, frame numbers of the video, counted from 0.
        seconds: ``(T,)`` float64, when each frame is shown.
        points: ``(T, K, 2)`` float64, (x, y) in image pixels, y down; NaN where a joint is missing.
        scores: ``(T, K)`` float64 in [0, 1]; 0 where a joint is missing.
        confidence: ``(T,)`` float64, the score of the pose; NaN where the person was not seen.
        fps: Frames a second.
        size: (height, width) of the image.
    """

    person: int
    skeleton: Skeleton
    frames: NDArray[np.int64]
    seconds: NDArray[np.float64]
    points: NDArray[np.float64]
    scores: NDArray[np.float64]
    confidence: NDArray[np.float64]
    fps: float
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.frames)

    def joint(self, name: str) -> NDArray[np.float64]:
        """Places of a joint, ``(T, 2)``; all NaN if the skeleton has no such joint."""
        if name not in self.skeleton.joints:
            return np.full((len(self), 2), np.nan)
        return self.points[:, self.skeleton.joints.index(name)]

    def between(self, start: float | None, end: float | None) -> "Track":
        """The frames shown from ``start`` to ``end`` seconds, both included; there may be none."""
        low = -np.inf if start is None else start
        high = np.inf if end is None else end
        kept = (self.seconds >= low) & (self.seconds <= high)
        names = ("frames", "seconds", "points", "scores", "confidence")
        return replace(self, **{name: getattr(self, name)[kept] for name in names})


def read_tracks(results: Path, skeleton: Skeleton | None = None) -> list[Track]:
    """Read all people from the results of ``rmpe track``.

    Frames that were damaged, and frames in which a person was not seen, are filled with missing
    joints between a person's first and last frame; their times are interpolated.

    Args:
        results: The folder that ``rmpe track`` wrote, or its ``tracks.jsonl``.
        skeleton: The skeleton of the poses; by default the one that the file names.

    Returns:
        One track per person, by id; empty if nobody was followed.

    Raises:
        DataError: If the file is missing, damaged, or holds another skeleton.
    """
    path = results / FILE if results.is_dir() else results
    lines = _lines(path)
    settings = fields.table(lines[0]["settings"], f"{path}: settings")
    skeleton = skeleton or load_skeleton(
        fields.text(settings.get("skeleton"), f"{path}: settings: skeleton")
    )
    frames = [line for line in lines[1:] if "poses" in line]
    found = [_poses(line, skeleton, path) for line in frames]
    numbers = np.array([line["image_id"] for line in frames], np.int64)
    seconds = np.array([line.get("seconds", 0.0) for line in frames], np.float64)
    size = tuple(frames[0]["size"]) if frames else (0, 0)
    said = next((line["fps"] for line in frames if line.get("fps")), 0.0)
    order = np.argsort(numbers, kind="stable")
    _check_times(numbers[order], seconds[order], said, path)
    fps = said or _rate(numbers[order], seconds[order])
    ids = sorted({int(number) for poses in found for number in poses.track_ids if number >= 0})
    where: dict[int, list[tuple[int, int]]] = {number: [] for number in ids}
    for at in order.tolist():
        for row, number in enumerate(found[at].track_ids.tolist()):
            if number >= 0:
                where[number].append((at, row))
    for number, seen in where.items():
        first, last = (int(numbers[at]) for at, _ in (seen[0], seen[-1]))
        if last - first >= MOST_FRAMES:
            raise DataError(
                f"{path}: person {number} is seen in frames {first} and {last}, more than"
                f" {MOST_FRAMES} apart"
            )
    every = (numbers[order], seconds[order])
    return [
        _track(number, skeleton, where[number], found, numbers, every, fps, size) for number in ids
    ]


def choose(tracks: list[Track], people: tuple[int, ...]) -> list[Track]:
    """The tracks of some people; all if none is named.

    Raises:
        UsageError: If there is no such person.
    """
    there = {track.person: track for track in tracks}
    for person in people:
        if person not in there:
            known = ", ".join(map(str, there)) or "none"
            raise UsageError(f"--person {person}: no such id in the results; there: {known}")
    return [there[person] for person in people] if people else tracks


def runs(mask: NDArray[np.bool_]) -> list[slice]:
    """The stretches in which a mask ``(T,)`` is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [slice(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _poses(line: dict[str, Any], skeleton: Skeleton, path: Path) -> Poses:
    place = f"{path}: frame {line['image_id']}"
    try:
        poses = Poses.from_dict(fields.table(line["poses"], f"{place}: poses"), skeleton)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{place}: not the people of `rmpe track`: {error}") from error
    ids = poses.track_ids[poses.track_ids >= 0]
    if len(np.unique(ids)) < len(ids):
        raise DataError(f"{place}: a track id is there twice")
    known = poses.keypoints[np.isfinite(poses.keypoints)]
    if known.size and np.abs(known).max() > fields.LARGEST_PIXEL:
        raise DataError(f"{place}: a joint lies beyond {fields.LARGEST_PIXEL:g} pixels")
    return poses


def _check_times(
    numbers: NDArray[np.int64], seconds: NDArray[np.float64], fps: float, path: Path
) -> None:
    """That every frame is there once and is shown after the one before it."""
    if (wrong := np.flatnonzero(np.diff(numbers) == 0)).size:
        raise DataError(f"{path}: frame {numbers[wrong[0]]} is there twice")
    if (wrong := np.flatnonzero(np.diff(seconds) <= 0)).size:
        at = int(wrong[0])
        raise DataError(
            f"{path}: frame {numbers[at + 1]} at {seconds[at + 1]:g} s is not later than frame"
            f" {numbers[at]} at {seconds[at]:g} s"
        )
    if not 0 <= fps <= FASTEST:
        raise DataError(f"{path}: {fps:g} frames a second, not a rate of a video")


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        if not path.exists():
            raise DataError(f"{path}: no such file; name the folder that `rmpe track` wrote")
        text = read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not the tracks of `rmpe track`; of a video, run `rmpe track` first"
        ) from error
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        place = f"{path}: line {number}"
        try:
            record = parse_json(line, place)
        except DataError as error:
            raise DataError(f"{place} is damaged: run `rmpe track` again") from error
        if not isinstance(record, dict):
            raise DataError(f"{place} is not a JSON object")
        lines.append(checked_record(record, place) if number > 1 and "poses" in record else record)
    if not lines or "settings" not in lines[0]:
        raise DataError(f"{path}: not the tracks of `rmpe track`: it does not begin with settings")
    return lines


def _rate(numbers: NDArray[np.int64], seconds: NDArray[np.float64]) -> float:
    """Frames a second by the times of the frames; 1 where they do not tell."""
    if len(numbers) < 2 or seconds[-1] <= seconds[0]:
        return 1.0
    return float((numbers[-1] - numbers[0]) / (seconds[-1] - seconds[0]))


def _track(
    person: int,
    skeleton: Skeleton,
    where: list[tuple[int, int]],
    found: list[Poses],
    numbers: NDArray[np.int64],
    every: tuple[NDArray[np.int64], NDArray[np.float64]],
    fps: float,
    size: tuple[int, ...],
) -> Track:
    first = int(numbers[where[0][0]])
    frames = np.arange(first, int(numbers[where[-1][0]]) + 1)
    joints = len(skeleton)
    points = np.full((len(frames), joints, 2), np.nan)
    scores = np.zeros((len(frames), joints))
    confidence = np.full(len(frames), np.nan)
    for at, row in where:
        place = int(numbers[at]) - first
        poses = found[at]
        points[place] = poses.keypoints[row]
        scores[place] = poses.keypoint_scores[row]
        confidence[place] = poses.scores[row]
    scores[~np.isfinite(points).all(axis=2)] = 0
    seconds = np.interp(frames, *every)
    return Track(
        person, skeleton, frames, seconds, points, scores, confidence, fps, (size[0], size[1])
    )
