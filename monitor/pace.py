"""A share of the processor: who has used more than theirs waits until it is theirs again."""

from __future__ import annotations

import time
from collections.abc import Callable

#: A wait is cut into pieces of so many seconds, so that a stop is heard.
_PIECE = 0.5


class Pace:
    """Keeps this process to a share of one core, on average since it was begun.

    Args:
        share: of one core; over 1 where several may be used.
        clock: seconds that have passed.
        used: seconds of the processor that this process has used, all its threads together.
    """

    def __init__(
        self,
        share: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.process_time,
    ) -> None:
        self._share = share
        self._clock = clock
        self._used = used
        self._began = clock()
        self._used_before = used()

    @property
    def owed(self) -> float:
        """Seconds to wait until no more than the share has been used."""
        due = (self._used() - self._used_before) / self._share
        return max(0.0, due - (self._clock() - self._began))

    def keep(self, wait: Callable[[float], bool]) -> bool:
        """Wait as long as is owed; return whether the wait was ended.

        Args:
            wait: waits so many seconds, and says whether it was told to stop.
        """
        while (owed := self.owed) > 0:
            if wait(min(owed, _PIECE)):
                return True
        return False
