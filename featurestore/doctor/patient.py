"""What probes look at: a configuration, and what of it could be opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from featurestore.config import Config
from featurestore.definitions import FeatureView
from featurestore.doctor.finding import Finding
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
        online: set by the probe of the online store, if it takes and gives rows.
        views: versions that are live, set with the registry.
    """

    config: Config
    now: datetime
    registry: Registry | None = None
    online: OnlineStore | None = None
    views: list[Registered[FeatureView]] = field(default_factory=list)

    @property
    def offline(self) -> OfflineStore | None:
        """The offline store; None without a registry."""
        return None if self.registry is None else OfflineStore(self.config, self.registry)

    def close(self) -> None:
        """Close what was opened."""
        for one in (self.registry, self.online):
            if one is not None:
                one.close()


#: Looks at one thing, changes nothing, and says what it finds. An error of ours that it raises is a fault of the thing.
Probe = Callable[[Patient], Iterator[Finding]]
