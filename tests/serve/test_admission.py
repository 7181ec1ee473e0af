"""The queue: what begins when, what is refused, what is never begun."""

import asyncio
import threading
import time

import pytest

from rmpe.serve.admission import Admission, Refused


class Gate:
    """Work that waits until it is let through, and remembers what it was given."""

    def __init__(self):
        self.opened = threading.Event()
        self.calls = []

    def __call__(self, items):
        self.calls.append(list(items))
        assert self.opened.wait(30)
        return [ValueError(item) if item == "bad" else f"{item}!" for item in items]


def admit(work, **options):
    settings = {"workers": 1, "places": 2, "per_client": 9, "timeout": 30.0}
    return Admission(work, **settings | options)


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 60))


async def begun(gate, count):
    while sum(map(len, gate.calls)) < count:
        await asyncio.sleep(0.005)


def now():
    return asyncio.get_running_loop().time()


def test_answers_come_to_whom_they_belong():
    async def scenario():
        gate = Gate()
        gate.opened.set()
        queue = admit(gate)
        assert await queue.submit("a", "x", now()) == "a!"
        with pytest.raises(ValueError, match="bad"):
            await queue.submit("bad", "x", now())
        assert await queue.submit("b", "x", now()) == "b!"
        queue.close()

    run(scenario)


def test_a_full_queue_refuses_and_says_when_to_come_back():
    async def scenario():
        gate = Gate()
        queue = admit(gate)
        futures = [queue.submit(name, "x", now()) for name in "abc"]
        assert queue.depth == 2 and queue.full
        with pytest.raises(Refused, match="places") as refused:
            queue.submit("d", "y", now())
        assert (refused.value.reason, refused.value.retry_after) == ("full", 1)
        gate.opened.set()
        assert await asyncio.gather(*futures) == ["a!", "b!", "c!"]
        assert not queue.full
        queue.close()

    run(scenario)


def test_one_client_gets_no_more_than_its_share_and_gets_it_back():
    async def scenario():
        gate = Gate()
        queue = admit(gate, places=9, per_client=2)
        futures = [queue.submit(name, "x", now()) for name in "ab"]
        with pytest.raises(Refused) as refused:
            queue.submit("c", "x", now())
        assert refused.value.reason == "client"
        futures.append(queue.submit("d", "y", now()))
        gate.opened.set()
        await asyncio.gather(*futures)
        assert await queue.submit("e", "x", now()) == "e!"
        queue.close()

    run(scenario)


def test_what_has_not_begun_in_time_is_never_begun():
    async def scenario():
        gate = Gate()
        queue = admit(gate, timeout=0.05)
        first = queue.submit("a", "x", now())
        late = queue.submit("b", "x", now())
        with pytest.raises(Refused) as refused:
            await late
        assert refused.value.reason == "late"
        gate.opened.set()
        assert await first == "a!"
        await asyncio.sleep(0.05)
        assert gate.calls == [["a"]]
        assert queue.depth == 0
        queue.close()

    run(scenario)


def test_whom_nobody_waits_for_is_dropped():
    async def scenario():
        gate = Gate()
        queue = admit(gate)
        first = queue.submit("a", "x", now())
        left = queue.submit("b", "x", now())
        left.cancel()
        await asyncio.sleep(0)
        assert queue.depth == 0
        third = queue.submit("c", "x", now())
        gate.opened.set()
        assert [await first, await third] == ["a!", "c!"]
        assert gate.calls == [["a"], ["c"]]
        queue.close()

    run(scenario)


@pytest.mark.parametrize(
    ("items", "calls"), [("a", [["a"]]), ("abcde", [["a", "b", "c"], ["d", "e"]])]
)
def test_items_share_a_call_but_do_not_wait_long(items, calls):
    async def scenario():
        gate = Gate()
        gate.opened.set()
        seen = []
        queue = admit(
            gate,
            places=9,
            batch=3,
            batch_wait=0.03,
            on_begin=lambda n, waits: seen.append((n, waits)),
        )
        futures = [queue.submit(item, "x", now()) for item in items]
        assert await asyncio.gather(*futures) == [f"{item}!" for item in items]
        assert gate.calls == calls
        assert [count for count, _ in seen] == [len(call) for call in calls]
        queue.close()

    run(scenario)


def test_workers_run_side_by_side():
    async def scenario():
        gate = Gate()
        queue = admit(gate, workers=2, places=0 + 1)
        futures = [queue.submit(name, "x", now()) for name in "ab"]
        await begun(gate, 2)
        gate.opened.set()
        assert await asyncio.gather(*futures) == ["a!", "b!"]
        queue.close()

    run(scenario)


def test_work_that_fails_as_a_whole_fails_for_all_and_the_next_goes_on():
    async def scenario():
        def work(items):
            if "x" in items:
                raise RuntimeError("broken")
            time.sleep(0.01)
            return items

        queue = admit(work, places=9, batch=2, batch_wait=0.02)
        results = await asyncio.gather(
            *(queue.submit(item, "c", now()) for item in "xy"), return_exceptions=True
        )
        assert [str(result) for result in results] == ["broken", "broken"]
        assert await queue.submit("z", "c", now()) == "z"
        queue.close()

    run(scenario)
