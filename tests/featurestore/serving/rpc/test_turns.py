"""What comes up together is answered together."""

from __future__ import annotations

import asyncio
import contextvars

from featurestore.serving.rpc.turns import Turns

who = contextvars.ContextVar("who", default="nobody")


def test_what_one_turn_brings_is_answered_in_the_next_in_order_and_nothing_between() -> None:
    async def work() -> None:
        done: list[str] = []
        turns: Turns[str] = Turns(done.append)
        loop = asyncio.get_running_loop()

        def ask(name: str) -> None:
            done.append(f"asked {name}")
            turns.add(name)
            loop.call_soon(done.append, f"gRPC goes on with {name}")

        for name in ("a", "b", "c"):
            loop.call_soon(ask, name)
        await asyncio.sleep(0)
        assert done == ["asked a", "asked b", "asked c"]
        await asyncio.sleep(0)
        assert [one for one in done if "asked" not in one][:4] == ["a", "b", "c", "gRPC goes on with a"]
        turns.add("d")
        await asyncio.sleep(0)
        assert done[-1] == "d"

    asyncio.run(work())


def test_an_answer_knows_nothing_of_who_asked_first() -> None:
    async def work() -> None:
        seen: list[str] = []
        turns: Turns[str] = Turns(lambda _: seen.append(who.get()))
        who.set("ada")
        turns.add("a")
        await asyncio.sleep(0)
        assert seen == ["nobody"]

    asyncio.run(work())
