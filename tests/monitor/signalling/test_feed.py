"""The feed: every watcher gets every event after its cursor, once, in order, however slow it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore.errors import InvalidRequestError
from monitor.signalling import feed as module
from monitor.signalling.feed import Event, Feed


class Log:
    """Events as a database has them; cursors may have gaps.

    Attributes:
        reads: how often it was read.
    """

    def __init__(self, cursors: list[int] | None = None) -> None:
        self.events = [made(one) for one in cursors or []]
        self.reads: list[int] = []

    def add(self, cursor: int) -> None:
        self.events.append(made(cursor))

    def read(self, after: int, limit: int) -> list[Event]:
        self.reads.append(after)
        return [one for one in self.events if one.cursor > after][:limit]

    def newest(self) -> int:
        return self.events[-1].cursor if self.events else 0


def made(cursor: int) -> Event:
    return Event(cursor=cursor, service="flight_delay@1", data=str(cursor).encode())


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


async def watched(feed: Feed, cursor: int, until: int, *, slow: float = 0.0) -> list[int]:
    """Return the cursors that a watcher gets up to one."""
    got = []
    while cursor < until:
        page = await feed.after(cursor)
        assert len(page) <= module.PAGE
        for one in page:
            got.append(one.cursor)
            cursor = one.cursor
            if slow:
                await asyncio.sleep(slow)
        if not page:
            await feed.come(cursor, 1.0)
    return got


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.integers(1, 3), min_size=1, max_size=60),
    before=st.integers(0, 60),
    starts=st.lists(st.integers(0, 60), min_size=1, max_size=5),
    looks=st.lists(st.integers(1, 9), min_size=1, max_size=10),
)
def test_any_watcher_gets_every_event_after_its_cursor_once_and_in_order(
    gaps: list[int], before: int, starts: list[int], looks: list[int]
) -> None:
    cursors = [sum(gaps[: n + 1]) for n in range(len(gaps))]

    async def scenario() -> None:
        log = Log(cursors[:before])
        with closing(Feed(log.read, log.newest)) as feed:
            places = [([0, *cursors][start % (len(cursors) + 1)]) for start in starts]
            places = [place for place in places if place <= log.newest()]
            tasks = [asyncio.create_task(watched(feed, place, cursors[-1])) for place in places]
            waiting, turn = cursors[before:], 0
            while waiting:
                count = looks[turn % len(looks)]
                for one in waiting[:count]:
                    log.add(one)
                waiting, turn = waiting[count:], turn + 1
                await feed.look()
            for place, got in zip(places, await asyncio.gather(*tasks), strict=True):
                assert got == [one for one in cursors if one > place]

    sizes = module.PAGE, module.KEPT
    module.PAGE, module.KEPT = 3, 8
    try:
        run(scenario)
    finally:
        module.PAGE, module.KEPT = sizes


def test_those_that_keep_up_cost_one_read_together() -> None:
    async def scenario() -> None:
        log = Log()
        with closing(Feed(log.read, log.newest)) as feed:
            tasks = [asyncio.create_task(watched(feed, 0, 20)) for _ in range(50)]
            for cursor in range(1, 21):
                log.add(cursor)
                await feed.look()
            assert all(got == list(range(1, 21)) for got in await asyncio.gather(*tasks))
            # One that finds the event, and one that finds no more.
            assert len(log.reads) == 40

    run(scenario)


def test_a_slow_watcher_delays_nobody_and_misses_nothing() -> None:
    async def scenario() -> None:
        log = Log()
        with closing(Feed(log.read, log.newest)) as feed:
            quick = asyncio.create_task(watched(feed, 0, 2_000))
            slow = asyncio.create_task(watched(feed, 0, 2_000, slow=0.0001))
            for cursor in range(1, 2_001):
                log.add(cursor)
                if cursor % 50 == 0:
                    await feed.look()
            assert await quick == list(range(1, 2_001))
            assert not slow.done()
            assert await slow == list(range(1, 2_001))

    run(scenario)


def test_a_cursor_of_another_database_is_refused_and_does_not_wait_for_ever() -> None:
    async def scenario() -> None:
        log = Log([1, 2])
        with closing(Feed(log.read, log.newest)) as feed:
            await feed.check(2)
            log.add(3)
            await feed.check(3)  # it was written a moment ago, by somebody else
            with pytest.raises(InvalidRequestError, match="no event 1,000 here: the newest is 3") as refused:
                await feed.check(1_000)
            assert refused.value.field == "after"
            assert "Begin anew" in refused.value.hint

    run(scenario)


def test_who_waits_is_woken_or_waits_so_long() -> None:
    async def scenario() -> None:
        log = Log([1])
        with closing(Feed(log.read, log.newest)) as feed:
            await feed.come(0, 60)  # there is one
            await feed.come(1, 0.01)
            waiting = asyncio.create_task(feed.come(1, 60))
            await asyncio.sleep(0)
            log.add(2)
            await feed.look()
            await waiting
            waiting = asyncio.create_task(feed.come(2, 60))
            await asyncio.sleep(0)
            feed.wake()
            await waiting

    run(scenario)
