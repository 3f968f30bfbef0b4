"""What an erasure is about, and what each place that stores rows does for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from featurestore.config import Config
from featurestore.erasure.scope import Scope
from featurestore.offline.erasure.erased_keys import ErasedKeys
from featurestore.offline.erasure.erasing import Erased
from featurestore.registry import Registry

__all__ = ["Erased", "Place", "Task"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One erasure.

    Attributes:
        config: of the store.
        registry: of the store.
        scope: whose rows, and in which tables and columns they may stand.
        request: whose wish it is.
        who: who erases.
        dry_run: whether it is only to be said what would be erased.
    """

    config: Config
    registry: Registry
    scope: Scope
    request: str
    who: str
    dry_run: bool

    @property
    def keys(self) -> ErasedKeys:
        """The keys whose rows are to go."""
        return self.scope.keys


class Place(Protocol):
    """A place that stores rows; the contract test in ``tests/contract/test_erasure.py`` runs over all of them.

    A package adds its own through the entry point group ``featurestore.erasers``: a function that takes a
    :class:`~featurestore.config.Config` and returns places.
    """

    @property
    def name(self) -> str:
        """What the report and the receipt call it: ``offline tables``."""
        ...

    def erase(self, task: Task) -> Erased:
        """Remove every row of the keys, in such a way that no byte of it is left; in a dry run only count.

        Killed at any point, it does the rest when it is called again; done, it finds nothing.
        """
        ...
