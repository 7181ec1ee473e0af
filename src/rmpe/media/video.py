"""Videos to frames: files, folders of images, cameras and network streams.

A frame is RGB uint8 and upright, and knows when it was taken. Nothing is held but the frame at
hand.
"""

import logging
import platform
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from rmpe.errors import ImageError
from rmpe.media.images import SUFFIXES, read_image
from rmpe.media.sources import find_images

logger = logging.getLogger(__name__)

# A network stream that breaks is opened again after these many seconds, and then given up.
RECONNECT = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
# Seconds without a byte after which a network stream counts as broken.
SILENCE = 10.0
NETWORK = (
    "rtsp://",
    "rtsps://",
    "rtmp://",
    "rtmps://",
    "rtp://",
    "udp://",
    "srt://",
    "http://",
    "https://",
)
CAMERA_FORMATS = {
    "Linux": ("v4l2", "/dev/video{}"),
    "Darwin": ("avfoundation", "{}"),
    "Windows": ("dshow", "video={}"),
}


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One frame.

    Attributes:
        index: Its number, from 0; frames that could not be decoded have none.
        seconds: When it is shown, from the first frame on; strictly growing.
        image: RGB uint8 ``(H, W, 3)``, upright.
    """

    index: int
    seconds: float
    image: NDArray[np.uint8]


class Video:
    """Frames of a video, one at a time. Iterate once; use it in a ``with`` block or `close` it.

    Attributes:
        name: What was opened.
        live: Whether frames come when they come and cannot be had again: a camera, a network stream
            without an end.
        fps: Mean frames a second as the container says; 0 if it does not.
        total: How many frames the container says there are; 0 if it does not.
        corrupt: Frames that were damaged and left out so far.
        reconnects: How often a lost network stream was opened again, in vain or not.
    """

    def __init__(self, source: str | Path, *, camera: bool = False, fps: float = 0.0) -> None:
        """Open a source.

        Args:
            source: Video file, folder or pattern of images, URL, or with ``camera`` the camera's
                number or name.
            camera: Whether ``source`` is a camera.
            fps: Frames a second of a folder of images, 25 if not given; the rate asked of a camera.

        Raises:
            ImageError: If it cannot be opened or holds no video.
            DataError: If a pattern matches nothing.
        """
        self.name = str(source)
        self._network = self.name.startswith(NETWORK) and not camera
        self.live = camera
        self.fps = fps
        self.total = 0
        self.corrupt = 0
        self.reconnects = 0
        self._camera = camera
        self._stopped = threading.Event()
        self._images = [] if camera or self._network else _image_sequence(self.name)
        self._container: av.container.InputContainer | None = None
        if self._images:
            self.fps = fps or 25.0
            self.total = len(self._images)
        else:
            self._container = self._open(fps)
            self.live = camera or (self._network and not self._container.duration)
            stream = self._container.streams.video[0]
            self.fps = float(stream.average_rate or stream.guessed_rate or 0)
            self.total = 0 if self.live else stream.frames or _frames_by_duration(stream)

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file or device; more than once is fine."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def stop(self) -> None:
        """A stream that is away is not waited for any longer; from any thread or a signal handler."""
        self._stopped.set()

    def __iter__(self) -> Iterator[VideoFrame]:
        last = -np.inf
        pictures = self._from_images() if self._images else self._from_container()
        for index, (seconds, image) in enumerate(pictures):
            # Streams repeat or turn back time stamps at damaged places; frames keep their order.
            last = seconds if seconds > last else last + 0.5 / (self.fps or 25.0)
            yield VideoFrame(index, last, image)

    def _from_images(self) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        for number, path in enumerate(self._images):
            try:
                image = read_image(path)
            except ImageError as error:
                self._count_corrupt(str(error))
                continue
            yield number / self.fps, image

    def _from_container(self) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        start: float | None = None
        for number, frame in enumerate(self._decode()):
            taken = time.monotonic() if self.live else frame.time
            seconds = number / (self.fps or 25.0) if taken is None else taken
            start = seconds if start is None else start
            yield seconds - start, upright(frame)

    def _decode(self) -> Iterator[av.VideoFrame]:
        failures = 0
        while True:
            broken = ""
            try:
                self._container = self._container or self._open(self.fps)
                for frame in self._frames(self._container):
                    failures = 0
                    yield frame
            except (av.error.FFmpegError, ImageError) as error:
                broken = str(error)
            if not self.live or self._camera:
                if broken:
                    self._count_corrupt(broken)
                return
            self.close()
            broken = broken or "it ended"
            if failures == len(RECONNECT):
                raise ImageError(
                    f"{self.name}: the stream is gone ({broken}); gave up after {failures} tries to reopen it"
                )
            logger.warning(
                "%s: stream lost: %s; opening it again in %.0f s",
                self.name,
                broken,
                RECONNECT[failures],
            )
            if self._stopped.wait(RECONNECT[failures]):
                return
            failures += 1
            self.reconnects += 1

    def _frames(self, container: av.container.InputContainer) -> Iterator[av.VideoFrame]:
        """All whole frames; a damaged packet costs its own frames only."""
        for packet in container.demux(container.streams.video[0]):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError as error:
                self._count_corrupt(str(error))
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self._count_corrupt("damaged picture")
                else:
                    yield frame

    def _count_corrupt(self, why: str) -> None:
        self.corrupt += 1
        log = logger.warning if self.corrupt == 1 else logger.debug
        log("%s: damaged frames are left out (%s)", self.name, why)

    def _open(self, fps: float) -> av.container.InputContainer:
        try:
            container = self._open_camera(fps) if self._camera else self._open_file()
        except (av.error.FFmpegError, ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ImageError(f"{self.name}: cannot open this {self._kind}: {reason}") from error
        if not container.streams.video:
            container.close()
            raise ImageError(f"{self.name}: holds no video")
        # Threads that each decode a frame of their own are faster, and late by as many frames.
        container.streams.video[0].thread_type = (
            "SLICE" if self._camera or self._network else "AUTO"
        )
        return container

    @property
    def _kind(self) -> str:
        return "camera" if self._camera else "stream" if self._network else "video"

    def _open_file(self) -> av.container.InputContainer:
        options = {"rtsp_transport": "tcp"} if self.name.startswith("rtsp") else {}
        return open_media(self.name, options=options, timeout=SILENCE if self._network else None)

    def _open_camera(self, fps: float) -> av.container.InputContainer:
        kind, pattern = CAMERA_FORMATS.get(platform.system(), ("v4l2", "/dev/video{}"))
        device = (
            pattern.format(self.name)
            if self.name.isdigit() or platform.system() == "Windows"
            else self.name
        )
        return av.open(device, format=kind, options={"framerate": f"{fps:g}"} if fps else {})


def open_media(name: str, **arguments: Any) -> av.container.InputContainer:
    """A file or stream to read, whatever the encoding of its tags."""
    # PyAV before 19 refuses a file for one tag that is not UTF-8 unless told not to; from 19 on it
    # takes any.
    if int(av.__version__.split(".")[0]) < 19:
        arguments["metadata_errors"] = "replace"
    container: av.container.InputContainer = av.open(name, "r", **arguments)
    return container


def upright(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """A decoded frame as RGB, turned as its rotation metadata says."""
    image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    turns = round(frame.rotation / 90) % 4  # counter-clockwise
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _image_sequence(source: str) -> list[Path]:
    """The images of a folder or pattern, in order of their names; none if the source is something else."""
    path = Path(source)
    is_pattern = not path.exists() and any(sign in source for sign in "*?[")
    if (
        not path.is_dir()
        and not is_pattern
        and path.suffix.lower() not in SUFFIXES - {".gif", ".webp", ".avif"}
    ):
        return []
    return [item.path for item in find_images([source])]


def _frames_by_duration(stream: av.VideoStream) -> int:
    if not stream.duration or not stream.time_base or not stream.average_rate:
        return 0
    return round(float(stream.duration * stream.time_base * stream.average_rate))
