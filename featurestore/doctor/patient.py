"""What probes look at: a configuration, and what of it could be opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from featurestore.config import Config
from featurestore.definitions import FeatureView
from featurestore.doctor.finding import Finding, warning
from featurestore.errors import OnlineStoreAwayError, OnlineStoreError
from featurestore.offline.store import OfflineStore
from featurestore.online import OnlineStore
from featurestore.registry import Registry
from featurestore.registry.records import Registered


@dataclass
class Patient:
    """A configuration under examination. Probes run in order, and each may use what those before it could open.

    Attributes:
        config: the configuration.
        now: the wall clock.
        registry: set by the probe of the registry, if it may be opened as it is.
        online: set by the probe of the online store, if it can be opened.
        online_error: why it does not take and give rows; None if it does, or was not looked at.
        views: versions that are live, set with the registry.
        unread: storage ids of tables that their probe could not open, or did not look at.
    """

    config: Config
    now: datetime
    registry: Registry | None = None
    online: OnlineStore | None = None
    online_error: OnlineStoreError | None = None
    views: list[Registered[FeatureView]] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)

    @property
    def offline(self) -> OfflineStore | None:
        """The offline store; None without a registry."""
        return None if self.registry is None else OfflineStore(self.config, self.registry)

    @property
    def online_away(self) -> bool:
        """Whether the online store's probe found that its server does not answer."""
        return isinstance(self.online_error, OnlineStoreAwayError)

    def without_online(self, about: str) -> Finding:
        """Return that a thing was not looked at for what is told of the online store: one cause is one fault."""
        why = "is away" if self.online_away else "cannot be used"
        return warning(about, f"Not looked at: the online store {why}.", "")

    def close(self) -> None:
        """Close what was opened."""
        for one in (self.registry, self.online):
            if one is not None:
                one.close()


#: Looks at one thing, changes nothing, and says what it finds. An error of ours that it raises is a fault of the thing.
Probe = Callable[[Patient], Iterator[Finding]]
