"""A circuit breaker: what is known to be away is not waited for by everybody, and is tried again ever less often."""

from __future__ import annotations

import random
from collections.abc import Callable

_FIRST_SECONDS = 0.1
_LONGEST_SECONDS = 2.0


class Breaker:
    """Whether a server may be tried now.

    Args:
        clock: gives seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tried_again_at = 0.0
        #: In a row.
        self.failures = 0
        self.error: Exception | None = None

    def check(self) -> None:
        """Raise what went wrong last, until it is time to try again."""
        if self.error is not None and self._clock() < self._tried_again_at:
            raise self.error.with_traceback(None)  # else it would grow with each

    def failed(self, error: Exception) -> float:
        """Take note of a failure, and return the seconds after which to try again."""
        seconds: float = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(self.failures, 10))
        seconds *= random.uniform(0.75, 1.0)  # noqa: S311 - so that not all workers try at once
        self.failures += 1
        self.error = error
        self._tried_again_at = self._clock() + seconds
        return seconds

    def worked(self) -> None:
        """Take note that the server answers."""
        self.failures, self.error = 0, None
