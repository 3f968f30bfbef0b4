"""Lookups that come up together are answered together, one right after the other."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Generic, TypeVar

Asked = TypeVar("Asked")


class Turns(Generic[Asked]):
    """Answers, in a turn of the event loop, all that the turn before it brought.

    Between two requests gRPC does so much that nothing of a lookup's code and data is left in the processor's caches: a
    lookup alone takes three to four times as long as one that comes after another.

    Args:
        answer: answers one; it raises nothing, and runs without the context of who asked.
    """

    def __init__(self, answer: Callable[[Asked], None]) -> None:
        self._answer = answer
        self._asked: list[Asked] = []
        self._context = contextvars.Context()

    def add(self, asked: Asked) -> None:
        """Have something answered; in the event loop."""
        if not self._asked:
            asyncio.get_running_loop().call_soon(self._run, context=self._context)
        self._asked.append(asked)

    def _run(self) -> None:
        asked, self._asked = self._asked, []
        for one in asked:
            self._answer(one)
