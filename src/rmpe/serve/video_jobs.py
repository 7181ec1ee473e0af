"""Videos: uploaded, worked on one after the other, kept for a while.

The work is ``rmpe track`` in a process of its own (`rmpe.cli.video_job`), so a video that breaks
the decoder breaks nothing else, and its results are those of the command line. All state is in the
folder of a job: ``job.json`` what is wanted, ``out/`` what ``rmpe track`` writes, its journal
included, and ``end.json`` how it ended. A server that starts on a folder goes on with what has no
end yet.
"""

import json
import logging
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rmpe.errors import OutputError, UsageError
from rmpe.options import PipelineOptions
from rmpe.poses import Poses
from rmpe.serve.options import ServeOptions
from rmpe.skeletons import Skeleton
from rmpe.write.atomic import atomic

logger = logging.getLogger("rmpe.serve")

State: TypeAlias = Literal["queued", "running", "done", "failed"]
ID = re.compile(r"[\w-]{22}")
CHILD = "rmpe.cli.video_job"
# Result format -> file in ``out/`` and media type.
RESULTS = {
    "json": ("frames.json", "application/json"),
    "coco": ("coco.json", "application/json"),
    "csv": ("poses.csv", "text/csv; charset=utf-8"),
    "posetrack": ("posetrack.json", "application/json"),
    "mot": ("mot.txt", "text/plain; charset=utf-8"),
    "trc": ("trc.zip", "application/zip"),
    "mp4": ("drawn.mp4", "video/mp4"),
}
TRACK_FORMATS = ("coco", "csv", "posetrack", "mot", "trc")
POLL = 0.2
# Seconds that a stopped job may take to close its files.
GRACE = 10.0
# Seconds over which the rate of a running job is measured.
RATE_WINDOW = 10.0
# Address space of a job on a CPU: a frame that would fill the memory ends its job, not the machine.
MEMORY = 6 << 30


@dataclass(frozen=True)
class Wish:
    """What a job is to do.

    Attributes:
        tracker: ``poseflow``, ``oks`` or ``none``.
        detect_every: Run the detector on every so many frames; 0 = when the poses say so.
        smooth: Whether to take the jitter out of the joints.
        draw: Whether to write the drawn video.
    """

    tracker: str = "poseflow"
    detect_every: int = 1
    smooth: bool = False
    draw: bool = True


@dataclass
class Job:
    """One video.

    Attributes:
        id: Its name, which cannot be guessed.
        folder: Where its files are.
        wish: What to do.
        created: When it was uploaded, in seconds since 1970.
        state: How far it is.
        error: Why it failed, in one line.
        finished: When it ended, in seconds since 1970.
        frames: Frames that are done.
        total: Frames that the file declares; 0 = unknown.
        rate: Frames a second.
        people: Ids that were seen, once it is done.
    """

    id: str
    folder: Path
    wish: Wish
    created: float
    state: State = "queued"
    error: str = ""
    finished: float = 0.0
    frames: int = 0
    total: int = 0
    rate: float = 0.0
    people: int = 0
    deleted: bool = field(default=False)

    @property
    def source(self) -> Path:
        """The uploaded file."""
        return self.folder / "source.video"

    @property
    def out(self) -> Path:
        """Where its results are."""
        return self.folder / "out"


class VideoJobs:
    """All videos of a server, and the thread that works on them. Safe from several threads."""

    def __init__(
        self, options: ServeOptions, pipeline: PipelineOptions, skeleton: Skeleton
    ) -> None:
        """Take up what an earlier server left, and begin.

        Raises:
            OutputError: If the folder cannot be used.
            UsageError: If another server uses it.
        """
        self._options = options
        self._pipeline = pipeline
        self._skeleton = skeleton
        self._folder = options.jobs.resolve()
        self._changed = threading.Condition()
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._stopped = False
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self._folder / "lock")
        except OSError as error:
            raise OutputError(
                f"{self._folder}: cannot be used for videos: {error.strerror or error}"
            ) from error
        self._take_up()
        self._thread = threading.Thread(target=self._work, name="rmpe-videos", daemon=True)
        self._thread.start()

    def begin_upload(self, size: int) -> Job:
        """A place for a new video; hand it to `submit` when it is complete, or to `delete`.

        Args:
            size: Its bytes as far as they are known.

        Raises:
            BlockingIOError: If as many videos wait as may.
            OSError: If the folder would hold more than it may.
        """
        with self._changed:
            if len(self._waiting) >= self._options.video_queue:
                raise BlockingIOError("as many videos wait as may")
        if self.used() + size > self._options.jobs_bytes:
            raise OSError("no room for another video")
        name = secrets.token_urlsafe(16)
        job = Job(name, self._folder / name, Wish(), time.time())
        job.folder.mkdir(mode=0o700)
        return job

    def submit(self, job: Job, wish: Wish) -> None:
        """Queue a video whose file is complete."""
        job.wish = wish
        with atomic(job.folder / "job.json") as file:
            file.write(json.dumps({"created": job.created, "wish": asdict(wish)}).encode())
        with self._changed:
            self._jobs[job.id] = job
            self._waiting.append(job)
            self._changed.notify_all()

    def get(self, name: str) -> Job | None:
        """A job by its id."""
        with self._changed:
            return self._jobs.get(name)

    def ahead(self, job: Job) -> int:
        """How many videos come before it."""
        with self._changed:
            if job not in self._waiting:
                return 0
            running = any(other.state == "running" for other in self._jobs.values())
            return self._waiting.index(job) + running

    def delete(self, job: Job) -> None:
        """Stop a job if it runs, and remove all its files."""
        with self._changed:
            self._jobs.pop(job.id, None)
            job.deleted = True
            if job in self._waiting:
                self._waiting.remove(job)
            running = job.state == "running"
            self._changed.notify_all()
        if not running:  # else its thread does it, when its process has gone
            shutil.rmtree(job.folder, ignore_errors=True)

    def states(self) -> Counter[str]:
        """How many jobs are in each state."""
        with self._changed:
            return Counter(job.state for job in self._jobs.values())

    def used(self) -> int:
        """Bytes in the folder."""
        total = 0
        for parent, _, files in os.walk(self._folder):
            for name in files:
                with suppress(OSError):
                    total += (Path(parent) / name).stat().st_size
        return total

    @property
    def has_room(self) -> bool:
        """Whether a video of the largest size would find a place on the disk."""
        with suppress(OSError):
            return shutil.disk_usage(self._folder).free > self._options.max_video
        return False

    def close(self) -> None:
        """Stop what runs, so that the next server goes on with it, and let the folder go."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(2 * GRACE)
        self._lock.close()

    def _take_up(self) -> None:
        for folder in sorted(self._folder.iterdir()):
            if not folder.is_dir() or not ID.fullmatch(folder.name):
                continue
            try:
                wanted = json.loads((folder / "job.json").read_text("utf-8"))
                job = Job(folder.name, folder, Wish(**wanted["wish"]), float(wanted["created"]))
                if (folder / "end.json").exists():
                    end = json.loads((folder / "end.json").read_text("utf-8"))
                    for name, value in end.items():
                        setattr(job, name, value)
                else:
                    self._waiting.append(job)
                self._jobs[job.id] = job
            except (OSError, ValueError, KeyError, TypeError):  # an upload that was cut off
                shutil.rmtree(folder, ignore_errors=True)
        self._waiting = deque(sorted(self._waiting, key=lambda job: job.created))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._waiting, timeout=5.0)
                if self._stopped:
                    return
                job = self._waiting.popleft() if self._waiting else None
                if job is not None:
                    job.state = "running"
            self._expire()
            if job is None:
                continue
            try:
                self._run(job)
            except Exception:  # the next video must not suffer, and the log says what was wrong
                logger.exception("a video failed")
                self._end(job, "failed", "internal error; see the server's log")
            if job.deleted:
                shutil.rmtree(job.folder, ignore_errors=True)

    def _expire(self) -> None:
        now = time.time()
        with self._changed:
            old = [
                job
                for job in self._jobs.values()
                if job.finished and now - job.finished > self._options.keep
            ]
        for job in old:
            self.delete(job)

    def _run(self, job: Job) -> None:
        said = job.folder / "summary.json"
        with (job.folder / "messages").open("w+b") as messages, said.open("wb") as summary:
            child = subprocess.Popen(
                [sys.executable, "-m", CHILD, *self._arguments(job)],
                stdin=subprocess.PIPE,  # it ends when this process does
                stdout=summary,
                stderr=messages,
                cwd=job.folder,
            )
            try:
                stopped = self._watch(job, child)
            finally:
                if child.poll() is None:
                    child.kill()
                    child.wait()
                if child.stdin is not None:
                    child.stdin.close()
            messages.seek(0)
            lines = messages.read().decode("utf-8", "replace").strip().splitlines()
        if job.deleted or stopped == "stopped":
            return
        if stopped:
            self._end(job, "failed", stopped)
        elif child.returncode and not _is_whole(said):
            logger.warning("video job ended with exit code %d", child.returncode)
            self._end(job, "failed", _reason(job, lines[-1] if lines else "", child.returncode))
        else:
            self._finish(job)

    def _arguments(self, job: Job) -> list[str]:
        """What `rmpe.cli.video_job` is called with."""
        free = max(1, self._options.jobs_bytes - self.used())
        memory = 0 if self._pipeline.device == "cuda" else MEMORY
        limits = [str(self._options.max_pixels), str(free), str(memory)]
        wish = job.wish
        track = [
            str(job.source),
            *("--out", str(job.out)),
            *("--tracker", wish.tracker),
            *("--detect-every", str(wish.detect_every or "auto")),
            *("--smooth", "one-euro" if wish.smooth else "none"),
            "--draw" if wish.draw else "--no-draw",
            *("--resume", "--quiet", "--json"),
        ]
        for name in TRACK_FORMATS:
            track += ["--format", name]
        return [*limits, *track, *pipeline_arguments(self._pipeline)]

    def _watch(self, job: Job, child: "subprocess.Popen[bytes]") -> str:
        """Wait for the end of a job; why it was stopped before it, if it was."""
        progress = _Progress(job.out / "journal.jsonl")
        began = time.monotonic()
        seen: deque[tuple[float, int]] = deque()
        while child.poll() is None:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or job.deleted, timeout=POLL)
            if self._stopped or job.deleted:
                _stop(child)
                return "stopped"
            now = time.monotonic()
            job.frames = progress.read()
            job.total = progress.total
            if job.frames:  # loading the models is not slowness
                seen.append((now, job.frames))
                while now - seen[0][0] > RATE_WINDOW and len(seen) > 2:
                    seen.popleft()
                job.rate = (job.frames - seen[0][1]) / max(now - seen[0][0], POLL)
            most = self._options.max_frames
            if max(job.frames, job.total) > most:
                return f"more than {most} frames"
            if now - began > self._options.video_seconds:
                return f"not done within {self._options.video_seconds:g} s"
        job.frames = progress.read()
        return ""

    def _finish(self, job: Job) -> None:
        """Write what ``rmpe track`` does not."""
        ids = set[int]()
        with atomic(job.out / "frames.json") as file:
            separator = b'{"frames":[\n'
            for frame in frames(job.out / "tracks.jsonl", self._skeleton):
                ids.update(person["track_id"] for person in frame["people"] if "track_id" in person)
                file.write(separator + json.dumps(frame).encode())
                separator = b",\n"
            file.write(b"\n]}\n")
        with zipfile.ZipFile(job.out / "trc.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted((job.out / "trc").glob("*.trc")):
                archive.write(path, path.name)
        job.people = len(ids)
        self._end(job, "done")

    def _end(self, job: Job, state: State, error: str = "") -> None:
        job.error = error
        job.finished = time.time()
        with suppress(OutputError), atomic(job.folder / "end.json") as file:
            names = ("error", "finished", "frames", "total", "people")
            end = {"state": state} | {name: getattr(job, name) for name in names}
            file.write(json.dumps(end).encode())
        job.state = state


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


def _lock(path: Path) -> Any:
    """An open file that only one process holds."""
    file = path.open("w")
    try:
        import fcntl
    except ImportError:  # Windows: two servers on one folder are the user's own doing
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise UsageError(
            f"{path.parent}: another rmpe serve works in this folder; name one with --jobs"
        ) from error
    return file
