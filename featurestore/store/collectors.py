"""What other packages keep, and ``featurestore gc`` removes when it is old: the monitor's messages."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from importlib.metadata import entry_points
from typing import Protocol

from featurestore.config import Config
from featurestore.offline.tables.garbage import Garbage

#: Where packages name what makes their :class:`Collector` from a configuration.
GROUP = "featurestore.collectors"


class Collector(Protocol):
    """Finds what is older than ``[retention]`` says, and removes it."""

    def find(self, *, now: datetime) -> Iterable[Garbage]:
        """Return what may go, and what would if nothing needed it.

        Args:
            now: the instant against which ages are measured.
        """
        ...

    def remove(self, *, now: datetime) -> None:
        """Remove what may go."""
        ...


def collectors_of(config: Config) -> list[Collector]:
    """Return the collectors of all packages that are installed."""
    return [entry.load()(config) for entry in sorted(entry_points(group=GROUP), key=lambda one: one.name)]
