"""The method on one screen: detect, propose, (SSTN), estimate, suppress."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rmpe.affine import apply, invert
from rmpe.boxes import Boxes
from rmpe.detect import Detector, RecordedBoxes, load_detector
from rmpe.errors import RmpeError
from rmpe.estimate.crops import cut
from rmpe.estimate.pose_model import PoseModel, load_pose_model
from rmpe.estimate.score import lowest_box_score, pose_scores
from rmpe.estimate.stn import Stn, load_stn
from rmpe.media.images import read_image
from rmpe.models import resolve_model
from rmpe.poses import Poses
from rmpe.propose.regions import propose
from rmpe.runtime import Device
from rmpe.skeletons import Skeleton
from rmpe.suppress import Suppressor, suppressor

if TYPE_CHECKING:
    from rmpe.media.video import VideoFrame
    from rmpe.tracking.interval import Every

Image = NDArray[np.uint8]

# Images whose people share a batch. More evens out batches of the pose model but keeps more images
# in memory.
CHUNK = 4


@dataclass(frozen=True)
class Result:
    """What became of one image of a stream.

    Attributes:
        path: Where it came from.
        image: RGB pixels; ``None`` if it could not be read.
        poses: The people in it; ``None`` if anything failed.
        error: Why, in one line; empty if nothing failed.
    """

    path: Path
    image: Image | None = None
    poses: Poses | None = None
    error: str = ""


class Estimator:
    """Everybody's pose, from an image. Make one with `load`. Safe to call from several threads at once."""

    def __init__(
        self,
        detector: Detector,
        pose: PoseModel,
        stn: Stn | None = None,
        suppress: Suppressor | None = None,
        *,
        min_score: float = 0.0,
        limit: int = 100,
        workers: int = 1,
    ) -> None:
        """Put the stages together.

        Args:
            detector: Finds boxes.
            pose: The single-person pose estimator.
            stn: Moves the crops onto the people before ``pose`` sees them.
            suppress: Removes redundant poses; parametric pose NMS if not given.
            min_score: Poses below it are left out.
            limit: Most people in one image; the best boxes are kept.
            workers: Threads of `stream`.
        """
        self.detector = detector
        self.pose = pose
        self.stn = stn
        self.suppress = suppress or suppressor("parametric")
        self.min_score = min_score
        self.limit = limit
        self.workers = max(1, workers)

    @property
    def skeleton(self) -> Skeleton:
        """What the joints of the poses are."""
        return self.pose.skeleton

    def __call__(self, image: Image, name: str = "") -> Poses:
        """Find everybody in one image.

        Args:
            image: RGB uint8 ``(H, W, 3)``.
            name: What the image is called; only needed by detectors that look boxes up.

        Returns:
            Poses, best first.
        """
        return self.estimate(image, self.detector(image, name))

    def estimate(self, image: Image, boxes: Boxes) -> Poses:
        """The poses of the people in the given boxes, without the redundant ones, best first."""
        return self.estimate_batch([image], [boxes])[0]

    def estimate_batch(self, images: list[Image], boxes: list[Boxes]) -> list[Poses]:
        """`estimate` for several images, whose people share the pose model's batches."""
        if not images:
            return []
        enough = lowest_box_score(self.min_score)
        people = [
            propose(found, (image.shape[0], image.shape[1]), self.limit, enough)
            for image, found in zip(images, boxes, strict=True)
        ]
        centred = [found.xyxy for found in people]
        if self.stn:
            image_to_crop, centred = self.stn.crop_maps(images, people, self.pose)
        else:
            image_to_crop = [self.pose.crop_maps(found) for found in centred]
        crops = [
            cut(image, maps, self.pose.size)
            for image, maps in zip(images, image_to_crop, strict=True)
        ]
        points, joint_scores = self.pose(np.concatenate(crops))
        keypoints = apply(invert(np.concatenate(image_to_crop)), points)
        scores = pose_scores(np.concatenate([found.scores for found in people]), joint_scores)
        proposed = np.concatenate([found.xyxy for found in people])
        poses = Poses(
            keypoints,
            joint_scores,
            scores,
            proposed,
            self.skeleton,
            stn_boxes=np.concatenate(centred),
        )
        ends = np.cumsum([len(found) for found in people])
        return [
            self._suppress(poses[end - len(found) : end])
            for end, found in zip(ends, people, strict=True)
        ]

    def _suppress(self, poses: Poses) -> Poses:
        """Without the redundant and the unlikely ones, best first."""
        poses = self.suppress(poses)
        return poses[poses.scores >= self.min_score]

    def stream(
        self,
        paths: Iterable[Path],
        read: Callable[[Path], Image] = read_image,
        each: Callable[[Result], None] | None = None,
    ) -> Iterator[Result]:
        """Find everybody in many images, in order; an image that fails does not stop the rest.

        Decoding, detection and estimation of different images overlap on ``workers`` threads; no
        more than a few images are held at a time, however many there are.

        Args:
            paths: Image files.
            read: How to read one; its `RmpeError` becomes that image's failure.
            each: Called with every result in the thread that made it, e.g. to draw.
        """
        pending: deque[Future[list[Result]]] = deque()
        with ThreadPoolExecutor(self.workers, "rmpe") as pool:
            try:
                for chunk in _chunks(paths):
                    pending.append(pool.submit(self._process, chunk, read, each))
                    if len(pending) > self.workers:
                        yield from pending.popleft().result()
                while pending:
                    yield from pending.popleft().result()
            finally:  # also when the caller stops early: do not work through what nobody waits for
                for future in pending:
                    future.cancel()

    def track(
        self,
        source: str | Path,
        tracker: str = "poseflow",
        *,
        detect_every: "Every" = 1,
        smooth: bool = False,
    ) -> "Iterator[tuple[VideoFrame, Poses]]":
        """Follow everybody through a video: every frame with its people, who have track ids.

        Args:
            source: Video file, folder of images, or URL; for cameras see `rmpe.video.track`.
            tracker: ``poseflow`` or ``oks``.
            detect_every: Run the detector on every so many frames, or ``auto``.
            smooth: Take the jitter out of the joints (one-euro filter).

        Raises:
            RmpeError: If the video cannot be read or an option is wrong.
        """
        from rmpe.media.video import Video  # PyAV is only needed for videos
        from rmpe.tracking.interval import DetectionInterval
        from rmpe.tracking.smooth import OneEuro
        from rmpe.video import load_tracker, track

        with Video(source) as video:
            interval = DetectionInterval(detect_every)
            filter_ = OneEuro() if smooth else None
            yield from track(
                self,
                video,
                load_tracker(tracker, video.fps, live=video.live),
                interval=interval,
                smooth=filter_,
            )

    def _process(
        self,
        paths: list[Path],
        read: Callable[[Path], Image],
        each: Callable[[Result], None] | None,
    ) -> list[Result]:
        looked = [self._look(path, read) for path in paths]
        images = [result.image for result, _ in looked if result.image is not None]
        boxes = [found for result, found in looked if result.image is not None]
        try:
            answers: list[Poses | str] = list(self.estimate_batch(images, boxes))
        except RmpeError:  # one of them broke the batch: let the others live
            answers = [
                self._alone(image, found) for image, found in zip(images, boxes, strict=True)
            ]
        remaining = iter(answers)
        results = [
            result if result.image is None else _answered(result, next(remaining))
            for result, _ in looked
        ]
        if each:
            for result in results:
                each(result)
        return results

    def _look(self, path: Path, read: Callable[[Path], Image]) -> tuple[Result, Boxes]:
        try:
            image = read(path)
            return Result(path, image), self.detector(image, path.as_posix())
        except RmpeError as error:
            return Result(path, error=str(error)), Boxes.empty()

    def _alone(self, image: Image, boxes: Boxes) -> Poses | str:
        try:
            return self.estimate(image, boxes)
        except RmpeError as error:
            return str(error)


def _answered(result: Result, answer: Poses | str) -> Result:
    return (
        replace(result, error=answer) if isinstance(answer, str) else replace(result, poses=answer)
    )


def _chunks(paths: Iterable[Path]) -> Iterator[list[Path]]:
    remaining = iter(paths)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk


def load(
    detector: str | Path | Detector | None = None,
    pose: str | Path | None = None,
    *,
    stn: str | Path | None = None,
    card: str | Path | None = None,
    nms: str = "parametric",
    device: Device = "auto",
    threads: int = 0,
    workers: int = 1,
    batch: int = 2,
    flip_test: bool = False,
    min_score: float = 0.05,
    limit: int = 100,
) -> Estimator:
    """Load models and put the pipeline together.

    Args:
        detector: ONNX file or name of an installed model, or any `Detector` object; ``None`` = the
            default model.
        pose: The same for the single-person pose model.
        stn: The same for a spatial transformer that stands before the pose model; ``None`` = no
            transformer.
        card: Model card of the pose model, where it has none of its own.
        nms: ``parametric``, another of `rmpe.suppress.SUPPRESSORS`, or a TOML file of learned
            parameters.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: Cores to use; 0 = all.
        workers: Threads of `Estimator.stream`; the cores are divided among them. One is best for
            single images, as many as there are cores for many.
        batch: Most crops in one call of the pose model. Two suit a CPU's caches; a GPU wants 16 or
            more.
        flip_test: Also run every crop mirrored and average: slower, a little better.
        min_score: Poses below it are left out, and boxes too poor to reach it are not looked at; 0
            for measuring AP.
        limit: Most people in one image.

    Raises:
        RmpeError: If a model cannot be used or an option is wrong.
    """
    cores = threads or os.cpu_count() or 1
    each = max(1, cores // max(1, workers))
    if detector is None or isinstance(detector, str | Path):
        detector = load_detector(resolve_model(detector, "detector"), device, each)
    pose_file = resolve_model(pose, "pose")
    pose_card = Path(card) if card else None
    return Estimator(
        detector,
        load_pose_model(pose_file, device, each, pose_card, flip_test=flip_test, batch=batch),
        load_stn(resolve_model(stn, "stn"), device, each) if stn else None,
        suppressor(nms),
        min_score=min_score,
        limit=limit,
        workers=workers,
    )


__all__ = ["Detector", "Estimator", "RecordedBoxes", "Result", "load"]
