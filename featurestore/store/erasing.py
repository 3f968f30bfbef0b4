"""A person's right: the rows of a key out of every place, and kept out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from featurestore.erasure import ErasureReport, Task
from featurestore.erasure.running import lift, places_of, run_erasure
from featurestore.erasure.scope import check_request, scope_of
from featurestore.offline.intake.frames import to_table
from featurestore.store.opened import Opened


class Erasing(Opened):
    """Erase by key."""

    def erase(
        self,
        entity: str,
        keys: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Any,
        *,
        request: str,
        dry_run: bool = False,
        progress: Callable[[str], None] | None = None,
    ) -> ErasureReport:
        """Erase all rows of some members of an entity, wherever this store keeps rows, and let no load bring them back.

        Files that datasets pin are written anew, too. Killed at any point, the same call does the rest; done before,
        it finds nothing. The audit log keeps a receipt without the keys.

        Args:
            entity: the entity: ``user``.
            keys: by join key its value: ``{"user_id": 17}``; or a list or a frame of several.
            request: whose wish it is, without the key: ``GDPR-123``.
            dry_run: whether it is only to be said what would be erased.
            progress: called with the name of each place as it is begun.

        Raises:
            ObjectNotFoundError: there is no such entity.
            DataError: these are no keys of it.
            OfflineStoreError: a file cannot be read or written; what was erased before stays erased.
            OnlineStoreError: the online store refuses.
        """
        task = self._task(entity, keys, request, dry_run=dry_run)
        return run_erasure(task, places_of(self.config, self.online), progress)

    def lift_erasure(
        self, entity: str, keys: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Any, *, request: str
    ) -> int:
        """Let loads bring the rows of erased keys again, and return how many of the keys were kept out.

        What was erased stays erased; the rows come back with the next load that has them.

        Args:
            entity: as for :meth:`erase`.
            keys: as for :meth:`erase`.
            request: whose wish it is, without the key.

        Raises:
            ObjectNotFoundError: there is no such entity.
            DataError: these are no keys of it.
        """
        return lift(self._task(entity, keys, request, dry_run=False))

    def _task(self, entity: str, keys: Any, request: str, *, dry_run: bool) -> Task:
        given = [keys] if isinstance(keys, Mapping) else keys
        if not isinstance(given, (list, tuple)) or not all(isinstance(one, Mapping) for one in given):
            given = to_table(given, "the keys to erase").to_pylist()
        return Task(
            config=self.config,
            registry=self.registry,
            scope=scope_of(self.registry, entity, given),
            request=check_request(request),
            who=self.who(),
            dry_run=dry_run,
        )
