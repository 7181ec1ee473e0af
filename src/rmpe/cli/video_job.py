"""The process of one video of ``rmpe serve``: ``rmpe track`` with limits, ended with its server.

    python -m rmpe.cli.video_job MAX_PIXELS MAX_FILE_BYTES MAX_MEMORY_BYTES TRACK_ARGUMENT...

The server keeps its end of standard input open; when the server is gone, however it went, this
process ends at once. The journal is made for that.
"""

import os
import sys
import threading
from contextlib import suppress

import av
import click

from rmpe.cli.track import track
from rmpe.errors import ImageError, RmpeError
from rmpe.media.video import open_media

NICENESS = 5  # photos come first


def main() -> None:
    """Set the limits, look at the first frame's size, and track."""
    max_pixels, max_file, max_memory, *arguments = sys.argv[1:]
    threading.Thread(target=_end_with_server, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    _limit("RLIMIT_FSIZE", int(max_file))
    _limit("RLIMIT_AS", int(max_memory))
    try:
        _check_pixels(arguments[0], int(max_pixels))
        track.main(arguments, "rmpe track", standalone_mode=True)
    except RmpeError as error:
        click.echo(f"rmpe: {error}", err=True)
        sys.exit(2)


def _end_with_server() -> None:
    # Not sys.stdin: its lock would be held when the interpreter ends before the server does.
    while os.read(0, 1024):
        pass
    os._exit(3)


def _limit(name: str, value: int) -> None:
    """Bound a resource where the system can, and ``value`` is not 0."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        if value:
            resource.setrlimit(getattr(resource, name), (value, value))


def _check_pixels(source: str, most: int) -> None:
    """Refuse frames that would be too large in memory.

    Raises:
        ImageError: If they are, or the file holds no video.
    """
    try:
        with open_media(source) as container:
            context = container.streams.video[0].codec_context
            width, height = context.width, context.height
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        raise ImageError(f"{source}: not a video that can be read") from error
    if width * height > most:
        raise ImageError(
            f"{source}: frames of {width} x {height} pixels; at most {most / 1e6:g} million are"
            " allowed"
        )


if __name__ == "__main__":
    main()
