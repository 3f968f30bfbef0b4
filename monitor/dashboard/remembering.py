"""Values of pages, kept while nothing has changed; and the last ones that were right, for when nothing can be read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from featurestore.errors import FeatureStoreError, ObjectNotFoundError
from monitor.dashboard.page import Values

#: Pages whose values are kept.
_MOST = 128
#: Locks that all addresses share: one of them waits for another now and then without need.
_LOCKS = 64


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Values of a page.

    Attributes:
        values: JSON values.
        at: when they were read.
        old: why they could not be read now; "" where they could.
    """

    values: Values
    at: datetime
    old: str = ""


@dataclass(frozen=True, kw_only=True)
class _Kept:
    marker: str
    at: datetime
    values: Values


class Remembered:
    """The values of pages, by address."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._reading = tuple(threading.Lock() for _ in range(_LOCKS))

    def get(self, address: str, marker: str, seconds: float, read: Callable[[], Values], *, now: datetime) -> Shown:
        """Return the values of a page: those that are kept, if nothing has changed; else those that are read now.

        However many ask for a page at once, it is read once.

        Args:
            address: of the page, with its query.
            marker: see :class:`monitor.dashboard.marker.Marker`.
            seconds: for how long they may be kept.
            read: reads them.
            now: the wall clock.

        Raises:
            FeatureStoreError: they cannot be read, and never were.
        """
        with self._reading[hash(address) % _LOCKS]:
            kept = self._kept.get(address)
            if kept is not None and kept.marker == marker and (now - kept.at).total_seconds() < seconds:
                return Shown(values=kept.values, at=kept.at)
            try:
                values = read()
            except ObjectNotFoundError:
                raise
            except FeatureStoreError as error:
                if kept is None:
                    raise
                return Shown(values=kept.values, at=kept.at, old=f"{error.message} {error.hint}".strip())
            self._keep(address, _Kept(marker=marker, at=now, values=values))
            return Shown(values=values, at=now)

    def _keep(self, address: str, kept: _Kept) -> None:
        with self._lock:
            self._kept.pop(address, None)
            self._kept[address] = kept
            if len(self._kept) > _MOST:
                self._kept.popitem(last=False)
