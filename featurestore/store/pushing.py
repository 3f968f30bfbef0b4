"""Rows that are served at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

from featurestore.definitions import FeatureView
from featurestore.materialize import MaterializeReport, Progress, Waiting
from featurestore.pushing import FlushReport, Pusher, PushReport
from featurestore.registry.records import Registered
from featurestore.store.lookups import NewestRows
from featurestore.types import DType


class Pushing(NewestRows):
    """Push."""

    def push(self, view: str, rows: Any) -> PushReport:
        """Serve rows at once, and keep them for training: when this returns, they survive the death of the process.

        They are checked row by row as by :meth:`ingest`, and reach every live version. Lookups find them from now on;
        joins do when the log of pushed rows is brought into the offline store: in the background every
        ``flush_seconds``, and when the store is closed.

        Args:
            view: the view: ``clicks`` is its current version and every other that is live; ``clicks@1`` just that one.
            rows: an Arrow table, a Polars or pandas frame, or a list of dicts. Keys and instants are needed; a feature
                that is left out is null.

        Returns:
            What became of them; rows that are rejected are kept nowhere.

        Raises:
            ObjectNotFoundError: there is no such view.
            RegistryError: the view is another project's.
            PushRefusedError: a row is bad, and the view rejects the whole then; nothing was kept.
            DataError: the rows cannot be taken, as a key or an instant is missing, no live version has a column, or one
                is of another type; nothing was kept.
            OfflineStoreError: the disk of the log refuses; nothing was kept.
            OnlineStoreError: the online store refuses; nothing was kept.
        """
        return self._pusher.push(view, rows)

    def pushed_columns(self, view: str) -> dict[str, DType]:
        """Return the columns that a push of a view takes, with their types.

        Raises:
            ObjectNotFoundError: there is no such view.
            RegistryError: it is another project's.
            DataError: it cannot be pushed to.
        """
        return self._pusher.column_types(view)[1]

    def flush_pushes(self, *, wait: bool = True) -> FlushReport:
        """Bring pushed rows into the offline store now.

        Args:
            wait: whether to wait for another process that does so, or materializes.

        Raises:
            OfflineStoreError: the offline store refuses; the rows stay in the log.
            OnlineStoreError: the online store refuses; as that.
        """
        return self._pusher.flusher.flush(wait=wait)

    @cached_property
    def _pusher(self) -> Pusher:
        return Pusher(self.config, self.registry, self.offline, self.online, self.who)

    def _materialize(
        self,
        view: Registered[FeatureView],
        progress: Progress | None,
        run: Callable[..., MaterializeReport] | None = None,
        waiting: Waiting | None = None,
    ) -> MaterializeReport:
        if self.config.replay:  # whose online store has no pushed rows
            return super()._materialize(view, progress, run, waiting)
        with self._pusher.flusher.settled():
            return super()._materialize(view, progress, run, partial(self._pusher.flusher.waiting, view.definition))

    def close(self) -> None:
        """Bring pushed rows into the offline store, and close what was opened."""
        pusher = self.__dict__.pop("_pusher", None)
        if pusher is not None:
            pusher.close()
        super().close()
