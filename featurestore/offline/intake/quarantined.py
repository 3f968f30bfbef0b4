"""Rows that were kept aside: listed, and ingested again once a fix lets them pass."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from featurestore.definitions import FeatureView, storage_id
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP
from featurestore.errors import DataError, OfflineStoreError
from featurestore.offline.engine import identifier, literal
from featurestore.offline.intake import quarantine
from featurestore.offline.intake.held import has_held
from featurestore.offline.intake.ingest import IngestReport
from featurestore.offline.intake.loading import Loading, Progress
from featurestore.offline.join.order import rows_with_order, unreadable
from featurestore.offline.load_ids import REQUEUED
from featurestore.offline.tables import carry_over
from featurestore.registry.records import Load
from featurestore.storage import StoragePath
from featurestore.storage.locks import alone
from featurestore.storage.places import copy_file, move_file

#: Stands between the id of such a load and that of the load which had kept its rows aside.
_OF = ".of."


@dataclass(frozen=True)
class _Aside:
    """Rows that a load kept aside.

    Attributes:
        view: the version whose load it was.
        load: the load.
        file: the rows.
        home: the file that has them unless a restore gave them back.
        later: what was left of them after the next loads that a restore withdrew with the first.
    """

    view: FeatureView
    load: Load
    file: StoragePath
    home: StoragePath
    later: tuple[StoragePath, ...] = ()


class Quarantined(Loading):
    """The quarantine.

    A check belongs to a version of a view, and so does the quarantine. A version whose check is mended therefore looks
    also at what older ones kept aside, as far as it took over their rows rather than was fed them itself.
    """

    def quarantine(
        self, view: FeatureView, older: Sequence[FeatureView] = (), *, limit: int | None = None
    ) -> pa.Table | None:
        """Return the rows kept aside by the view's loads, with the column ``reason``; None when there are none.

        Args:
            view: the view.
            older: its older versions.
            limit: at most so many rows; None for all.

        Raises:
            OfflineStoreError: a file cannot be read.
        """
        return quarantine.read([one.file for one in self._kept_aside(view, older)], limit)

    def quarantined_rows(self, view: FeatureView, older: Sequence[FeatureView] = ()) -> int:
        """Return how many rows :meth:`quarantine` would list.

        Raises:
            OfflineStoreError: a file cannot be read.
        """
        return quarantine.count([one.file for one in self._kept_aside(view, older)])

    def reingest_quarantine(
        self,
        view: FeatureView,
        older: Sequence[FeatureView] = (),
        *,
        who: str,
        reason: str = "",
        progress: Progress | None = None,
        accept_anomalies: bool = False,
    ) -> IngestReport:
        """Check the rows again that were kept aside, and publish those that pass now; the others stay, and are listed.

        What each load had kept aside is one load of its own, whose id tells which rows they were: a run that was killed
        is finished by the next one, and no row is published twice. Of these loads, read = written + suppressed; the
        loads that kept the rows aside say in the ledger what they did then. A restore that takes such a load out of the
        table puts its rows back among those that were kept aside.

        A row stays, too, if a later load has brought one of its key and event time that was not written earlier at the
        source: it would take the place of a newer one. And the rows of a load that the view's gate kept aside as a
        whole stay until somebody says that they are right.

        Args:
            view: the view, whose checks hold.
            older: its older versions.
            who: who loads.
            reason: why.
            progress: called with the rows of each batch.
            accept_anomalies: whether loads that were kept aside as a whole are right, however unlike others they are.

        Raises:
            OfflineStoreError: a file cannot be read, or the disk refuses.
        """
        started = time.monotonic()
        loads: list[Load] = []
        notes: dict[str, None] = {}
        warned: Counter[str] = Counter()
        stay = waiting = 0
        folder = self._folder / "quarantine"
        with alone(folder / "requeued"):
            for aside in list(self._kept_aside(view, older)):
                file = aside.file
                held = has_held(file)
                if held and not accept_anomalies:
                    waiting += quarantine.count([file])
                    continue
                load_id = f"{REQUEUED}{_digest(aside)}"
                rest = file.with_name(f"{load_id}.rest.parquet")  # an erasure looks into all of that ending
                if not self.table(view).has_load(load_id):
                    rest.unlink(missing_ok=True)
                    try:
                        superseded = self._superseded(aside, view)
                        rows = quarantine.as_they_came(file, view, superseded)
                        loaded, outcome = self._load(
                            view,
                            rows,
                            load_id,
                            who,
                            reason,
                            progress,
                            again_from=rest,
                            accepted=True if held else None,  # later loads are compared with such a one
                        )
                    except DataError as error:
                        notes[f"{aside.home.name}: {error.message}"] = None
                        continue
                    notes.update(dict.fromkeys(outcome.notes))
                    stay += len(superseded)
                    if loaded is None:
                        continue
                    loads.append(loaded)
                    warned.update(outcome.warned)
                # Published, just now or by a run that was killed here.
                _keep_copy(aside, load_id)
                if rest.exists():
                    move_file(rest, aside.home)
                else:
                    aside.home.unlink(missing_ok=True)
                for copy in aside.later:
                    copy.unlink(missing_ok=True)
        if waiting:
            notes[
                f"{waiting:,} rows stay aside, as their loads are unlike those before: if they are right, "
                "accept_anomalies=True, or --accept-anomalies"
            ] = None
        if stay:
            notes[f"{stay:,} rows stay aside, as rows of their keys and times came since"] = None
        return IngestReport(
            view=view.name,
            loads=tuple(loads),
            skipped=0,
            notes=tuple(notes),
            seconds=time.monotonic() - started,
            warned=warned,
        )

    def _kept_aside(self, view: FeatureView, older: Sequence[FeatureView]) -> Iterator[_Aside]:
        """Yield the rows that were kept aside, of older versions first, in the order of their loads."""
        ledger = self.ledger(view)
        mine = [load for load in ledger if load.withdrawn_at is None]
        withdrawn = [load for load in ledger if load.withdrawn_at is not None and load.load_id.startswith(REQUEUED)]
        fed = next((load.published_at for load in mine if not load.load_id.startswith(_BROUGHT)), None)
        for other in older:
            if storage_id(other) != storage_id(view) and other.keys == view.keys:
                for load in self.loads(other):
                    if fed is None or load.published_at < fed:
                        yield from self._aside(other, load, withdrawn)
        for load in mine:
            yield from self._aside(view, load, withdrawn)

    def _aside(self, view: FeatureView, load: Load, withdrawn: Collection[Load]) -> Iterator[_Aside]:
        """Yield the rows that a load kept aside; with those of loads that a restore withdrew, in their order."""
        home = self._quarantine_file(view, load.load_id)
        # One that is older is of the same load before that was withdrawn, and came again.
        copies = [_copy_of(home, one.load_id) for one in withdrawn if one.published_at > load.published_at]
        copies = [copy for copy in copies if copy.exists()]
        if copies:
            yield _Aside(view, load, copies[0], home, tuple(copies[1:]))
        elif home.exists():
            yield _Aside(view, load, home, home)

    def _superseded(self, aside: _Aside, into: FeatureView) -> list[int]:
        """Return the numbers of rows whose key and event time a later load from outside has brought."""
        found: set[int] = set()
        for view in {storage_id(one): one for one in (aside.view, into)}.values():
            orders = [
                str(load.order)
                for load in self.loads(view)
                if load.published_at > aside.load.published_at and not load.load_id.startswith(_BROUGHT)
            ]
            files = self.table(view).files() if orders else []
            if not files:
                continue
            same = [f"q.{identifier(name)} = r.{identifier(name)}" for name in (*view.keys, EVENT_TIMESTAMP)]
            newer = f"coalesce(r.{CREATED_TIMESTAMP} >= q.{CREATED_TIMESTAMP}, q.{CREATED_TIMESTAMP} IS NULL)"
            with self._connect([view], f'The quarantine of feature view "{view.name}"') as connection:
                try:
                    rows = connection.execute(
                        "SELECT q.file_row_number "
                        f"FROM read_parquet({literal(str(aside.file))}, file_row_number = true) q "
                        f"SEMI JOIN (SELECT * FROM {rows_with_order(view, files)} "
                        f"WHERE load_order IN ({', '.join(orders)})) r ON {' AND '.join([*same, newer])}"
                    ).fetchall()
                except duckdb.Error as error:
                    raise unreadable(view, error) from error
            found.update(number for (number,) in rows)
        return sorted(found)


#: How the ids of loads begin that did not come from outside.
_BROUGHT = (carry_over.PREFIX, REQUEUED)


def _digest(aside: _Aside) -> str:
    # Two loads may keep the same rows aside: each is one of its own.
    digest = hashlib.sha256(f"{aside.home.parent.name}/{aside.home.name}\n".encode())
    with aside.file.open("rb") as opened:
        content = hashlib.sha256()
        while part := opened.read(1 << 20):
            content.update(part)
    digest.update(content.digest())
    return digest.hexdigest()[:24]


def _copy_of(home: StoragePath, load_id: str) -> StoragePath:
    """Return the file that has the rows of another one as they were before a load took some of them."""
    return home.with_name(f"{load_id}{_OF}{home.name}")


def _keep_copy(aside: _Aside, load_id: str) -> None:
    """Keep the rows for a restore that withdraws the load which took some of them."""
    copy = _copy_of(aside.home, load_id)
    if copy == aside.file or copy.exists():
        return
    # An object is there whole or not at all: it needs no other name while it is written.
    partial = copy.with_name(f".{uuid.uuid4().hex}.{os.getpid()}") if isinstance(copy, Path) else copy
    try:
        copy_file(aside.file, partial)  # on a disk as old as it is for gc
        if partial != copy:
            move_file(partial, copy)
    except OSError as error:
        raise OfflineStoreError(
            f"Rows that were kept aside in {aside.home} cannot be copied: {error}.",
            hint="Check the disk's space and rights, and do it again: no row gets in twice.",
        ) from error
    finally:
        if partial != copy:
            partial.unlink(missing_ok=True)
