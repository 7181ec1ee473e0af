"""Admission: which work begins when, and which is refused at once.

A bounded queue before a fixed number of workers. Nothing waits longer than its deadline, and what
nobody waits for any more is never begun. There is no web in it: the caller turns a `Refused` into
an answer. Everything but the work itself runs on the event loop, so there are no locks.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")

# Weight of the newest service time in the running mean.
NEWEST = 0.1


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """Work that is not begun; ``reason`` is ``full``, ``client`` or ``late``.

    Attributes:
        reason: A word for the metrics.
        retry_after: Whole seconds after which to try again.
    """

    def __init__(self, reason: str, text: str, retry_after: int) -> None:
        super().__init__(text)
        self.reason = reason
        self.retry_after = retry_after


@dataclass(eq=False)
class _Ticket(Generic[In]):
    item: In
    client: str
    arrived: float
    future: asyncio.Future[Any]
    expiry: asyncio.TimerHandle | None = field(default=None)


class Admission(Generic[In, Out]):
    """The queue and its workers. Make it and call it on a running event loop."""

    def __init__(
        self,
        work: Callable[[list[In]], Sequence[Out | Exception]],
        *,
        workers: int,
        places: int,
        per_client: int,
        timeout: float,
        batch: int = 1,
        batch_wait: float = 0.0,
        on_begin: Callable[[int, list[float]], None] | None = None,
    ) -> None:
        """Start the workers.

        Args:
            work: Called in a worker's thread with at least one and at most ``batch`` items; gives
                one result or exception an item.
            workers: How many calls of ``work`` run side by side.
            places: How many items may wait.
            per_client: How many items of one client may wait or run.
            timeout: Seconds from arrival until which the work must have begun.
            batch: Most items in one call.
            batch_wait: Seconds that an item waits for others to share its call.
            on_begin: Told the number of items of every call and the seconds each has waited.
        """
        self._work = work
        self._places = places
        self._per_client = per_client
        self._timeout = timeout
        self._batch = batch
        self._batch_wait = batch_wait
        self._on_begin = on_begin
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(workers, "rmpe-serve")
        self._workers = workers
        self._idle = workers
        self._waiting: deque[_Ticket[In]] = deque()
        self._of_client: Counter[str] = Counter()
        self._service = 0.0  # mean seconds a call of work takes, per item
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def depth(self) -> int:
        """How many items wait."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether the next item would be refused."""
        return len(self._waiting) >= self._places

    def check(self, client: str) -> None:
        """Whether an item of this client would be taken now; before its body is read.

        Raises:
            Refused: If not.
        """
        if self.full:
            raise Refused("full", "all waiting places are taken", self._retry_after())
        if self._of_client[client] >= self._per_client:
            raise Refused(
                "client",
                f"more than {self._per_client} requests at once from one caller",
                self._retry_after(),
            )

    def submit(self, item: In, client: str, arrived: float) -> asyncio.Future[Out]:
        """Queue an item. Cancel the future when nobody waits for it any more.

        Args:
            item: What to work on.
            client: Who asks.
            arrived: When the request arrived, on the event loop's clock.

        Returns:
            Its result, or the exception that ``work`` gave for it, or `Refused` when its deadline
            has passed before it began.

        Raises:
            Refused: If there is no place for it.
        """
        self.check(client)
        ticket = _Ticket(item, client, arrived, self._loop.create_future())
        self._of_client[client] += 1
        ticket.expiry = self._loop.call_at(arrived + self._timeout, self._expire, ticket)
        ticket.future.add_done_callback(lambda _: self._drop(ticket))
        self._waiting.append(ticket)
        self._begin()
        return ticket.future

    def close(self) -> None:
        """Wait for what runs and let the threads go."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self) -> None:
        while self._idle and self._waiting:
            if len(self._waiting) < self._batch:
                ready = self._waiting[0].arrived + self._batch_wait
                if self._batch > 1 and ready > self._loop.time():
                    if self._alarm is None:
                        self._alarm = self._loop.call_at(ready, self._ring)
                    return
            count = min(self._batch, len(self._waiting))
            tickets = [self._waiting.popleft() for _ in range(count)]
            self._idle -= 1
            now = self._loop.time()
            for ticket in tickets:
                if ticket.expiry is not None:
                    ticket.expiry.cancel()
            if self._on_begin is not None:
                self._on_begin(count, [now - ticket.arrived for ticket in tickets])
            self._loop.create_task(self._run(tickets, now))

    def _ring(self) -> None:
        self._alarm = None
        self._begin()

    async def _run(self, tickets: list[_Ticket[In]], began: float) -> None:
        results: Sequence[Out | Exception]
        try:
            items = [ticket.item for ticket in tickets]
            results = await self._loop.run_in_executor(self._pool, self._work, items)
        except Exception as error:  # noqa: BLE001 - goes to everybody who waits for it
            results = [error] * len(tickets)
        seconds = (self._loop.time() - began) / len(tickets)
        self._service += (seconds - self._service) * (NEWEST if self._service else 1.0)
        self._idle += 1
        for ticket, result in zip(tickets, results, strict=True):
            self._leave(ticket)
            if ticket.future.done():
                continue
            if isinstance(result, Exception):
                ticket.future.set_exception(result)
            else:
                ticket.future.set_result(result)
        self._begin()

    def _expire(self, ticket: _Ticket[In]) -> None:
        if not ticket.future.done():
            text = f"not begun within {self._timeout:g} s"
            ticket.future.set_exception(Refused("late", text, self._retry_after()))

    def _drop(self, ticket: _Ticket[In]) -> None:
        """Nobody waits for it any more: it leaves the queue if it is still there."""
        if ticket.expiry is not None:
            ticket.expiry.cancel()
        if ticket in self._waiting:
            self._waiting.remove(ticket)
            self._leave(ticket)

    def _leave(self, ticket: _Ticket[In]) -> None:
        self._of_client[ticket.client] -= 1
        if not self._of_client[ticket.client]:
            del self._of_client[ticket.client]

    def _retry_after(self) -> int:
        return max(1, math.ceil((len(self._waiting) + 1) * self._service / self._workers))
