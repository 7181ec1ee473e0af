"""Engines: who does the shards. Each gives the outcomes as they come, in any order."""

import logging
import os
import queue
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from rmpe.errors import UsageError, WorkerError
from rmpe.extras import load_extra
from rmpe.farm.keeper import WORKER, Keeper
from rmpe.farm.work import Outcome

# Bytes of one worker with models as they ship: `rmpe predict` peaks at 266 MB.
WORKER_MEMORY = 300_000_000


def default_workers() -> int:
    """One a core, but no more than the memory holds."""
    cores = os.cpu_count() or 1
    memory = machine_memory()
    return max(1, min(cores, memory // WORKER_MEMORY)) if memory else cores


def check_workers(workers: int) -> None:
    """That the memory of this machine holds so many workers.

    Raises:
        UsageError: If it does not.
    """
    memory = machine_memory()
    if memory and workers > 1 and workers * WORKER_MEMORY > memory:
        raise UsageError(
            f"--workers {workers}: each needs about {WORKER_MEMORY / 1e6:.0f} MB, this machine has"
            f" {memory / 1e9:.1f} GB: take at most {max(1, memory // WORKER_MEMORY)}"
        )


def machine_memory() -> int:
    """Bytes of memory of this machine; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def on_processes(
    address: str, shards: Iterable[int], workers: int, worker: str = WORKER
) -> Generator[Outcome]:
    """Do shards in processes of this machine.

    Args:
        address: Where the run is.
        shards: Their numbers.
        workers: How many processes.
        worker: Module and class of the worker.

    Raises:
        WorkerError: If no worker can be started, or this machine cannot do the run.
    """
    todo = iter(shards)
    lock = threading.Lock()
    answers: queue.SimpleQueue[Outcome | Future[None]] = queue.SimpleQueue()

    def take() -> int | None:
        with lock:
            return next(todo, None)

    def serve(keeper: Keeper) -> None:
        while (shard := take()) is not None:
            answers.put(keeper(shard))

    # The keepers are closed first, which ends the threads.
    with ThreadPoolExecutor(workers, "rmpe-farm") as pool, ExitStack() as keepers:
        for _ in range(workers):
            keeper = keepers.enter_context(Keeper(address, worker))
            pool.submit(serve, keeper).add_done_callback(answers.put)
        serving = workers
        while serving:
            answer = answers.get()
            if isinstance(answer, Outcome):
                yield answer
            else:
                answer.result()
                serving -= 1


def on_ray(
    address: str,
    shards: Sequence[int],
    workers: int | None,
    cluster: str | None = None,
    gpus: float = 0.0,
    worker: str = WORKER,
) -> Iterator[Outcome]:
    """Do shards on a Ray cluster.

    A row of Ray Data is the number of a shard: the nodes read photos and write results themselves,
    and the object store holds next to nothing.

    Args:
        address: Where the run is; every node must reach it.
        shards: Their numbers.
        workers: At most so many at a time; ``None`` = one a core of the cluster.
        cluster: Address of the cluster, ``auto`` for the one that runs here; ``None`` = start one
            of this machine's cores.
        gpus: Share of a GPU for each worker.
        worker: Module and class of the worker.

    Raises:
        MissingPackageError: If Ray is not installed.
        UsageError: If there is no such cluster.
        WorkerError: If a node cannot do the run.
    """
    ray = load_extra("ray", "ray")
    data = load_extra("ray.data", "ray")
    if not shards:
        return
    if not ray.is_initialized():
        try:
            ray.init(
                address=cluster or "local",
                logging_level="ERROR",
                log_to_driver=False,
                **({} if cluster else {"num_cpus": workers or default_workers()}),
            )
        except Exception as error:  # Ray raises plain ones, too
            reason = str(error).splitlines()[0]
            raise UsageError(f"--address {cluster or 'local'}: no Ray cluster: {reason}") from error
    most = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray", "ray.data"):  # we show progress ourselves
        logging.getLogger(name).setLevel(logging.ERROR)
    rows = [{"shard": shard, "address": address, "worker": worker} for shard in shards]
    outcomes = data.from_items(rows, override_num_blocks=len(rows)).map(
        RayWorker,
        num_cpus=1,
        num_gpus=gpus or None,
        compute=data.ActorPoolStrategy(min_size=1, max_size=min(most, len(rows))),
    )
    try:
        for row in outcomes.iter_rows():
            yield Outcome(**row)
    except (ray.exceptions.RayError, RuntimeError) as error:
        raise WorkerError(_cause(error)) from error


class RayWorker:
    """A worker as Ray Data calls it; it has no arguments, so that Ray can start it anew."""

    def __init__(self) -> None:
        self._keeper: Keeper | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do the shard of a row."""
        self._keeper = self._keeper or Keeper(row["address"], row["worker"])
        return asdict(self._keeper(row["shard"]))


def _cause(error: BaseException) -> str:
    """The last line of what Ray says, which is our error."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].partition("Error: ")[2] or lines[-1] if lines else type(error).__name__
