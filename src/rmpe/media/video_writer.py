"""Frames to H.264 MP4 that every browser plays."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from rmpe.atomic import scratch_name, why_not_written
from rmpe.errors import OutputError
from rmpe.media.images import as_image
from rmpe.media.video import moving_pictures, open_media

# Ticks a second: divides all usual frame rates.
TIME_BASE = Fraction(1, 90000)
# Sound that MP4 holds as it is; any other is encoded anew.
COPIED_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus"})


class VideoWriter:
    """Writes one MP4: H.264, yuv420p, index in front, every frame at its own time.

    Use it in a ``with`` block. The file grows under another name and gets its own when it is
    closed, so what has the name is whole. After an error there is no file.
    """

    def __init__(
        self, path: Path, *, fps: float = 25.0, audio_from: Path | None = None, crf: int = 21
    ) -> None:
        """Prepare; the file is opened with the first frame.

        Args:
            path: The ``.mp4`` file; its folder is made if need be.
            fps: Rough frames a second, a hint to the encoder.
            audio_from: A media file whose first sound track, if it has one, goes along.
            crf: Constant rate factor, 0 (lossless) to 51.
        """
        self.path = path
        self.fps = fps or 25.0
        self.crf = crf
        self._partial = path.with_name(scratch_name(path.name))
        self._container: av.container.OutputContainer | None = None
        self._audio_from = audio_from
        self._sound: Iterator[tuple[float, Any]] = iter(())
        self._waiting: tuple[float, Any] | None = None
        self._size = (0, 0)
        self._last = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except OutputError:
            if error is None:  # else the first error is the one to tell, mostly with one cause
                raise

    def write(self, image: Any, seconds: float) -> None:
        """Add a frame.

        Args:
            image: RGB uint8 ``(H, W, 3)``, or anything else that `as_image` takes; an odd side is
                made even by repeating the last row or column. A frame of another size than the
                first is fitted into that, with black bars if its shape differs.
            seconds: When to show it; must grow.

        Raises:
            ImageError: If ``image`` is not an image.
            OutputError: If the file cannot be written; nothing more can be written then.
        """
        pixels = as_image(image)
        try:
            container = self._container or self._begin(pixels)
            frame = av.VideoFrame.from_ndarray(_fitted(pixels, self._size), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
            self._last = max(self._last + 1, round(seconds / TIME_BASE))
            frame.pts = self._last
            frame.time_base = TIME_BASE
            container.mux(container.streams.video[0].encode(frame))
            self._add_sound(seconds)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._give_up()
            raise OutputError(_why_not_written(self.path, error)) from error

    def close(self) -> None:
        """Finish the file; without any frame there is none. More than once is fine.

        Raises:
            OutputError: If the file cannot be written.
        """
        if self._container is None:
            return
        try:
            self._container.mux(self._container.streams.video[0].encode(None))
            self._add_sound(self._last * float(TIME_BASE) + 1 / self.fps)
            self._container.close()
            self._partial.replace(self.path)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._give_up()
            raise OutputError(_why_not_written(self.path, error)) from error
        self._container = None

    def _give_up(self) -> None:
        """Leave no half file behind.

        FFmpeg's muxer must not be asked to write once more: after a header that could not be
        written it crashes.
        """
        container = self._container
        self._container = None
        self._sound = iter(())
        self._waiting = None
        with suppress(av.error.FFmpegError, OSError):
            if container is not None:
                container.close()
        with suppress(OSError):
            self._partial.unlink(missing_ok=True)

    def _begin(self, image: NDArray[np.uint8]) -> av.container.OutputContainer:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        container = av.open(
            str(self._partial), "w", format="mp4", options={"movflags": "+faststart"}
        )
        stream = container.add_stream("libx264", rate=Fraction(self.fps).limit_denominator(1001))
        self._size = (image.shape[1] + image.shape[1] % 2, image.shape[0] + image.shape[0] % 2)
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = TIME_BASE
        stream.codec_context.color_primaries = stream.codec_context.color_trc = (
            stream.codec_context.colorspace
        ) = 1
        stream.codec_context.color_range = 1
        stream.options = {"preset": "veryfast", "crf": str(self.crf)}
        self._container = container
        if self._audio_from is not None:
            self._sound = _sound(self._audio_from, container)
            self._waiting = next(self._sound, None)
        return container

    def _add_sound(self, until: float) -> None:
        """The sound up to a time: side by side with the pictures, so that neither piles up."""
        while self._waiting is not None and self._waiting[0] <= until:
            if self._container is not None:
                self._container.mux(self._waiting[1])
            self._waiting = next(self._sound, None)


def _why_not_written(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return why_not_written(path, error)
    return f"{path}: cannot write the video: {error}"


def _fitted(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """An image as it goes into a video of ``size`` (width, height), which is even."""
    even = cv2.copyMakeBorder(
        image, 0, image.shape[0] % 2, 0, image.shape[1] % 2, cv2.BORDER_REPLICATE
    )
    if even.shape[1::-1] == size:
        return np.asarray(even, np.uint8)
    scale = min(size[0] / even.shape[1], size[1] / even.shape[0])
    width, height = (max(1, round(side * scale)) for side in even.shape[1::-1])
    left = (size[0] - width) // 2
    top = (size[1] - height) // 2
    small = cv2.resize(
        even, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    bars = (top, size[1] - height - top, left, size[0] - width - left)
    return np.asarray(cv2.copyMakeBorder(small, *bars, cv2.BORDER_CONSTANT), np.uint8)


def _sound(path: Path, into: av.container.OutputContainer) -> Iterator[tuple[float, Any]]:
    """Packets of the first sound track for ``into``, each with its time from the first picture on.

    Times are in seconds.
    """
    source = open_media(str(path))
    if not source.streams.audio:
        source.close()
        return iter(())
    track = source.streams.audio[0]
    picture = moving_pictures(source)
    begin = float((picture.start_time or 0) * (picture.time_base or 0))
    if track.codec_context.name.removesuffix("float") in COPIED_AUDIO:
        return _copied(source, into.add_stream_from_template(track), begin)
    return _encoded(
        source, into.add_stream("aac", rate=track.codec_context.sample_rate or 48000), begin
    )


def _copied(source: Any, stream: Any, begin: float) -> Iterator[tuple[float, Any]]:
    with source:
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is None:
                continue
            shift = round(begin / packet.time_base)
            packet.pts = (packet.dts if packet.pts is None else packet.pts) - shift
            packet.dts = packet.dts - shift
            if packet.dts >= 0:
                seconds = float(packet.dts * packet.time_base)
                packet.stream = stream
                yield seconds, packet


def _encoded(source: Any, stream: Any, begin: float) -> Iterator[tuple[float, Any]]:
    with source:
        for frame in source.decode(source.streams.audio[0]):
            seconds = (frame.time or 0.0) - begin
            if seconds >= 0:
                frame.pts = round(seconds / frame.time_base)
                yield seconds, stream.encode(frame)
        yield 0.0, stream.encode(None)
