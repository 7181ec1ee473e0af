"""The work on one video: ``rmpe track`` in a process of its own (`rmpe.cli.video_job`).

A video that breaks the decoder breaks nothing else, and the results are those of the command line.
"""

import json
import logging
import subprocess
import sys
import time
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rmpe.atomic import atomic
from rmpe.options import PipelineOptions
from rmpe.poses import Poses
from rmpe.serve.job import Job
from rmpe.serve.options import ServeOptions
from rmpe.skeletons import Skeleton
from rmpe.video import NONE
from rmpe.write import NEED_IDS

logger = logging.getLogger("rmpe.serve")

CHILD = "rmpe.cli.video_job"
TRACK_FORMATS = ("coco", "csv", "posetrack", "mot", "trc")
POLL = 0.2
# Seconds that a stopped job may take to close its files.
GRACE = 10.0
# Seconds over which the rate of a running job is measured.
RATE_WINDOW = 10.0
# Address space of a job on a CPU: a frame that would fill the memory ends its job, not the machine.
MEMORY = 6 << 30


def track(
    job: Job,
    options: ServeOptions,
    pipeline: PipelineOptions,
    room: int,
    halted: Callable[[float], bool],
) -> str | None:
    """Follow everybody through a video.

    Args:
        job: The video; how far it is is written there.
        options: The most frames, pixels and seconds.
        pipeline: The models.
        room: Bytes that its largest file may have.
        halted: Waits so many seconds, less if the work must stop; whether it must.

    Returns:
        Why it failed, in one line; empty if all frames are done; ``None`` if it was halted.
    """
    said = job.folder / "summary.json"
    with (job.folder / "messages").open("w+b") as messages, said.open("wb") as summary:
        child = subprocess.Popen(
            [sys.executable, "-m", CHILD, *_arguments(job, options, pipeline, room)],
            stdin=subprocess.PIPE,  # it ends when this process does
            stdout=summary,
            stderr=messages,
            cwd=job.folder,
        )
        try:
            stopped = _watch(job, child, options, halted)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
            if child.stdin is not None:
                child.stdin.close()
        messages.seek(0)
        lines = messages.read().decode("utf-8", "replace").strip().splitlines()
    if stopped is None or stopped:
        return stopped
    if child.returncode and not _is_whole(said):
        logger.warning("video job ended with exit code %d", child.returncode)
        return _reason(job, lines[-1] if lines else "", child.returncode)
    return ""


def write_results(job: Job, skeleton: Skeleton) -> int:
    """Write what ``rmpe track`` does not; the number of ids that were seen."""
    ids = set[int]()
    with atomic(job.out / "frames.json") as file:
        separator = b'{"frames":[\n'
        for frame in frames(job.out / "tracks.jsonl", skeleton):
            ids.update(person["track_id"] for person in frame["people"] if "track_id" in person)
            file.write(separator + json.dumps(frame).encode())
            separator = b",\n"
        file.write(b"\n]}\n")
    with zipfile.ZipFile(job.out / "trc.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((job.out / "trc").glob("*.trc")):
            archive.write(path, path.name)
    return len(ids)


def frames(tracks: Path, skeleton: Skeleton) -> Iterator[dict[str, Any]]:
    """The frames of ``tracks.jsonl``: index, seconds, size, people as in ``coco.json``."""
    with tracks.open("rb") as file:
        next(file)
        for line in file:
            record = json.loads(line)
            poses = Poses.from_dict(record["poses"], skeleton)
            height, width = record["size"]
            yield {
                "index": record["image_id"],
                "seconds": round(record["seconds"], 6),
                "width": width,
                "height": height,
                "people": poses.to_coco(record["image_id"]),
            }


def pipeline_arguments(pipeline: PipelineOptions) -> list[str]:
    """The flags that `rmpe.cli.pipeline_flags` reads back as the same options."""
    flags = {
        "--detector": pipeline.detector,
        "--pose": pipeline.pose,
        "--stn": pipeline.stn,
        "--card": pipeline.card,
        "--nms": pipeline.nms,
        "--associate": pipeline.associate,
        "--min-score": pipeline.min_score,
        "--max-people": pipeline.limit,
        "--batch": pipeline.batch,
        "--threads": pipeline.threads,
        "--device": pipeline.device,
    }
    given = []
    for flag, value in flags.items():
        if value is not None:
            # The job runs in a folder of its own.
            path = Path(str(value))
            given += [flag, str(path.resolve() if path.is_file() else value)]
    return [*given, *(["--flip-test"] if pipeline.flip_test else [])]


def _arguments(job: Job, options: ServeOptions, pipeline: PipelineOptions, room: int) -> list[str]:
    """What `rmpe.cli.video_job` is called with."""
    memory = 0 if pipeline.device == "cuda" else MEMORY
    limits = [str(options.max_pixels), str(room), str(memory)]
    wish = job.wish
    flags = [
        str(job.source),
        *("--out", str(job.out)),
        *("--tracker", wish.tracker),
        *("--detect-every", str(wish.detect_every or "auto")),
        *("--smooth", "one-euro" if wish.smooth else "none"),
        "--draw" if wish.draw else "--no-draw",
        *("--resume", "--quiet", "--json"),
    ]
    for name in TRACK_FORMATS:
        if wish.tracker != NONE or name not in NEED_IDS:
            flags += ["--format", name]
    return [*limits, *flags, *pipeline_arguments(pipeline)]


def _watch(
    job: Job,
    child: "subprocess.Popen[bytes]",
    options: ServeOptions,
    halted: Callable[[float], bool],
) -> str | None:
    """Wait for the end of a job; why it was stopped before it, ``None`` if it was halted."""
    progress = _Progress(job.out / "journal.jsonl")
    began = time.monotonic()
    seen: deque[tuple[float, int]] = deque()
    while child.poll() is None:
        if halted(POLL):
            _stop(child)
            return None
        now = time.monotonic()
        job.frames = progress.read()
        job.total = progress.total
        if job.frames:  # loading the models is not slowness
            seen.append((now, job.frames))
            while now - seen[0][0] > RATE_WINDOW and len(seen) > 2:
                seen.popleft()
            job.rate = (job.frames - seen[0][1]) / max(now - seen[0][0], POLL)
        if max(job.frames, job.total) > options.max_frames:
            return f"more than {options.max_frames} frames"
        if now - began > options.video_seconds:
            return f"not done within {options.video_seconds:g} s"
    job.frames = progress.read()
    return ""


class _Progress:
    """How many frames a journal holds, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0
        self._lines = 0
        self.total = 0

    def read(self) -> int:
        """Frames so far; what the file declares goes to ``total``."""
        try:
            with self._path.open("rb") as file:
                if not self._lines:
                    header = file.readline()
                    if not header.endswith(b"\n"):
                        return 0
                    self.total = int(json.loads(header)["settings"].get("frames", 0))
                    self._lines = 1
                    self._place = file.tell()
                file.seek(self._place)
                while piece := file.read(1 << 20):
                    self._lines += piece.count(b"\n")
                self._place = file.tell()
        except FileNotFoundError:
            return 0
        return self._lines - 1


def _is_whole(summary: Path) -> bool:
    """Whether all frames are done, though perhaps not every format can hold them."""
    try:
        return json.loads(summary.read_text("utf-8"))["stopped"] is False
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _reason(job: Job, line: str, code: int) -> str:
    """The last message of a job, without paths of this machine."""
    if code < 0 or not line.startswith("rmpe: "):
        return "the video could not be worked on: too large for the memory, or the decoder failed"
    return (
        line.removeprefix("rmpe: ")
        .replace(str(job.source), "video")
        .replace(str(job.folder), "job")
    )


def _stop(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
