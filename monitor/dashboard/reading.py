"""What pages read: the registry and the monitor's database, opened when they are there, and what servers count."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from featurestore.config import Config
from featurestore.errors import MonitorError, RegistryError
from featurestore.profiles import Profile
from featurestore.registry import Registry
from featurestore.store import FeatureStore
from monitor.baselines import kept_baseline
from monitor.dashboard.facts import Facts
from monitor.dashboard.series import Decided
from monitor.dashboard.servers import Servers, metrics_addresses
from monitor.history import History

_SQLITE = "sqlite:///"
#: Things that are told again for a while.
_RECENT = 16
#: Things that are remembered of one revision.
_MOST = 500
#: Windows of which is kept what they said of a feature.
_POINTS = 20_000
#: Baselines that are remembered: with a thousand features one is some megabytes.
_BASELINES = 8

_T = TypeVar("_T")


class Reader:
    """A feature store and its monitor's memory, for pages; any thread may use it.

    Args:
        store: the store; whoever has opened it closes it.

    Attributes:
        decided: what was decided of windows, for :mod:`monitor.dashboard.series`.
        servers: the traffic of its servers, once they are read.
    """

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self.decided: Facts[Decided] = Facts(_POINTS)
        self.servers = Servers(metrics_addresses(store.config), project=store.config.project)
        self._recent: OrderedDict[object, tuple[float, Any]] = OrderedDict()
        self._history: History | None = None
        self._lock = threading.Lock()
        self._revision: int | None = None
        self._known: dict[object, Any] = {}
        self._baselines: Facts[Profile] = Facts(_BASELINES)

    @property
    def config(self) -> Config:
        """The store's settings."""
        return self.store.config

    @property
    def registry(self) -> Registry:
        """The store's registry.

        Raises:
            RegistryError: it cannot be opened, or nothing was ever applied.
        """
        if not _is_there(self.config.database_url(self.config.registry)):
            raise RegistryError(
                "There is no registry yet: nothing has been applied.",
                hint="Write definitions.py, then: featurestore apply",
            )
        with self._lock:
            return self.store.registry

    def policies(self) -> dict[str, int]:
        """Return the current version of each policy, which need not be the newest.

        Raises:
            RegistryError: the registry cannot be read.
        """
        return self.known("policies", lambda: {one.name: one.version for one in self.registry.list("monitor_policy")})

    def known(self, key: object, make: Callable[[], _T]) -> _T:
        """Return what follows from the definitions alone: it is made once for each revision of the registry.

        Args:
            key: names it; whatever else it depends on is a part of it.
            make: makes it.
        """
        revision = self.registry.revision()
        with self._lock:
            if revision != self._revision or len(self._known) > _MOST:
                self._revision, self._known = revision, {}
            known = self._known
        if key not in known:
            known[key] = make()
        found: _T = known[key]
        return found

    def baseline(self, name: str) -> Profile:
        """Return the profile of all of a baseline's rows, with its bins; what a name means never changes.

        Raises:
            FeatureStoreError: it cannot be read, or is not kept any more.
        """
        return self._baselines.get(name, lambda: kept_baseline(self.config, self.registry, name).whole)

    def has_history(self) -> bool:
        """Return whether a monitor has ever run here."""
        return self._history is not None or _is_there(self._url)

    @property
    def history(self) -> History:
        """The monitor's database.

        Raises:
            MonitorError: it cannot be opened, or no monitor has ever run here.
        """
        if not self.has_history():
            raise MonitorError(
                "No monitor has run here yet, so there is nothing to tell.",
                hint="featurestore monitor start",
            )
        with self._lock:
            if self._history is None:
                self._history = History(self._url)
            return self._history

    @property
    def _url(self) -> str:
        return self.config.database_url(self.config.monitor.database)

    def recent(self, key: object, seconds: float, make: Callable[[], _T]) -> _T:
        """Return what takes long to find out, and is found out anew only after a while; a few such things are kept.

        Args:
            key: names it; whatever it depends on is a part of it.
            seconds: for how long it may be told again.
            make: finds it out.
        """
        now = monotonic()
        with self._lock:
            until, kept = self._recent.get(key, (0.0, None))
        if now < until:
            told: _T = kept
            return told
        found = make()
        with self._lock:
            self._recent[key] = (monotonic() + seconds, found)
            self._recent.move_to_end(key)
            if len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
        return found

    @contextmanager
    def acting_as(self, who: str) -> Iterator[FeatureStore]:
        """Open the store for something that somebody does: the audit log has it under their name."""
        with _ActsAs(self.config, who) as store:
            yield store

    def close(self) -> None:
        """Close the monitor's database, and read no server any more."""
        self.servers.close()
        with self._lock:
            if self._history is not None:
                self._history.close()
                self._history = None


class _ActsAs(FeatureStore):
    """A feature store that acts in the name of whoever has logged in.

    Args:
        config: of the store.
        who: what the audit log calls them.
    """

    def __init__(self, config: Config, who: str) -> None:
        self.config = config  # as it was read: the file may be another one by now, or have another name
        self._acts_as = who

    def who(self) -> str:
        """Return who acts."""
        return self._acts_as


def _is_there(url: str) -> bool:
    """Return whether a database may be opened without being made: any but a file that is not there."""
    return not url.startswith(_SQLITE) or Path(url.removeprefix(_SQLITE)).exists()
