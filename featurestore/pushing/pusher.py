"""One push, from its rows to the acknowledgement: checked, written down, online."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from featurestore import types
from featurestore.config import Config
from featurestore.errors import ConfigError, FeatureStoreError, ObjectNotFoundError, OnlineStoreError
from featurestore.markup import Printed
from featurestore.offline.erasure.suppression import Suppressed, suppressed
from featurestore.offline.intake.checks import latest_event
from featurestore.offline.intake.frames import to_table
from featurestore.offline.store import OfflineStore
from featurestore.offline.tables.sharing import fed_versions, own_view
from featurestore.online import OnlineStore
from featurestore.online.base import Row
from featurestore.pushing.flushing import Flusher
from featurestore.pushing.group import GroupCommit
from featurestore.pushing.log import PushLog
from featurestore.pushing.order import provisional
from featurestore.pushing.origins import Origins, newest
from featurestore.pushing.rows import Checked, PushedView, RejectedRow, checked
from featurestore.pushing.segments import Entry, body_of
from featurestore.registry import Registry

#: What changes which versions are live, and does not tell servers: models, and the end of a grace.
_KNOWN_SECONDS = 10.0

#: Keeps rows that are rejected.
SetAside = Callable[[Sequence[RejectedRow]], None]


@dataclass(frozen=True, kw_only=True)
class PushReport(Printed):
    """What became of pushed rows: those that came = accepted + rejected + suppressed.

    Attributes:
        view: the version whose checks the rows passed: ``clicks@2``.
        accepted: rows that are served and kept from now on.
        rejected: the others, in order; they are kept nowhere.
        suppressed: rows that were dropped, because they are of someone who was erased.
        warned: accepted rows that break a check of values, by reason, of a view that only warns of them.
        notes: casts made, and live versions that could not take the rows.
    """

    view: str
    accepted: int
    rejected: tuple[RejectedRow, ...] = ()
    suppressed: int = 0
    warned: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.view}: {self.accepted:,} rows pushed"
        for count, what in (
            (len(self.rejected), "rejected"),
            (self.suppressed, "of erased keys dropped"),
            (sum(self.warned.values()), "with a warning"),
        ):
            if count:
                text += f", {count:,} {what}"
        return text


@dataclass(frozen=True, kw_only=True)
class _Targets:
    """Which versions get the rows of a push, and for how long that is known."""

    view: str
    id: str
    only: bool
    views: tuple[PushedView, ...]
    revision: int
    known_at: float

    def joined_by(self, now: _Targets) -> _Targets:
        """Return these, and which others are live by now; the rows are checked as the version that was named wants."""
        known = {one.storage_id for one in self.views}
        added = tuple(one for one in now.views if one.storage_id not in known)
        return replace(self, views=(*self.views, *added), revision=now.revision)


class _Push:
    """A push on its way."""

    def __init__(
        self, targets: _Targets, rows: pa.RecordBatch, latest: datetime, origins: Origins, set_aside: SetAside | None
    ) -> None:
        self.targets = targets
        self.latest = latest
        self.origins = origins
        self.failed: FeatureStoreError | None = None
        self._set_aside = set_aside
        self._rows = rows
        self._digests: dict[str, frozenset[str]] = {}
        self._checked: Checked | None = None

    def reach(self, targets: _Targets) -> None:
        """Let others get the rows than those that were to."""
        if len(targets.views) != len(self.targets.views):
            self._checked = None
        self.targets = targets

    def check(self, erased: Mapping[str, Suppressed | None]) -> Checked:
        """Check the rows, or check them again if others get them, or are suppressed, than when they were checked."""
        digests = {name: one.digests for name, one in erased.items() if one is not None}
        if self._checked is None or digests != self._digests:
            self._checked = checked(
                self._rows,
                self.targets.views,
                latest=self.latest,
                erased=erased,
                each=self._set_aside is not None,
            )
            self._digests = digests
        return self._checked

    def set_aside(self) -> bool:
        """Keep the rows that are rejected for good, where somebody wants that; return whether the others may go on."""
        if self._set_aside is not None and self.result.rejected:
            try:
                self._set_aside(self.result.rejected)
            except FeatureStoreError as error:  # of the pushes that are committed together, this is no matter of others
                self.failed = error
                return False
        return True

    @property
    def result(self) -> Checked:
        assert self._checked is not None  # noqa: S101 - it was checked before it was committed
        return self._checked


class Pusher:
    """Takes pushes, from any number of threads; other processes of the store may have theirs.

    Args:
        config: the store's.
        registry: knows the views.
        offline: where the rows come in the end.
        online: where they are served.
        who: gives whoever answers for the loads.
    """

    def __init__(
        self, config: Config, registry: Registry, offline: OfflineStore, online: OnlineStore, who: Callable[[], str]
    ) -> None:
        if config.replay:
            raise ConfigError(
                f'The replay "{config.replay}" takes no pushes: its rows are those of the past.',
                hint="Push to the store itself.",
            )
        self._config = config
        self._registry = registry
        self._online = online
        self._log = PushLog(config.path(config.push.path))
        self._targets: dict[str, _Targets] = {}
        self._suppressed: dict[str, Suppressed | None] = {}
        self._commit = GroupCommit(self._commit_group)
        self.flusher = Flusher(config, registry, offline, online, self._log, who)

    def push(
        self, view: str, rows: Any, *, origins: Origins | None = None, set_aside: SetAside | None = None
    ) -> PushReport:
        """Serve rows at once, and keep them; see :meth:`featurestore.FeatureStore.push`.

        Args:
            view: the view.
            rows: the rows.
            origins: where they come from; durable with the rows, and only if some are accepted.
            set_aside: keeps rejected rows, durably: it is called before the others are. What it raises is raised here,
                and nothing is pushed. With it, a bad row costs only itself, whatever the view says of bad rows.
        """
        table = to_table(rows, f'the rows for feature view "{view}"').combine_chunks()
        batches = table.to_batches()
        targets = self._targets_of(view)
        batch = batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema)
        if not batch.num_rows and not batch.num_columns:  # an empty list has no columns to be checked
            return PushReport(view=targets.id, accepted=0)
        latest = latest_event(datetime.now(UTC), self._config.offline.max_future_seconds)
        push = _Push(targets, batch, latest, origins or {}, set_aside)
        # By what was suppressed at the last commit; this one asks again. So rows that seem to be of erased keys go on.
        first = push.check(self._erased(targets, self._suppressed))
        if first.accepted.num_rows or first.suppressed:
            self._commit(push)
            self.flusher.start()
        else:
            push.set_aside()
        if push.failed is not None:
            raise push.failed
        done = push.result
        return PushReport(
            view=targets.id,
            accepted=done.accepted.num_rows,
            rejected=done.rejected,
            suppressed=done.suppressed,
            warned=done.warned,
            notes=done.notes,
        )

    def close(self) -> None:
        """Bring what waits into the offline store, unless somebody else does it, and end."""
        self.flusher.stop()

    def origins(self) -> dict[str, tuple[int, int]]:
        """Return, by origin, what was last pushed from there, by whatever process of this store.

        Raises:
            OfflineStoreError: the log cannot be read.
        """
        return newest(self._log)

    def column_types(self, view: str) -> tuple[str, dict[str, types.DType], set[str]]:
        """Return what a push of a view takes: the version's id, its columns with their types, and which may lack.

        Raises:
            ObjectNotFoundError: there is no such view.
            RegistryError: it is another project's.
        """
        targets = self._targets_of(view)
        taken = targets.views[0].definition
        columns = {**taken.keys, **{one.name: one.dtype for one in taken.schema}}
        optional = {one.name for one in taken.schema}
        created = taken.created_timestamp_column
        if created is not None and created not in columns:
            columns[created] = types.Timestamp
            optional |= {created} if taken.source is None else set()
        columns.setdefault(taken.timestamp_field, types.Timestamp)
        return targets.id, columns, optional - {taken.timestamp_field}

    def _targets_of(self, view: str) -> _Targets:
        revision, now = self._registry.revision(), time.monotonic()
        known = self._targets.get(view)
        if known is None or known.revision != revision or now - known.known_at > _KNOWN_SECONDS:
            fed = fed_versions(self._registry, view)
            views = tuple(PushedView(one) for one in fed)
            views[0].check_may_be_pushed()
            known = _Targets(
                view=view,
                id=self._id(view, views[0]),
                only="@" in view,
                views=views,
                revision=revision,
                known_at=now,
            )
            self._targets[view] = known
        return known

    def _id(self, view: str, fed: PushedView) -> str:
        """Return which version is meant, of those that share the table."""
        try:
            return own_view(self._registry, view).id
        except ObjectNotFoundError:  # it was removed, and is still live
            return fed.id

    def _erased(self, targets: _Targets, known: dict[str, Suppressed | None]) -> dict[str, Suppressed | None]:
        for one in targets.views:
            if one.storage_id not in known:
                known[one.storage_id] = suppressed(one.definition, self._registry, self._config)
        return {one.storage_id: known[one.storage_id] for one in targets.views}

    def _commit_group(self, pushes: Sequence[_Push]) -> None:
        with self._log.committing(origins=any(one.origins for one in pushes)) as commit:
            # Asked once more under the lock: an erasure suppresses first, and then waits for it. So either we see the
            # key here, or the erasure finds its rows in the log.
            erased: dict[str, Suppressed | None] = {}
            at = time.time_ns() // 1000
            entries: list[Entry] = []
            online: dict[str, list[Row]] = {}
            place = commit.places
            revision = self._registry.revision()
            for push in pushes:
                # Asked once more, too: whoever has a version serve takes the lock after it is live. So either we see it
                # here, or these rows are found in the log, or in a table, by then.
                if push.targets.revision != revision:
                    push.reach(push.targets.joined_by(self._targets_of(push.targets.view)))
                done = push.check(self._erased(push.targets, erased))
                if not push.set_aside() or not done.accepted.num_rows:
                    continue
                named = push.targets.views[0]
                entries.append(
                    Entry(
                        view=named.name,
                        version=named.version,
                        only=push.targets.only,
                        at=at,
                        first=place,
                        rows=done.accepted.num_rows,
                        body=body_of(done.accepted),
                        origins=push.origins,
                    )
                )
                for name, (rows, places) in done.online.items():
                    online.setdefault(name, []).extend(
                        (key, provisional(value, commit.number, place + offset))
                        for (key, value), offset in zip(rows, places.tolist(), strict=True)
                    )
                place += done.accepted.num_rows
            self._suppressed |= erased
            if not entries:
                return
            commit.append(entries)
            try:
                self._online.put_all(online)
            except OnlineStoreError:
                commit.undo()  # nobody is told that the rows are kept
                raise
            full = commit.rows >= self._config.push.flush_rows
        if full:
            self.flusher.wake()
