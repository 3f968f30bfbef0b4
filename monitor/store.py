"""What the monitor needs of a feature store; a whole one gives more."""

from __future__ import annotations

from typing import Protocol

from featurestore.config import Config
from featurestore.registry import Registry


class Store(Protocol):
    """A feature store's configuration and registry."""

    @property
    def config(self) -> Config:
        """Its configuration."""
        ...

    @property
    def registry(self) -> Registry:
        """Its registry."""
        ...
