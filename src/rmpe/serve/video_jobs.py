"""Videos: uploaded, worked on one after the other, kept for a while.

All state is in the folder of a job: ``job.json`` what is wanted, ``out/`` what ``rmpe track``
writes, its journal included, and ``end.json`` how it ended. A server that starts on a folder goes
on with what has no end yet.
"""

import json
import logging
import os
import re
import secrets
import shutil
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rmpe.atomic import atomic
from rmpe.errors import OutputError, UsageError
from rmpe.options import PipelineOptions
from rmpe.serve.job import Job, State, Wish
from rmpe.serve.options import ServeOptions
from rmpe.serve.video_run import GRACE, track, write_results
from rmpe.skeletons import Skeleton

logger = logging.getLogger("rmpe.serve")

ID = re.compile(r"[\w-]{22}")


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
        room = max(1, self._options.jobs_bytes - self.used())
        error = track(job, self._options, self._pipeline, room, partial(self._halted, job))
        if job.deleted or error is None:
            return
        if error:
            self._end(job, "failed", error)
            return
        job.people = write_results(job, self._skeleton)
        self._end(job, "done")

    def _halted(self, job: Job, seconds: float) -> bool:
        """Whether a job must stop; says so after so many seconds at the latest."""
        with self._changed:
            return self._changed.wait_for(lambda: self._stopped or job.deleted, timeout=seconds)

    def _end(self, job: Job, state: State, error: str = "") -> None:
        job.error = error
        job.finished = time.time()
        with suppress(OutputError), atomic(job.folder / "end.json") as file:
            names = ("error", "finished", "frames", "total", "people")
            end = {"state": state} | {name: getattr(job, name) for name in names}
            file.write(json.dumps(end).encode())
        job.state = state


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
