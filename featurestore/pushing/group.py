"""Work that is done for many callers at once by one of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _Waiting(Generic[Item]):
    def __init__(self, item: Item) -> None:
        self.item = item
        self.done = False
        self.error: BaseException | None = None


class GroupCommit(Generic[Item]):
    """Commits of several threads as one: while one thread commits, what the others bring gathers for the next.

    Args:
        commit: commits some items, in their order, or raises.
    """

    def __init__(self, commit: Callable[[Sequence[Item]], None]) -> None:
        self._commit = commit
        self._gathering = threading.Lock()
        self._committing = threading.Lock()
        self._waiting: list[_Waiting[Item]] = []

    def __call__(self, item: Item) -> None:
        """Commit an item, alone or with others, and return when that is done.

        Raises:
            Exception: what the commit that the item was in has raised.
        """
        mine = _Waiting(item)
        with self._gathering:
            self._waiting.append(mine)
        with self._committing:
            if not mine.done:
                self._commit_all()
        if mine.error is not None:
            raise mine.error

    def _commit_all(self) -> None:
        with self._gathering:
            group, self._waiting = self._waiting, []
        error: BaseException | None = None
        try:
            self._commit([one.item for one in group])
        except BaseException as failed:  # noqa: BLE001 - each of those who wait must be told
            error = failed
        for one in group:
            one.done, one.error = True, error
