"""A worker in a process of its own, and what to do when that dies.

All failures of a worker are met here, so that every engine meets them in the same way.
"""

import os
import pickle
import subprocess
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from rmpe.errors import StorageError, WorkerError
from rmpe.farm.child import Answer, Task
from rmpe.farm.manifest import Item
from rmpe.farm.parts import Row, give_up
from rmpe.farm.storage import open_storage
from rmpe.farm.work import Outcome

WORKER = "rmpe.farm.work:Worker"
# How often a shard is tried before its photos are done one by one.
TRIES = 3


class WorkerDiedError(Exception):
    """The process of a worker ended in the middle of a task."""


class Keeper:
    """Does shards in a child process; start one for every worker."""

    def __init__(self, address: str, worker: str = WORKER) -> None:
        """Remember what to start; the process starts with the first shard.

        Args:
            address: Where the run is.
            worker: Module and class of the worker.
        """
        self._address = address
        self._worker = worker
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __call__(self, shard: int) -> Outcome:
        """Do a shard, whatever happens to the process.

        A shard that kills it `TRIES` times is done photo by photo, and a photo that kills it then
        gets a row that says so.

        Returns:
            What came of it; with an error if the storage does not answer.

        Raises:
            WorkerError: If no worker can be started, or this machine cannot do the run.
        """
        try:
            for _ in range(TRIES):
                try:
                    result: Outcome = self._ask("shard", shard)
                    return result
                except WorkerDiedError as error:
                    died = error
            try:
                return self._one_by_one(shard, str(died))
            except WorkerDiedError:
                return self._given_up(shard, f"shard {shard}: {died}, and no photo of it alone")
        except StorageError as error:
            return self._given_up(shard, str(error))

    def close(self) -> None:
        """End the process; a shard at hand is left as if it had never begun."""
        with self._lock:
            self._closed = True
            if self._child is not None:
                self._child.kill()
                self._child.wait()

    def _one_by_one(self, shard: int, died: str) -> Outcome:
        """The photos of a shard without each other; one alone, or a video, has been tried."""

        def culprit(item: Item, died: str) -> Row:
            reason = f"{item.path}: {died}"
            return Row(item.image_id, item.file, item.name, item.path, error=reason)

        rows = []
        items: list[Item] = self._ask("items", shard)
        for place, item in enumerate(items):
            try:
                row = culprit(item, died) if len(items) == 1 else self._ask("alone", shard, place)
            except WorkerDiedError as error:
                row = culprit(item, str(error))
            rows.append(row)
        result: Outcome = self._ask("commit", shard, rows)
        return result

    def _given_up(self, shard: int, reason: str) -> Outcome:
        with suppress(StorageError):  # then the next run finds that the shard is not done
            give_up(open_storage(self._address), shard, reason)
        return Outcome(shard, error=reason)

    def _ask(self, method: str, *arguments: Any) -> Any:
        """Let the worker do a task.

        Raises:
            WorkerDiedError: If it died of it.
            StorageError: If the storage does not answer.
            WorkerError: If it cannot be started, or cannot do the run.
        """
        child = self._started()
        try:
            pickle.dump(Task(method, arguments), child.stdin)  # type: ignore[arg-type] # a pipe
            child.stdin.flush()  # type: ignore[union-attr]
            answer = self._answer(child)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise WorkerDiedError(self._buried(child)) from error
        return answer.value

    def _started(self) -> "subprocess.Popen[bytes]":
        """The process, started anew if it is not there."""
        why = ""
        for _ in range(TRIES):
            with self._lock:
                if self._closed:
                    raise WorkerError("the run was stopped")
                if self._child is not None:
                    return self._child
                child = self._child = subprocess.Popen(
                    [sys.executable, "-m", "rmpe.farm", self._address, self._worker],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                    start_new_session=True,  # Ctrl-C is for the run, which ends its workers
                )
            try:
                self._answer(child)
            except (OSError, EOFError, pickle.UnpicklingError):
                why = self._buried(child)
        raise WorkerError(f"no worker can be started: {why} {TRIES} times")

    def _answer(self, child: "subprocess.Popen[bytes]") -> Answer:
        answer: Answer = pickle.load(child.stdout)  # type: ignore[arg-type] # a pipe
        if answer.storage:
            raise StorageError(answer.error)
        if answer.error:
            raise WorkerError(answer.error)
        return answer

    def _buried(self, child: "subprocess.Popen[bytes]") -> str:
        """How a process ended; another one may be started."""
        with self._lock:
            child.kill()
            code = child.wait()
            for pipe in (child.stdin, child.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
            self._child = None
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"killed the worker ({how})"
