"""How often somebody may try something: a bucket of tries for each, which fills again with time. Pure."""

from __future__ import annotations

from collections import OrderedDict

#: Names that are remembered at most: whoever calls from ever new addresses must not fill the memory.
_MOST = 4_096


class Rate:
    """So many tries a minute, for each name apart.

    Args:
        per_minute: as many may also come at once.
    """

    def __init__(self, per_minute: int) -> None:
        self._most = float(per_minute)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, name: str, *, now: float) -> bool:
        """Count a try, and return whether it may be.

        Args:
            name: whose try it is.
            now: seconds of a clock that only goes forward.
        """
        left, at = self._buckets.pop(name, (self._most, now))
        left = min(self._most, left + (now - at) * self._most / 60)
        self._buckets[name] = (left - 1 if left >= 1 else left, now)
        if len(self._buckets) > _MOST:
            self._buckets.popitem(last=False)
        return left >= 1
