"""How far a view is materialized, as a record that stands in the online store and moves with its rows.

As it is written by the transactions of the rows, it is true of the rows that are there: an online store that was
removed, restored from a backup or put in the place of another says itself what it lacks. A run writes it with each
chunk, so whoever finds a run that was interrupted goes on after the last chunk.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime

from featurestore import formats
from featurestore.definitions import FeatureView, storage_id
from featurestore.errors import OnlineStoreError
from featurestore.materialize.report import Mode
from featurestore.offline.tables.newest import Wanted
from featurestore.online.base import OnlineStore, Standing
from featurestore.types import microseconds

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that is under way, or was interrupted.

    Attributes:
        mode: which rows it looks at.
        wanted: the same, exactly.
        done: how many of the newest rows are done, in the order of the chunks.
        written: of these, rows that were written.
        older: rows of keys that had one as new online.
        rejected: rows of those who were erased.
        removed_before: how many rows expiry had removed when the run began.
    """

    mode: Mode
    wanted: Wanted
    done: int = 0
    written: int = 0
    older: int = 0
    rejected: int = 0
    removed_before: int = 0


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What is online for certain; instants are microseconds since 1970.

    Attributes:
        version: all rows of this version of the table were looked at; None before the first run has ended.
        until: up to this event time.
        complete_from: and those before this event time were left out as expired; None if none were.
        left_out: how many that were.
        table: the id of the offline table.
        removed_before: of the rows that expiry has removed, how many a later run has brought back if they were wanted.
        run: the run under way.
    """

    table: str
    version: int | None = None
    until: int | None = None
    complete_from: int | None = None
    left_out: int = 0
    removed_before: int = 0
    run: Run | None = None

    def to_bytes(self) -> bytes:
        """Return the record."""
        return json.dumps({"format": _FORMAT, **asdict(self)}).encode()

    def after(self, run: Run, expired: int) -> Filled:
        """Return the record at the end of a run that left out so many rows as expired."""
        wanted = run.wanted
        if run.mode is Mode.range:  # which says nothing of the rows outside of it
            return replace(self, run=None)
        if run.mode in (Mode.incremental, Mode.restored):
            gaps = [one for one in (self.complete_from, wanted.oldest if expired else None) if one is not None]
            return replace(
                self,
                version=wanted.version,
                until=wanted.until,
                complete_from=max(gaps, default=None),
                left_out=self.left_out + expired,
                run=None,
            )
        return Filled(
            table=self.table,
            version=wanted.version,
            until=wanted.until,
            complete_from=wanted.oldest if expired else None,
            left_out=expired,
            removed_before=run.removed_before,
        )

    def lacks(self, oldest: int | None, standing: Standing) -> bool:
        """Return whether rows were left out, or removed since, that are not before ``oldest``; None: not before any."""
        gone = standing.expired_before if standing.expired > self.removed_before else None
        gaps = [one for one in (self.complete_from, gone) if one is not None]
        return bool(gaps) and (oldest is None or oldest < max(gaps))


def filled(standing: Standing, view: FeatureView) -> Filled | None:
    """Return what a standing says; None if nobody has materialized the view into this store.

    Raises:
        OnlineStoreError: a later release wrote it.
    """
    if standing.progress is None:
        return None
    values = json.loads(standing.progress)
    what = f'What the online store knows of feature view "{view.name}"'
    formats.check(values, what, _FORMAT, error=OnlineStoreError)
    values = {one.name: values[one.name] for one in fields(Filled)}  # a neighbouring release may say more
    if values["run"] is not None:
        run = values["run"]
        values["run"] = Run(**run | {"mode": Mode(run["mode"]), "wanted": Wanted(**run["wanted"])})
    return Filled(**values)


def oldest_kept(view: FeatureView, now: datetime) -> int | None:
    """Return the oldest event time that the view serves at an instant, microseconds since 1970; None: any."""
    return None if view.ttl is None else microseconds(now - view.ttl)


def rows_left_out(view: FeatureView, online: OnlineStore, now: datetime) -> int:
    """Return how many rows are not online, for a shorter TTL, of which the view may serve some.

    Raises:
        OnlineStoreError: the store cannot be read.
    """
    standing = online.standing(storage_id(view))
    found = filled(standing, view)
    if found is None or found.version is None or not found.lacks(oldest_kept(view, now), standing):
        return 0
    return found.left_out + standing.expired - found.removed_before
