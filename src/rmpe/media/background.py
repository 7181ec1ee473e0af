"""Let one stage of a stream run ahead of the next in a thread of its own, without piling up."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

# How often a thread that waits looks whether it is still wanted.
PATIENCE = 0.1


class _End:
    """The last thing in the queue: the stream is over, or broke with ``error``."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Background(Generic[T]):
    """Iterates over ``items`` in a thread; an error there is raised here.

    Attributes:
        dropped: How many items were thrown away because nobody took them in time (``newest_only``).
    """

    def __init__(
        self,
        items: Iterable[T],
        depth: int = 4,
        *,
        newest_only: bool = False,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        """Start at once.

        Args:
            items: Run in the thread; if it is a generator it is closed there.
            depth: Most items that wait to be taken.
            newest_only: When ``depth`` items wait, drop the oldest instead of making the source
                wait: for live sources.
            on_close: Called when nobody wants more, to wake ``items`` if they wait for what may
                never come.
        """
        self.dropped = 0
        self._items = items
        self._newest_only = newest_only
        self._on_close = on_close
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rmpe-read", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        try:
            while not isinstance(item := self._take(), _End):
                yield item
            if item.error is not None:
                raise item.error
        finally:
            self.close()

    def close(self) -> None:
        """Stop the thread and wait for it; more than once is fine."""
        self._stop.set()
        self._on_close()
        self._thread.join()

    def _run(self) -> None:
        end = _End()
        iterator = iter(self._items)
        try:
            for item in iterator:
                if not self._put(item):
                    break
        except Exception as error:  # noqa: BLE001 - nothing is swallowed: raised again where the items are taken
            end = _End(error)
        finally:
            if close := getattr(iterator, "close", None):
                close()
            self._put(end)

    def _put(self, item: T | _End) -> bool:
        """Hand over, waiting for room; false when nobody wants it any more."""
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0 if self._newest_only else PATIENCE)
            except queue.Full:
                self._make_room()
            else:
                return True
        return False

    def _take(self) -> T | _End:
        while not self._stop.is_set():
            try:
                return self._queue.get(timeout=PATIENCE)
            except queue.Empty:
                continue
        return _End()

    def _make_room(self) -> None:
        if self._newest_only:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                return
            self.dropped += 1
