"""What a run writes and where: formats, folder, who may write there, what an older run left."""

import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import filelock

from rmpe.errors import OutputError
from rmpe.write import PLACES

# Where results go when no folder is named.
DEFAULT_ROOT = Path("rmpe-out")
LOCK = ".lock"
SAMPLE = 1 << 20  # bytes
JOURNALS = ("journal.jsonl", "tracks.jsonl")
# Files that are not pictures of single images.
RESULTS = (
    *(place for place in PLACES.values() if "." in place),
    "images.json",
    "drawn.mp4",
    "contact.jpg",
)


def formats_flag(formats: Iterable[str]) -> Callable[..., Any]:
    """The flag ``--format``, for a command that writes these."""
    return click.option(
        "--format",
        "formats",
        multiple=True,
        type=click.Choice(list(formats)),
        default=["coco"],
        show_default=True,
        help="Result format; repeat for several.",
    )


def default_out(source: str, *, resume: bool) -> Path:
    """A folder for the results of ``source`` when none is named: ``rmpe-out/NAME``.

    A new run never writes into an older one's folder: it takes ``NAME-2``, ``NAME-3`` and so on.

    Args:
        source: The first source; its last part without suffix is the name.
        resume: Take the newest folder that is there.
    """
    name = Path(source.rstrip("/")).stem or "results"
    name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)[:80]
    number = 1
    folder = DEFAULT_ROOT / name
    while folder.exists():
        number += 1
        newest, folder = folder, DEFAULT_ROOT / f"{name}-{number}"
        if resume and not folder.exists():
            return newest
    return folder


@contextmanager
def only_run_in(out: Path) -> Iterator[None]:
    """Keep a second run out of a folder; the lock goes with the process, however it ends.

    Folders that are made for a run which writes nothing are removed again.

    Raises:
        OutputError: If the folder cannot be written, or another run is writing there.
    """
    path = out / LOCK
    try:
        made = [folder for folder in (out, *out.parents) if not folder.exists()]
        out.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path, timeout=0)
        lock.acquire()
    except filelock.Timeout as error:
        with suppress(OSError):
            owner = path.read_text("utf-8").strip()
            raise OutputError(
                f"{out}: another run ({owner}) is writing there: wait for it, or name another --out"
            ) from error
        raise OutputError(f"{out}: another run is writing there: name another --out") from error
    except OSError as error:
        raise OutputError(f"{out}: cannot write there: {error.strerror or error}") from error
    try:
        with suppress(OSError):  # a full disk is reported by the first result
            path.write_text(f"process {os.getpid()}\n", "utf-8")
        yield
    finally:
        lock.release()
        with suppress(OSError):
            path.unlink()
            for folder in made:
                folder.rmdir()  # fails where something was written


def remove_stale(out: Path) -> None:
    """Remove the results of an older run: pictures named in its journals, and the final files.

    What rmpe did not write is left alone.
    """
    for journal in JOURNALS:
        for name in _names(out / journal):
            for stale in (
                out / "drawn" / f"{name}.jpg",
                out / "openpose" / f"{name}_keypoints.json",
            ):
                with suppress(OSError):
                    stale.unlink()
    for stale in (out / "trc").glob("person_*.trc"):
        if stale.stem.removeprefix("person_").isdecimal():
            with suppress(OSError):
                stale.unlink()
    for name in RESULTS:
        with suppress(OSError):
            (out / name).unlink()


def _names(journal: Path) -> Iterator[str]:
    """What an older journal calls its images; damaged lines are passed over."""
    try:
        lines = journal.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        with suppress(ValueError, TypeError, KeyError):
            name = json.loads(line)["name"]
            if isinstance(name, str) and ".." not in Path(name).parts:
                yield name


def contents_of(video: Path) -> str:
    """What a video file is known by: its size and a hash of its start, middle and end.

    Empty for what is no file: a folder, a camera, a stream.
    """
    if not video.is_file():
        return ""
    size = video.stat().st_size
    digest = hashlib.sha256()
    with video.open("rb") as file:
        for place in (0, size // 2, max(0, size - SAMPLE)):
            file.seek(place)
            digest.update(file.read(SAMPLE))
    return f"{size} bytes, {digest.hexdigest()[:32]}"


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end a run as Ctrl-C does, so that half-written files are removed."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
