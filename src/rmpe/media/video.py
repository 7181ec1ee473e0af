"""Videos to frames: files, folders of images, cameras and network streams.

A frame is RGB uint8 and upright, and knows its number and when it was taken. Nothing is held but
the frame at hand.
"""

import logging
import platform
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from rmpe.errors import ImageError
from rmpe.media.arrays import ChannelOrder, type_name
from rmpe.media.frame_numbers import FrameNumbers
from rmpe.media.images import SUFFIXES, as_images, read_image
from rmpe.media.sources import ImageItem, find_images, natural_order

logger = logging.getLogger(__name__)

# A network stream that breaks is opened again after these many seconds, and then given up.
RECONNECT = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
# Seconds without a byte after which a network stream counts as broken.
SILENCE = 10.0
# Frames a second of a folder of images, and of a video that does not say.
USUAL_RATE = 25.0
# Most pixels of a frame, four times 8K: a decoder reserves a dozen frames at once.
MAX_PIXELS = 2**27
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
# What PyAV raises for data that cannot be decoded or converted.
_DAMAGE = (av.error.FFmpegError, ValueError, MemoryError)
ATTACHED_PICTURE = 0x400  # FFmpeg's disposition flag of cover art
CAMERA_FORMATS = {
    "Linux": ("v4l2", "/dev/video{}"),
    "Darwin": ("avfoundation", "{}"),
    "Windows": ("dshow", "video={}"),
}


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One frame.

    Attributes:
        index: Its number in the video, from 0; a frame that cannot be decoded leaves a hole.
        seconds: When it is shown, from the first frame on; strictly growing.
        image: RGB uint8 ``(H, W, 3)``, upright.
        item: The image file that it is, where the video is a folder of them.
    """

    index: int
    seconds: float
    image: NDArray[np.uint8]
    item: ImageItem | None = None


class Video:
    """Frames of a video, one at a time. Iterate once; use it in a ``with`` block or `close` it.

    Attributes:
        name: What was opened.
        live: Whether frames come when they come and cannot be had again: a camera, a network stream
            without an end.
        fps: Mean frames a second as the container says; 0 if it does not.
        total: How many frames the container says there are; 0 if it does not.
        corrupt: Frames that were damaged and left out so far.
        missing: Numbers up to the newest frame that no frame has.
        reconnects: How often a lost network stream was opened again, in vain or not.
    """

    def __init__(
        self,
        source: str | Path | Iterable[Any],
        *,
        camera: bool = False,
        fps: float = 0.0,
        color: ChannelOrder = "rgb",
    ) -> None:
        """Open a source.

        Args:
            source: Video file, folder or pattern of images, URL, images in memory (anything that
                `rmpe.media.images.as_image` takes), or with ``camera`` the camera's number or name.
            camera: Whether ``source`` is a camera.
            fps: Frames a second of images, 25 if not given; the rate asked of a camera.
            color: Order of the colour channels of arrays.

        Raises:
            ImageError: If it cannot be opened, is no regular file, or holds no video.
            DataError: If a pattern matches nothing.
        """
        in_memory = not isinstance(source, str | Path)
        self.name = "images in memory" if in_memory else str(source)
        self._network = self.name.startswith(NETWORK) and not camera
        self.live = camera
        self.fps = fps
        self.total = 0
        self.corrupt = 0
        self.missing = 0
        self.reconnects = 0
        self._camera = camera
        self._stopped = threading.Event()
        self._pictures = None if isinstance(source, str | Path) else _pictures(source, color)
        is_file = not in_memory and not camera and not self._network
        self._images = _image_sequence(self.name) if is_file else []
        self._container: av.container.InputContainer | None = None
        self._numbers = FrameNumbers()
        if self._images or in_memory:
            self.fps = fps or USUAL_RATE
            self.total = len(source) if isinstance(source, list) else len(self._images)
        else:
            self._container = self._open(fps)
            self.live = camera or (self._network and not self._container.duration)
            stream = moving_pictures(self._container)
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
        """Do not wait any longer for a stream that is away.

        May be called from any thread and from a signal handler.
        """
        self._stopped.set()

    def __iter__(self) -> Iterator[VideoFrame]:
        last = -np.inf
        frames = (
            self._from_memory(self._pictures)
            if self._pictures is not None
            else self._from_images()
            if self._images
            else self._from_container()
        )
        first: tuple[int, int] | None = None
        told = False
        for count, frame in enumerate(frames, 1):
            self.missing = frame.index + 1 - count
            height, width = frame.image.shape[:2]
            first = first or (height, width)
            if (height, width) != first and not told:
                told = True
                logger.warning(
                    "%s: frame %d has %d x %d pixels, the first %d x %d; joints are in the pixels"
                    " of their own frame",
                    *(self.name, frame.index, width, height, first[1], first[0]),
                )
            # Streams repeat or turn back time stamps at damaged places; frames keep their order.
            seconds = frame.seconds
            last = seconds if seconds > last else last + 0.5 / (self.fps or USUAL_RATE)
            yield replace(frame, seconds=last)

    def _from_memory(self, pictures: Iterable[NDArray[np.uint8]]) -> Iterator[VideoFrame]:
        for number, image in enumerate(pictures):
            yield VideoFrame(number, number / self.fps, image)

    def _from_images(self) -> Iterator[VideoFrame]:
        for number, item in enumerate(self._images):
            try:
                image = read_image(item.path)
            except ImageError as error:
                self._count_corrupt(str(error))
                continue
            yield VideoFrame(number, number / self.fps, image, item)

    def _from_container(self) -> Iterator[VideoFrame]:
        start: float | None = None
        for number, frame, image in self._decode():
            rate = self.fps or USUAL_RATE
            taken = time.monotonic() if self.live else frame.time
            seconds = number / rate if taken is None else taken
            # The video begins with frame 0, be it damaged.
            start = seconds - number / rate if start is None else start
            yield VideoFrame(number, seconds - start, image)

    def _decode(self) -> Iterator[tuple[int, av.VideoFrame, NDArray[np.uint8]]]:
        """Every whole frame with its number and its pixels."""
        failures = 0
        while True:
            broken = ""
            try:
                self._container = self._container or self._open(self.fps)
                for numbered in self._frames(self._container):
                    failures = 0
                    yield numbered
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
                    f"{self.name}: the stream is gone ({broken}); gave up after {failures} tries to"
                    " reopen it"
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

    def _frames(
        self, container: av.container.InputContainer
    ) -> Iterator[tuple[int, av.VideoFrame, NDArray[np.uint8]]]:
        """All whole frames with their numbers; a damaged packet costs its own frames only."""
        for packet in self._packets(container):
            self._numbers.expect(packet)
            try:
                frames = packet.decode()
            except _DAMAGE as error:
                self._count_corrupt(str(error))
                self._numbers.lose()
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self._count_corrupt("damaged picture")
                    self._numbers.number(frame, whole=False)
                    continue
                number = self._numbers.number(frame)
                try:
                    image = upright(frame)
                except _DAMAGE as error:
                    self._count_corrupt(str(error))
                    continue
                yield number, frame, image

    def _packets(
        self, container: av.container.InputContainer
    ) -> Iterator["av.Packet[av.VideoStream]"]:
        while True:
            try:
                yield from container.demux(moving_pictures(container))
            except IndexError:  # a packet of a track that the file's header does not know
                self._count_corrupt("a packet of an unknown track")
            else:
                return

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
        try:
            stream = moving_pictures(container)
        except ImageError as error:
            container.close()
            raise ImageError(f"{self.name}: {error}") from error
        # Threads that each decode a frame of their own are faster, and late by as many frames.
        stream.thread_type = "SLICE" if self._camera or self._network else "AUTO"
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        self._numbers.restart()
        return container

    @property
    def _kind(self) -> str:
        return "camera" if self._camera else "stream" if self._network else "video"

    def _open_file(self) -> av.container.InputContainer:
        path = Path(self.name)
        if not self._network and path.exists() and not path.is_file():
            raise ImageError(f"{self.name}: not a regular file (a pipe or a device)")
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
    """A decoded frame as RGB, turned and mirrored as its display matrix says.

    Source: ISO/IEC 14496-12, track header box: a row vector (x, y, 1) times the matrix is where a
    pixel is shown. Differs: to the nearest of the eight turns and reflections; scale and shift do
    not change the picture.
    """
    image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    (xx, xy), (yx, yy) = _display_matrix(frame)
    if abs(xy) + abs(yx) > abs(xx) + abs(yy):
        image = image.transpose(1, 0, 2)
        mirrored = yx < 0
        upside_down = xy < 0
    else:
        mirrored = xx < 0
        upside_down = yy < 0
    return np.ascontiguousarray(image[:: -1 if upside_down else 1, :: -1 if mirrored else 1])


def _display_matrix(frame: av.VideoFrame) -> NDArray[np.int32]:
    """The part of the frame's display matrix that turns and mirrors, ``(2, 2)``."""
    side_data: Any = frame.side_data  # PyAV's types speak of fewer kinds than there are
    data = side_data.get("DISPLAYMATRIX")
    if data is None:
        return np.eye(2, dtype=np.int32)
    return np.frombuffer(bytes(data), np.int32, 9).reshape(3, 3)[:2, :2]


def moving_pictures(container: av.container.InputContainer) -> av.VideoStream:
    """The first video track that is not a cover picture.

    Raises:
        ImageError: If there is none.
    """
    for stream in container.streams.video:
        if stream.codec_context is None:
            raise ImageError("its video has a codec that is not known")
        if not int(stream.disposition) & ATTACHED_PICTURE:
            return stream
    raise ImageError(
        "holds no video, only a cover picture" if container.streams.video else "holds no video"
    )


def _pictures(source: Any, color: ChannelOrder) -> Iterator[NDArray[np.uint8]]:
    """Images in memory, one after another.

    Raises:
        ImageError: If they are none: bytes, one picture, or nothing that can be gone through.
    """
    wanted = "a video is a file, a folder, an address, or images one after another"
    what = f"this is {type_name(source)}"
    if isinstance(source, bytes | bytearray | memoryview) or hasattr(source, "read"):
        raise ImageError(f"{wanted}, {what}: write it to a file and name that")
    if getattr(source, "ndim", 4) < 4:
        shape = tuple(source.shape)
        raise ImageError(f"{wanted}, {what} {shape}: one picture; pass a list of frames")
    if not isinstance(source, Iterable):
        raise ImageError(f"{wanted}, {what}")
    return as_images(source, color)


def _image_sequence(source: str) -> list[ImageItem]:
    """The images of a folder or pattern, numbers in their names compared as numbers.

    Empty if the source is something else.
    """
    path = Path(source)
    is_pattern = not path.exists() and any(sign in source for sign in "*?[")
    if (
        not path.is_dir()
        and not is_pattern
        and path.suffix.lower() not in SUFFIXES - {".gif", ".webp", ".avif"}
    ):
        return []
    return sorted(find_images([source]), key=natural_order)


def _frames_by_duration(stream: av.VideoStream) -> int:
    if not stream.duration or not stream.time_base or not stream.average_rate:
        return 0
    return round(float(stream.duration * stream.time_base * stream.average_rate))
