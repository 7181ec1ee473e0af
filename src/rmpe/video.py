"""A video from frames to people: detect, estimate, track, smooth, each overlapping the next."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from rmpe.errors import UsageError
from rmpe.media.arrays import type_name
from rmpe.media.background import Background
from rmpe.media.video import Video, VideoFrame
from rmpe.one_stage import OneStageEstimator
from rmpe.pipeline import Estimator
from rmpe.poses import Poses
from rmpe.tracking.belief import EVERYTHING, BeliefParameters
from rmpe.tracking.interval import DetectionInterval, Every
from rmpe.tracking.oks_tracker import OksTracker
from rmpe.tracking.poseflow import PoseFlow, PoseFlowParameters
from rmpe.tracking.smooth import OneEuro
from rmpe.tracking.tracker import Tracker

Recorded = Callable[[int], Poses | None]
Record = Callable[[VideoFrame, Poses], None]

# Neither a tracker nor a smoother.
NONE = "none"
# Frames that wait between two stages.
AHEAD = 3
# How long somebody may be out of sight and keep the id, and how far PoseFlow looks ahead, in
# seconds.
MEMORY = 3.0
LOOKAHEAD = 0.2
# How long something may be seen without moving before that speaks against a person, in seconds.
YOUNG = 0.5


def _poseflow(fps: float, live: bool, belief: BeliefParameters) -> Tracker:
    lookahead = 0 if live else max(1, round(LOOKAHEAD * fps))
    memory = max(1, round(MEMORY * fps))
    return PoseFlow(PoseFlowParameters(lookahead=lookahead, memory=memory, belief=belief))


def _oks(fps: float, live: bool, belief: BeliefParameters) -> Tracker:  # noqa: ARG001 - it never looks ahead
    return OksTracker(memory=max(1, round(MEMORY * fps)), belief=belief)


TRACKERS: dict[str, Callable[[float, bool, BeliefParameters], Tracker]] = {
    "poseflow": _poseflow,
    "oks": _oks,
}


def load_tracker(name: str, fps: float, *, live: bool = False, ghosts: bool = False) -> Tracker:
    """A tracker by name (``poseflow``, ``oks``) with its times set for ``fps``.

    Live sources get one without latency. With ``ghosts``, what never looks like a person gets ids,
    too.

    Raises:
        UsageError: If there is no such tracker.
    """
    if name not in TRACKERS:
        raise UsageError(f"unknown tracker {name!r}; known: {', '.join(TRACKERS)}")
    fps = fps or 25.0
    young = max(1, round(YOUNG * fps))
    return TRACKERS[name](fps, live, EVERYTHING if ghosts else BeliefParameters(young=young))


@dataclass(frozen=True, slots=True)
class Following:
    """How people are followed through a video.

    Attributes:
        tracker: A name of `TRACKERS`, or ``none``.
        keep_ghosts: Give ids to what never looks like a person, too.
        detect_every: Run the detector on every so many frames, or ``auto``.
        smooth: ``one-euro`` or ``none``.
    """

    tracker: str = "poseflow"
    keep_ghosts: bool = False
    detect_every: Every = 1
    smooth: str = NONE

    def through(
        self,
        estimator: Estimator,
        video: Video,
        recorded: Recorded | None = None,
        record: Record | None = None,
    ) -> Generator[tuple[VideoFrame, Poses]]:
        """`follow` with these parts."""
        tracker = None
        if self.tracker != NONE:
            tracker = load_tracker(
                self.tracker, video.fps, live=video.live, ghosts=self.keep_ghosts
            )
        return follow(
            estimator,
            video,
            tracker,
            interval=DetectionInterval(self.detect_every),
            smooth=None if self.smooth == NONE else OneEuro(),
            recorded=recorded,
            record=record,
        )


def track(
    estimator: Estimator,
    source: str | Path | Iterable[Any],
    tracker: str = "poseflow",
    *,
    detect_every: Every = 1,
    smooth: bool = False,
) -> Iterator[tuple[VideoFrame, Poses]]:
    """Follow everybody through a video: every frame with its people, who have track ids.

    Args:
        estimator: The pipeline.
        source: Video file, folder of images, URL, or the images themselves (each anything that
            `rmpe.media.images.as_image` takes); for a camera open a `Video` and `follow` it.
        tracker: ``poseflow`` or ``oks``.
        detect_every: Run the detector on every so many frames, or ``auto``.
        smooth: Take the jitter out of the joints (one-euro filter).

    Raises:
        RmpeError: If the video cannot be read or an option is wrong.
    """
    given: dict[str, Any] = {"estimator": estimator, "every": detect_every}  # whoever calls may err
    if not hasattr(given["estimator"], "estimate"):
        raise UsageError(
            f"the estimator is what rmpe.load returns, this is {type_name(estimator)};"
            " rmpe.track(estimator, source)"
        )
    whole = isinstance(given["every"], Integral) and not isinstance(given["every"], bool)
    if given["every"] != "auto" and not (whole and given["every"] >= 1):
        raise UsageError(f"detect_every = {detect_every!r} is neither a number from 1 on nor auto")
    with Video(source, color=estimator.color) as video:
        yield from follow(
            estimator,
            video,
            load_tracker(tracker, video.fps, live=video.live),
            interval=DetectionInterval(detect_every),
            smooth=OneEuro() if smooth else None,
        )


def follow(
    estimator: Estimator,
    video: Video,
    tracker: Tracker | None = None,
    *,
    interval: DetectionInterval | None = None,
    smooth: OneEuro | None = None,
    recorded: Recorded | None = None,
    record: Record | None = None,
) -> Generator[tuple[VideoFrame, Poses]]:
    """`track` for an open video, with parts of one's own.

    Decoding and estimating run in threads of their own, a few frames ahead of the caller. Stop
    early by closing the generator: the threads end with it.

    Args:
        estimator: Finds people and their poses.
        video: The frames. Of a live one, frames that nobody takes in time are dropped.
        tracker: Gives ids; none if not given.
        interval: When to run the detector; on every frame if not given.
        smooth: Takes the jitter out of what is tracked.
        recorded: The poses of a frame that an earlier run has found, if it has; such a frame is
            tracked again but not estimated, which gives the same result as a run that was never
            stopped.
        record: Called with every frame and its poses as estimated, before tracking, in order, in
            another thread.

    Yields:
        Every frame with its people, in order.
    """
    if isinstance(estimator, OneStageEstimator) and interval and interval.every != 1:
        raise UsageError("a one-stage model looks at the whole of every frame: no detect_every")
    frames = Background(video, AHEAD, newest_only=video.live, on_close=video.stop)
    estimated = _estimated(estimator, frames, interval or DetectionInterval(), recorded, record)
    found = Background(estimated, AHEAD, on_close=frames.close)
    for frame, poses in _tracked(found, tracker):
        yield frame, poses if smooth is None else smooth.update(poses, frame.seconds)


def _estimated(
    estimator: Estimator,
    frames: Iterable[VideoFrame],
    interval: DetectionInterval,
    recorded: Recorded | None,
    record: Record | None,
) -> Iterator[tuple[VideoFrame, Poses]]:
    for frame in frames:
        boxes = interval.boxes(frame.image)
        poses = recorded(frame.index) if recorded else None
        if poses is None:
            poses = estimator.estimate(
                frame.image, estimator.detector(frame.image) if boxes is None else boxes
            )
            if record is not None:
                record(frame, poses)
        interval.note(poses, detected=boxes is None)
        yield frame, poses


def _tracked(
    found: Iterable[tuple[VideoFrame, Poses]], tracker: Tracker | None
) -> Iterator[tuple[VideoFrame, Poses]]:
    if tracker is None:
        yield from found
        return
    waiting: deque[VideoFrame] = deque()
    for frame, poses in found:
        waiting.append(frame)
        for done in tracker.update(frame.image, poses):
            yield waiting.popleft(), done
    for done in tracker.flush():
        yield waiting.popleft(), done
