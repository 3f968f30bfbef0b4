"""Facts: what never changes, such as what was decided of a window: it is read once, whatever else is news."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Facts(Generic[_T]):
    """Facts by key; any thread may use them.

    Args:
        most: so many are kept, those that were made last.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, _T] = OrderedDict()

    def get(self, key: object, make: Callable[[], _T]) -> _T:
        """Return a fact; it is made where it is not kept."""
        with self._lock:
            if key in self._kept:
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return made
