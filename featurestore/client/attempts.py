"""When a call that failed is tried again: if its server is gone, elsewhere at once or after a pause, in time."""

from __future__ import annotations

import random
import time
from typing import NamedTuple

from featurestore.client.faults import GONE, Fault, error_of
from featurestore.client.pool import Member, Pool
from featurestore.client.target import Target

#: The first pause in seconds, doubled each time, and the longest.
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0

#: Methods that may be done twice, for a call that failed may have been done: lookups change nothing, and of equal rows,
#: predictions or outcomes the second changes nothing. A clock that moves counts the rows that it moves over, once.
REPEATABLE = frozenset(
    {"GetOnlineFeatures", "GetServiceSchema", "StreamOnlineFeatures", "PushFeatures", "LogPredictions", "LogOutcomes"}
)


class Deadline(NamedTuple):
    """When an answer must be there.

    Attributes:
        seconds: that were given.
        at: the monotonic time.
    """

    seconds: float
    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline of a call that begins now."""
        return cls(seconds, time.monotonic() + seconds)

    def left(self) -> float:
        """Return the seconds that are left, at least 0."""
        return max(0.0, self.at - time.monotonic())


class Attempts:
    """The attempts of one call.

    Args:
        pool: where they go.
        target: the same, for messages.
        method: what is called.
        deadline: of the call with all of its attempts.
        retries: attempts after pauses; those at another address cost none.
    """

    def __init__(self, pool: Pool, target: Target, method: str, deadline: Deadline, retries: int) -> None:
        self._pool = pool
        self._target = target
        self._method = method
        self._deadline = deadline
        self._left = retries if method in REPEATABLE else 0
        self._elsewhere = len(target.addresses) - 1 if method in REPEATABLE else 0
        self._pause = FIRST_PAUSE
        self._failed: list[Member] = []

    def take(self) -> Member:
        """Return the connection of the next attempt; it must be given back to the pool."""
        return self._pool.take(time.monotonic(), self._failed)

    def failed(self, member: Member, fault: Fault) -> float:
        """Return the seconds to wait before the next attempt.

        Raises:
            FeatureStoreError: there is none; the error says why the last one failed.
        """
        error = error_of(
            fault,
            method=self._method,
            where=str(self._target),
            seconds=self._deadline.seconds,
            secured=self._target.secured,
        )
        if fault.code not in GONE:
            raise error from None
        now = time.monotonic()
        self._failed.append(member)
        self._pool.failed(member, now)
        if self._elsewhere and self._pool.has_other(now):
            self._elsewhere -= 1
            return 0.0
        # Half of it by chance, so that clients of a server that went away do not come back all at once.
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        if not self._left or now + pause >= self._deadline.at:
            raise error from None
        self._left -= 1
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return pause
