"""From the push log into the offline store: a load for each table and segment, its order online, and no segment more.

Each step can be done again. A load is known by its segment, so that it is published once; settling what is settled
changes nothing; and the segment goes last. Whoever flushes holds the lock, also against materializations: a row that is
provisional online while its load is published would hide a newer load's row of the same instant from them.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa
import structlog

from featurestore.config import Config
from featurestore.definitions import FeatureView, storage_id
from featurestore.errors import DataError, FeatureStoreError, OfflineStoreError
from featurestore.markup import Printed
from featurestore.offline.erasure.suppression import suppressed
from featurestore.offline.intake.checks import latest_event
from featurestore.offline.intake.pushed import PUSHED
from featurestore.offline.store import OfflineStore
from featurestore.online import OnlineStore
from featurestore.online.base import Row
from featurestore.pushing.log import PushLog, Segment
from featurestore.pushing.order import final, provisional
from featurestore.pushing.rows import PushedView
from featurestore.pushing.segments import Entry
from featurestore.registry import Registry, live_views, stored_once
from featurestore.registry.records import Load, Registered

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOOKS_PER_AGE = 4
#: How often at least it is looked whether the online store was away.
_LOOK_SECONDS = 5.0
_STOP_SECONDS = 60.0

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class FlushReport(Printed):
    """What was brought into the offline store.

    Attributes:
        loads: that are there now, one for each table and segment.
        busy: whether nothing was done, as somebody else flushes or materializes now.
        notes: versions that could not take some rows.
        segments: of the log, that were done and are gone.
    """

    loads: tuple[Load, ...] = ()
    busy: bool = False
    notes: tuple[str, ...] = ()
    segments: int = 0

    @property
    def rows(self) -> int:
        """Rows that were published, in all tables."""
        return sum(one.rows_written for one in self.loads)

    def __str__(self) -> str:
        if self.busy:
            return "Somebody else flushes or materializes now."
        if not self.segments:
            return "No pushed rows wait for the offline store."
        return f"{self.rows:,} pushed rows brought into the offline store, in {len(self.loads)} load(s)"


class _Fitted(NamedTuple):
    """The rows of an entry as a version takes them."""

    entry: Entry
    rows: pa.RecordBatch


class Flusher:
    """Brings pushed rows into the offline store: when it is asked to, and in the background.

    Args:
        config: the store's.
        registry: knows the views.
        offline: where the rows come.
        online: where they are since they were pushed.
        log: where they are kept until then.
        who: gives whoever answers for the loads.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        offline: OfflineStore,
        online: OnlineStore,
        log: PushLog,
        who: Callable[[], str],
    ) -> None:
        self._config = config
        self._registry = registry
        self._offline = offline
        self._online = online
        self._log = log
        self._who = who
        self._interruptions = online.interruptions()
        self._stopping = threading.Event()
        self._wakened = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def flush(self, *, wait: bool = True) -> FlushReport:
        """Bring all that was pushed into the offline store.

        Args:
            wait: whether to wait for whoever flushes or materializes now.

        Raises:
            OfflineStoreError: a segment cannot be read, after all others are flushed; or the store refuses. What is
                left is tried by the next.
            OnlineStoreError: the online store refuses; as that.
        """
        loads: list[Load] = []
        notes: dict[str, None] = {}
        done = 0
        with self._log.flushing(wait=wait) as held:
            if not held:
                return FlushReport(busy=True)
            unread: list[OfflineStoreError] = []
            with _noted(unread):
                self._log.seal()
            for segment in self._log.sealed():
                entries = None
                with _noted(unread):
                    entries = segment.read()
                if entries is None:  # it stays, and is told of; the rows of the others can wait no longer for it
                    continue
                for view, mine in self._fed(entries):
                    load, said = self._load(view, mine, segment)
                    loads += [] if load is None else [load]
                    notes |= dict.fromkeys(said)
                self._log.remove(segment, entries)
                done += 1
        for note in notes:
            _logger.warning("pushed rows left out", note=note)
        report = FlushReport(loads=tuple(loads), notes=tuple(notes), segments=done)
        for error in unread[:1]:
            hint = f"{error.hint} Of the other segments: {report}." if report.loads else error.hint
            raise OfflineStoreError(error.message, hint=hint) from error
        return report

    @contextlib.contextmanager
    def settled(self) -> Iterator[None]:
        """Let views be materialized: what is published is settled, and stays so while the block runs."""
        try:
            self.flush(wait=False)
        except FeatureStoreError as error:
            # An offline store that takes nothing may give what it has; the rows are tried again by the next.
            _logger.error("pushed rows wait", error=error.message, hint=error.hint)
        with self._log.settled():
            self._settle_published()
            yield

    def settle_published(self) -> None:
        """Give online rows their final order that are in a table by now, though the log has them still: as in a copy.

        Raises:
            OfflineStoreError: a segment cannot be read.
            OnlineStoreError: the online store refuses.
        """
        if self._log.begun():
            with self._log.settled():
                self._settle_published()

    @contextlib.contextmanager
    def waiting(self, view: FeatureView) -> Iterator[Iterator[Row]]:
        """Give the rows of a view that are in no table yet, as they are online; no others come while the block runs.

        Raises:
            OfflineStoreError: a segment cannot be read.
        """
        if not self._log.begun():
            yield iter(())
            return
        with self._log.committing():
            yield self._waiting_rows(view)

    def serve_waiting(self, view: FeatureView) -> int:
        """Put online what waits in the log and a view lacks, as it was not live when the rows were pushed.

        Returns:
            How many rows it lacked.

        Raises:
            OfflineStoreError: a segment cannot be read.
            OnlineStoreError: the online store refuses.
        """
        if not self._log.begun():
            return 0
        with self._log.settled(), self.waiting(view) as rows:
            return self._online.put_newest(storage_id(view), list(rows)).written

    def serve_again(self) -> None:
        """Put online once more what waits in the log, if the store was away since: a server that took over may lack it.

        Raises:
            OfflineStoreError: a segment cannot be read.
            OnlineStoreError: the online store refuses; it is tried again.
        """
        now = self._online.interruptions()
        if now == self._interruptions:
            return
        if self._log.segments():
            with self._log.settled():
                self._settle_published()
                with self._log.committing():
                    views = {
                        one.storage_id: one.definition
                        for segment in self._log.segments()
                        for one, _ in self._fed(segment.read())
                    }
                for view in views.values():
                    with self.waiting(view) as rows:
                        self._online.put_newest(storage_id(view), list(rows))
        self._interruptions = now

    def start(self) -> None:
        """Flush in the background from now on, when a segment has the rows or the age that the settings say."""
        with self._starting:
            if self._thread is None and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._run, name="push-flush", daemon=True)
                # Before the interpreter takes itself apart under the thread.
                atexit.register(self._end)
                self._thread.start()

    def wake(self) -> None:
        """Let the background look now."""
        self._wakened.set()

    def stop(self) -> None:
        """End the background, and flush what waits, unless somebody else does; an error leaves it to the next."""
        if self._thread is None:
            return
        self._end()
        self._try()

    def _end(self) -> None:
        atexit.unregister(self._end)
        self._stopping.set()
        self._wakened.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        settings, said = self._config.push, ""
        while not self._stopping.is_set() and threading.main_thread().is_alive():
            self._wakened.wait(min(settings.flush_seconds / _LOOKS_PER_AGE, _LOOK_SECONDS))
            self._wakened.clear()
            if not self._stopping.is_set():
                said = self._try(said, due=True)

    def _try(self, said: str = "", *, due: bool = False) -> str:
        """Flush, and return what went wrong; that is told once, not at every turn."""
        settings = self._config.push
        try:
            self.serve_again()
            if not due or self._log.due(rows=settings.flush_rows, seconds=settings.flush_seconds):
                self.flush(wait=False)
        except FeatureStoreError as error:
            if error.message != said:
                _logger.error("pushed rows wait", error=error.message, hint=error.hint)
            return error.message
        except Exception:  # what is unforeseen must not end the background either
            if not threading.main_thread().is_alive():  # the program ends without closing the store
                return ""
            _logger.exception("pushed rows wait")
        return ""

    def _fed(self, entries: Sequence[Entry]) -> Iterator[tuple[PushedView, list[Entry]]]:
        """Yield each version that gets rows, with the entries that it gets, once for each table.

        Those that accepted rows get them, though they may be live no more; and all that are live by now.
        """
        accepting = {(one.view, one.version): self._version(one) for one in entries}
        fed: set[str] = set()
        while True:
            live = {name: stored_once(live_views(self._registry, name)) for name in {one.view for one in entries}}
            wanted = [*accepting.values(), *(view for views in live.values() for view in views)]
            view = next((one for one in wanted if storage_id(one.definition) not in fed), None)
            if view is None:
                return
            table = storage_id(view.definition)
            fed.add(table)
            is_live = table in {storage_id(one.definition) for one in live[view.name]}
            mine = [
                one
                for one in entries
                if one.view == view.name
                and ((is_live and not one.only) or storage_id(accepting[one.view, one.version].definition) == table)
            ]
            if mine:
                yield PushedView(view), mine

    def _version(self, entry: Entry) -> Registered[FeatureView]:
        return self._registry.feature_view(f"{entry.view}@{entry.version}")

    def _load(
        self, view: PushedView, entries: Sequence[Entry], segment: Segment
    ) -> tuple[Load | None, tuple[str, ...]]:
        """Publish and settle the rows of a segment in one table."""
        fitted, notes = _fit(view, entries)
        if not fitted:
            return None, notes
        load = self._offline.load_pushed(
            view.definition,
            pa.RecordBatchReader.from_batches(fitted[0].rows.schema, [one.rows for one in fitted]),
            load_id=_load_id(segment),
            who=self._who(),
            checked_as=view.row_by_row,
            pushed_at=_last(entries),
        )
        if load is not None:
            self._settle(view, fitted, segment, load)
        return load, notes

    def _settle(self, view: PushedView, fitted: Sequence[_Fitted], segment: Segment, load: Load) -> None:
        """Give the rows of a segment that are online the order of their load."""
        if load.withdrawn_at is not None:  # by a restore, which took them off too
            return
        rows = (
            (key, provisional(value, segment.number, place), final(value, load.order, place))
            for key, value, place in self._online_rows(view, fitted)
        )
        self._online.settle(view.storage_id, rows)

    def _online_rows(self, view: PushedView, fitted: Sequence[_Fitted]) -> Iterator[tuple[bytes, bytes, int]]:
        """Yield key, value and place of each row that may be online."""
        erased = suppressed(view.definition, self._registry, self._config)
        latest = latest_event(_last([one.entry for one in fitted]), self._config.offline.max_future_seconds)
        for entry, rows in fitted:
            parts = view.check(rows, latest=latest, suppressed=erased)
            encoded: list[Row] = view.encode(parts.good)
            for (key, value), offset in zip(encoded, parts.places()[0].tolist(), strict=True):
                yield key, value, entry.first + offset

    def _settle_published(self) -> None:
        """Settle what a flush has published that died before it was settled."""
        for segment in self._log.sealed():
            entries = segment.read()
            for view, mine in self._fed(entries):
                load = self._offline.pushed_load(view.definition, _load_id(segment))
                if load is not None:
                    self._settle(view, _fit(view, mine)[0], segment, load)

    def _waiting_rows(self, view: FeatureView) -> Iterator[Row]:
        for segment in self._log.segments():
            for one, mine in self._fed(segment.read()):
                if one.storage_id != storage_id(view):
                    continue
                if self._offline.pushed_load(one.definition, _load_id(segment)) is None:
                    for key, value, place in self._online_rows(one, _fit(one, mine)[0]):
                        yield key, provisional(value, segment.number, place)


@contextlib.contextmanager
def _noted(errors: list[OfflineStoreError]) -> Iterator[None]:
    """Note the error of a segment that cannot be read, and go on."""
    try:
        yield
    except OfflineStoreError as error:
        errors.append(error)


def _fit(view: PushedView, entries: Sequence[Entry]) -> tuple[list[_Fitted], tuple[str, ...]]:
    """Return the rows of entries as a version takes them, and why it cannot take some."""
    fitted: list[_Fitted] = []
    notes: dict[str, None] = {}
    for one in entries:
        try:
            fitted.append(_Fitted(one, view.fitted(one.batch())))
        except DataError as error:
            notes[f"{view.id} is live too, and could not take rows of {one.view}@{one.version}: {error.message}"] = None
    return fitted, tuple(notes)


def _load_id(segment: Segment) -> str:
    return f"{PUSHED}{segment.number}"


def _last(entries: Sequence[Entry]) -> datetime:
    return _EPOCH + timedelta(microseconds=max(one.at for one in entries))
