"""Answers on their way, with a connection that takes them when the test lets it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from featurestore.serving.rpc.outbox import Outbox

MEGABYTE = b"x" * (1 << 20)


class Connection:
    """Takes one answer for each permission; afterwards it breaks, if it should."""

    def __init__(self, permissions: int, *, breaks: bool = False) -> None:
        self.taken: list[bytes] = []
        self._permissions = asyncio.Semaphore(permissions)
        self._breaks = breaks

    async def write(self, answer: bytes) -> None:
        if self._breaks and self._permissions.locked():
            raise ConnectionError("gone")
        await self._permissions.acquire()
        self.taken.append(answer)

    def permit(self, count: int) -> None:
        for _ in range(count):
            self._permissions.release()


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 10))


def put(outbox: Outbox, *answers: bytes) -> bool:
    full = False
    for answer in answers:
        full = outbox.owe()
        outbox.put(answer)
    return full


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_answers_are_written_in_order_while_others_come() -> None:
    async def work() -> None:
        connection = Connection(100)
        outbox = Outbox(connection.write)
        await turns()
        put(outbox, b"a", b"b")
        await turns()
        assert connection.taken == [b"a", b"b"]
        put(outbox, b"c")
        await outbox.flush()
        await outbox.discard()
        assert connection.taken == [b"a", b"b", b"c"]

    run(work())


def test_the_end_waits_for_an_answer_that_is_owed() -> None:
    async def work() -> None:
        connection = Connection(100)
        outbox = Outbox(connection.write)
        outbox.owe()
        ending = asyncio.create_task(outbox.flush())
        await turns()
        assert not ending.done()
        outbox.put(b"late")
        await ending
        assert connection.taken == [b"late"]

    run(work())


def test_who_asks_waits_while_too_much_waits_for_a_slow_reader() -> None:
    async def work() -> None:
        connection = Connection(0)
        outbox = Outbox(connection.write)
        assert not put(outbox, MEGABYTE, b"one more")
        assert put(outbox, b"and one")
        waiting = asyncio.create_task(outbox.room())
        await turns()
        assert not waiting.done()
        connection.permit(1)
        await waiting
        assert connection.taken == [MEGABYTE]
        await outbox.discard()

    run(work())


def test_who_asks_waits_while_too_many_answers_are_owed() -> None:
    async def work() -> None:
        outbox = Outbox(Connection(1_000).write)
        assert [outbox.owe() for _ in range(101)] == [False] * 100 + [True]
        waiting = asyncio.create_task(outbox.room())
        await turns()
        assert not waiting.done()
        outbox.put(b"first")
        await waiting
        await outbox.discard()

    run(work())


def test_a_connection_that_breaks_ends_all_waiting_with_its_error() -> None:
    async def work() -> None:
        outbox = Outbox(Connection(0, breaks=True).write)
        put(outbox, MEGABYTE, MEGABYTE)
        await outbox.room()
        with pytest.raises(ConnectionError, match="gone"):
            await outbox.flush()
        await outbox.discard()

    run(work())


def test_what_is_discarded_is_not_written() -> None:
    async def work() -> None:
        connection = Connection(0)
        outbox = Outbox(connection.write)
        put(outbox, b"a", b"b")
        await turns()
        await outbox.discard()
        connection.permit(2)
        await turns()
        assert connection.taken == []

    run(work())
